"""The forms in which a conversation is shown to people: text, Markdown and one HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from mongostore.cli.conversations import Conversation, Part, role_of, speaker_of, text_of
from mongostore.cli.terminal import plain, plain_block
from mongostore.models import Event, Message

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.55 system-ui, sans-serif; }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
header { border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); margin-bottom: 1.5rem; }
h1 { font-size: 1.35rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
article { margin: 0 0 1.25rem; padding-left: .9rem; border-left: 3px solid #8886; }
article.user { border-color: #2a78d6; }
article.assistant { border-color: #1a8f5a; }
article.tool { border-color: #b77400; }
h2 { font-size: .85rem; margin: 0; font-weight: 600; }
small, time, a { color: color-mix(in srgb, currentColor 65%, transparent); font-weight: 400; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0 0; font: inherit; }
details pre { font: .8rem/1.45 ui-monospace, monospace; }
"""
# The stylesheet alone is allowed: whatever a stored text were taken for, nothing runs and nothing loads.
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{hash}'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><p><small>{about}</small></p></header>
"""
# What neither HTML nor a terminal shows, or what turns the direction of the text around it.
_INVISIBLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def part_members(part: Part) -> dict[str, Any]:
    """Return the members of a message or event that are not empty."""
    return {name: value for name, value in part.model_dump().items() if value not in (None, {}, [])}


def text_blocks(part: Part) -> RenderableType:
    """Return a message or event for a terminal: who, when and what."""
    role = role_of(part)
    style = {"user": "cyan", "tool": "yellow", "system": "magenta"}.get(role, "green")
    title = Text.assemble(
        (prefix_of(part), "dim"), plain(speaker_of(part), f"bold {style}"), " ", (when(part), "dim")
    )
    if isinstance(part, Event) and part.type != "message":
        title.append_text(plain(f" {part.type}", "dim"))
    blocks: list[RenderableType] = [title]
    if body := text_of(part.content):
        blocks.append(Padding(plain_block(body), (0, 0, 0, 2)))
    blocks += [Padding(plain(call, "yellow"), (0, 0, 0, 2)) for call in tool_calls(part)]
    return Group(*blocks, "")


def tool_calls(part: Part) -> list[str]:
    """Return the tool calls of a message, each as a line: those beside its content, and those in it."""
    beside, inside = part.data.get("tool_calls"), part.content
    calls: list[tuple[Any, Any]] = []
    for one in [*(beside if isinstance(beside, list) else ()), *(inside if isinstance(inside, list) else ())]:
        match one:
            case {"function": {"name": name, **rest}}:
                calls.append((name, rest.get("arguments", "")))
            case {"type": "tool_use", "name": name}:
                calls.append((name, one.get("input")))
    return [f"→ {name}({text if isinstance(text, str) else json.dumps(text)})" for name, text in calls]


def position_of(part: Part) -> str:
    """Return the position of a message or the index of an event; empty for a thread's message."""
    position = part.position if isinstance(part, Message) else part.index if isinstance(part, Event) else None
    return "" if position is None else f"#{position}"


def prefix_of(part: Part) -> str:
    """Return the position or index with a space behind it, to stand before a name."""
    position = position_of(part)
    return f"{position} " if position else ""


def when(part: Part) -> str:
    """Return when a message was created, to the second."""
    return f"{part.created_at:%Y-%m-%d %H:%M:%S}" if part.created_at else ""


def markdown_head(conversation: Conversation) -> str:
    """Return the title of a conversation in Markdown."""
    return f"# {_markdown(conversation.name or conversation.head.id)}\n"


def markdown_part(part: Part) -> str:
    """Return a message in Markdown, its text as it is but for markup of HTML and what controls terminals."""
    lines = [f"## {_markdown(speaker_of(part))}", ""]
    if moment := when(part):
        lines += [f"*{moment} UTC*", ""]
    lines += [_visible(text_of(part.content)).replace("<", "&lt;"), ""]
    lines += [f"- {_markdown(call)}" for call in tool_calls(part)]
    return "\n".join(lines) + "\n"


def html_head(conversation: Conversation) -> str:
    """Return the beginning of an HTML file."""
    head = conversation.head
    about = f"{conversation.house.value.removesuffix('s')} {head.id}"
    if conversation.person:
        about += f" · {conversation.person}"
    return _HEAD.format(
        hash=_STYLE_HASH, style=_STYLE, title=_html(conversation.name or head.id), about=_html(about)
    )


def html_part(part: Part) -> str:
    """Return a message as an HTML fragment in which no stored text is markup."""
    role = role_of(part)
    kind = role if role in ("user", "assistant", "tool") else "other"
    extra = "".join(f"<pre>{_html(call)}</pre>" for call in tool_calls(part))
    return (
        f'<article class="{kind}"><h2>{_html(speaker_of(part))} '
        f"<small>{position_of(part)} <time>{when(part)}</time></small></h2>"
        f"<pre>{_html(text_of(part.content))}</pre>{extra}{_details(part)}</article>\n"
    )


def html_end() -> str:
    """Return the end of an HTML file."""
    return "</body>\n</html>\n"


def _details(part: Part) -> str:
    if not part.data:
        return ""
    text = json.dumps(part.data, indent=1, ensure_ascii=False)
    return f"<details><summary><small>data</small></summary><pre>{_html(text)}</pre></details>"


def _html(text: str) -> str:
    return escape(_visible(text))


def _markdown(text: str) -> str:
    """Return a text in one line, each character of which stands for itself."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~>-])", r"\\\1", " ".join(_visible(text).split())).replace("<", "&lt;")


def _visible(text: str) -> str:
    """Return a text in which characters that control a terminal or turn its direction are seen."""
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text.replace("\r\n", "\n"))
