"""Stored content that wants to run, to load, or to deceive."""

from __future__ import annotations

import re

import pytest

from mongostore.servers.studio.content import image_type, read_content
from mongostore.servers.studio.formats import visible
from mongostore.servers.studio.markdown import excerpt, render

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "svg": '<svg onload="alert(1)"><script>alert(1)</script></svg>',
    "image": '<img src=x onerror="alert(1)">',
    "style": "<style>*{display:none}</style><p style='position:fixed'>x</p>",
    "link": "[click](javascript:alert(1)) [again](JaVaScRiPt:alert(1)) [tab](java\tscript:alert(1))",
    "data link": "[page](data:text/html;base64,PHNjcmlwdD4=) <data:text/html,x>",
    "autolink": "<javascript:alert(1)> <vbscript:x>",
    "remote image": "![x](https://tracker.example/pixel.png) ![y](//tracker.example/y)",
    "own address": "[erase](/people/ada/erase) [relative](erase?x=1) [same](//evil.example)",
    "reference": "[a][b]\n\n[b]: javascript:alert(1)",
    "htmx": '<div hx-get="/people" hx-trigger="load">x</div> <a data-copy="x" class="btn">y</a>',
    "form": '<form action="https://evil.example"><input name=a></form><iframe src="//evil.example"></iframe>',
    "fence": '```"><script>alert(1)</script>\n</pre><script>alert(1)</script>\n```',
    "html in a link": '[x](https://a.example/"onmouseover="alert(1))',
    "title": '[x](https://a.example "a\\" onclick=\\"alert(1)")',
    "entity": "&lt;script&gt;alert(1)&lt;/script&gt; &#x6a;avascript:alert(1)",
    "base": '<base href="https://evil.example/"><meta http-equiv=refresh content="0;url=//evil.example">',
    "terminal": "\x1b]0;title\x07\x1b[31mred\x1b[0m",
    "bidi": "\u202egpj.exe\u2066\u2069",
    "nul": "a\x00b\ud800c",
}
_ALLOWED_ATTRIBUTES = {"class", "href", "rel", "title", "start", "tabindex"}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_text_becomes_no_markup_of_its_own(text: str) -> None:
    html = str(render(text))
    tags = re.findall(r"<(/?)(\w+)([^>]*)>", html)
    assert {name for _, name, _ in tags} <= {
        "p",
        "a",
        "span",
        "div",
        "button",
        "pre",
        "code",
        "em",
        "strong",
        "br",
    }
    for _, _, attributes in tags:
        assert set(re.findall(r'([\w-]+)="[^"]*"', attributes)) <= _ALLOWED_ATTRIBUTES
    assert all(
        href.startswith(("https://a.example", "http", "mailto:"))
        for href in re.findall('href="([^"]*)"', html)
    )
    assert "javascript:" not in "".join(re.findall('href="([^"]*)"', html)).lower()
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html)
    html.encode()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_an_excerpt_is_text_of_one_line(text: str) -> None:
    assert "\n" not in excerpt(text)


def test_an_excerpt_has_no_marks_of_markdown() -> None:
    text = (
        "# One **two**, *three* `four`\n\n- [five](https://a.example) ![six](http://b)\n\n```py\nseven\n```"
    )
    assert excerpt(text) == "One two, three four five six seven"
    assert excerpt("2 * 3 < 7, snake_case_name") == "2 * 3 < 7, snake_case_name"
    assert excerpt("Do it:\n\n```python\nrun(1)\nrun(") == "Do it: run(1) run("
    assert excerpt("Do it: ```python run(1) ``` or ```sql sel") == "Do it: python run(1) or sql sel"
    assert len(excerpt("[ *" * 10_000)) <= 500


def test_a_table_is_in_a_block_that_scrolls() -> None:
    html = str(render("|a|b|\n|-|-:|\n|1|2|"))
    assert '<div class="wide-t" tabindex="0"><table>' in html
    assert "</table></div>" in html


def test_links_name_where_they_lead_and_give_nothing_away() -> None:
    html = str(render("[my bank](https://evil.example/login)"))
    assert ">evil.example<" in html
    assert 'rel="noopener noreferrer nofollow"' in html


@pytest.mark.parametrize(
    "text", ["[" * 4000, "*a_" * 1300, "`" * 3999, "[a](" * 1000, "<" * 4000, ">" * 4000, "- " * 2000]
)
def test_costly_markdown_is_bounded(text: str) -> None:
    import time

    began = time.process_time()
    render(text)
    assert time.process_time() - began < 2


def test_hidden_characters_are_shown_by_their_codes() -> None:
    assert visible("a\u202eb\x1b\ud800") == "a⟨202E⟩b⟨001B⟩⟨D800⟩"
    assert visible("naïve שלום\n\tx") == "naïve שלום\n\tx"


PARTS = [
    {"type": "text", "text": 7},
    {"type": "image_url", "image_url": {"url": {"url": "x"}}},
    {"type": "image_url", "image_url": "javascript:alert(1)"},
    {"type": "image", "image": {"url": "file:///etc/passwd"}},
    {"type": "tool_use", "id": {}, "name": "x", "input": object},
    {"type": ["list"]},
    [[[[[["deep"]]]]]],
    {"type": "composite", "parts": [{"type": "composite", "parts": [{"type": "composite", "parts": []}]}]},
    float("nan"),
    True,
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,not base64!"}},
]


@pytest.mark.parametrize("part", PARTS, ids=ascii)
@pytest.mark.parametrize("wrapped", [False, True])
def test_any_content_is_shown_somehow(part: object, wrapped: bool) -> None:
    content = read_content([part] if wrapped else part)
    assert content.blocks or content.calls or part == PARTS[7]
    assert all(block.kind in ("text", "json", "image", "remote") for block in content.blocks)


def test_only_drawn_types_are_images() -> None:
    assert image_type(b"\x89PNG\r\n\x1a\n....") == "image/png"
    assert image_type(b"RIFF....WEBPVP8 ") == "image/webp"
    for head in (b"<svg xmlns=", b"<!doctype html>", b"%PDF-1.4", b"GIF8", b"RIFF....AVI ", b""):
        assert image_type(head) is None
