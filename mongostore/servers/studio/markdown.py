"""Stored text as HTML: Markdown by one library, cleaned by another, so that two locks hold and not one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape
from pygments import lex
from pygments.lexers import JsonLexer, get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, String
from pygments.util import ClassNotFound

from mongostore.servers.studio.formats import visible

# What is shown at first; the rest comes when it is asked for.
CLIP = 4000
# Beyond this, a text is shown as it is.
PLAIN = 100_000
# Where one of these comes more often, a parser may take the square of the time.
_COSTLY = "[*_`<"
_MOST_COSTLY = 300
_MOST_HIGHLIGHTED = 20_000
_EXCERPT = 500
_SCHEMES = {"http", "https", "mailto"}
_CLASSES = {
    "span": {"k", "st", "nu", "cm", "kw", "host"},
    "div": {"code", "cap", "wide-t"},
    "button": {"b"},
    "td": {"n"},
    "th": {"n"},
}
_TAGS = {
    *(
        "a",
        "b",
        "blockquote",
        "br",
        "button",
        "code",
        "del",
        "div",
        "em",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "ol",
        "p",
    ),
    *("pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "pre": {"tabindex"}, "div": {"tabindex"}}
_STYLES = (
    (Name.Tag, "k"),
    (Comment, "cm"),
    (Keyword, "kw"),
    (String, "st"),
    (Number, "nu"),
)


def render(text: str) -> Markup:
    """Return a text as HTML that has no script, loads nothing and leads to web and mail addresses alone."""
    if len(text) > PLAIN or any(text.count(char) > _MOST_COSTLY for char in _COSTLY):
        return plain(text)
    return _render(text)


@lru_cache(maxsize=1024)
def excerpt(text: str) -> str:
    """Return the beginning of a Markdown text in one line, without its marks."""
    text = text[:_EXCERPT]
    if any(text.count(char) > _MOST_COSTLY for char in _COSTLY):
        return text
    words: list[str] = []
    for token in _markdown.parse(text):
        words += [child.content or " " for child in token.children or [token] if child.nesting == 0]
        words.append(" ")
    # A fence within a line, whose end the excerpt of a text may lack, is no mark to the parser.
    return " ".join("".join(words).replace("```", "").split())


def plain(text: str) -> Markup:
    """Return a text as it is."""
    return Markup('<pre class="plain">') + escape(visible(text)) + Markup("</pre>")


@lru_cache(maxsize=1024)
def _render(text: str) -> Markup:
    html = _markdown.render(visible(text))
    return Markup(
        nh3.clean(
            html,
            tags=_TAGS,
            attributes=_ATTRIBUTES,
            allowed_classes=_CLASSES,
            url_schemes=_SCHEMES,
            link_rel="noopener noreferrer nofollow",
        )
    )


def highlight(text: str, language: str) -> Markup:
    """Return code with the classes of its parts; of an unknown language, and a long one, as it is."""
    clean = visible(text)
    if len(clean) > _MOST_HIGHLIGHTED:
        return escape(clean)
    try:
        lexer = JsonLexer() if language == "json" else get_lexer_by_name(language)
    except ClassNotFound:
        return escape(clean)
    parts = []
    for kind, value in lex(clean, lexer):
        style = next((style for parent, style in _STYLES if parent in kind.split()), None)
        parts.append(Markup('<span class="{}">{}</span>').format(style, value) if style else escape(value))
    return Markup("").join(parts).rstrip("\n")


def _fence(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    language = tokens[index].info.strip().split(" ")[0][:40]
    return Markup(
        '<div class="code"><div class="cap">{}<button class="b">Copy</button></div>'
        '<pre tabindex="0">{}</pre></div>'
    ).format(language or "code", highlight(tokens[index].content, language))


def _image(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Write an image as its address: what is stored loads nothing from elsewhere."""
    address = str(tokens[index].attrGet("src") or "")
    return Markup('<span class="host">[image not loaded: {}]</span>').format(address[:200])


def _link_open(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    env.setdefault("links", []).append(str(tokens[index].attrGet("href") or ""))
    return renderer.renderToken(tokens, index, options, env)


def _link_close(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Write where a link leads behind it, whatever its text says."""
    href = env["links"].pop()
    host = _host(href)
    text = "".join(token.content for token in tokens[max(index - 2, 0) : index] if token.type == "text")
    clean = Markup(' <span class="host">{}</span>').format(host) if host and host not in text else ""
    return f"</a>{clean}"


def _host(href: str) -> str:
    try:
        parts = urlsplit(href)
        return parts.hostname or parts.path.partition("?")[0]
    except ValueError:
        return href[:80]


def _heading(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Write a heading below those of the page."""
    level = min(int(tokens[index].tag[1:]) + 2, 6)
    return f"<h{level}>" if tokens[index].nesting > 0 else f"</h{level}>"


def _cell(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Write the beginning of a cell, whose alignment is a class: a style would need a weaker policy."""
    tag = tokens[index].tag
    return f'<{tag} class="n">' if "right" in str(tokens[index].attrGet("style")) else f"<{tag}>"


def _table(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Write a table in a block that scrolls, also by keys."""
    return '<div class="wide-t" tabindex="0"><table>' if tokens[index].nesting > 0 else "</table></div>"


def _is_allowed(href: str) -> bool:
    return href.strip().lower().startswith(tuple(f"{scheme}:" for scheme in _SCHEMES))


_markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_markdown.validateLink = _is_allowed  # type: ignore[method-assign, assignment]  # as its documentation says
_markdown.add_render_rule("fence", _fence)
for _name in ("heading_open", "heading_close"):
    _markdown.add_render_rule(_name, _heading)
for _name in ("table_open", "table_close"):
    _markdown.add_render_rule(_name, _table)
for _name in ("td_open", "th_open"):
    _markdown.add_render_rule(_name, _cell)
_markdown.add_render_rule("code_block", _fence)
_markdown.add_render_rule("image", _image)
_markdown.add_render_rule("link_open", _link_open)
_markdown.add_render_rule("link_close", _link_close)
