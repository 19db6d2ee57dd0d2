"""One conversation as one page of HTML that needs no script, no server and no network."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from mongostore.servers.studio.formats import week_day
from mongostore.servers.studio.pages import asset, write
from mongostore.servers.studio.transcript import Item

_FONT = re.compile(r'url\("(fonts/[\w.-]+)"\)')
_NAMES = {"root": "", "static": "", "icons": "", "is_file": True}
_END = b"</main></body></html>\n"


async def html_file(
    kind: str, title: str, facts: Sequence[str], parts: AsyncIterator[Sequence[Any]]
) -> AsyncIterator[bytes]:
    """Yield a page piece by piece.

    Args:
        kind: `session`, `thread` or `room`.
        title: The name of the conversation.
        facts: The line below the title.
        parts: The items of the conversation, and errors of those that could not be read, some at a time.
    """
    style, digest = _style()
    icons = Markup(asset("icons.svg").decode())
    names: dict[str, Any] = {"kind": kind, "title": title, "facts": [*facts, f"as of {_now()}"]}
    yield _encode(write("file.html", **_NAMES, style=style, digest=digest, sprite=icons, **names))
    day = ""
    async for items in parts:
        html = await asyncio.to_thread(write, "file_items.html", **_NAMES, kind=kind, items=items, day=day)
        yield _encode(html)
        times = [item.at for item in items if isinstance(item, Item) and item.at is not None]
        day = week_day(times[-1]) if times else day
    yield _END


@lru_cache
def _style() -> tuple[Markup, str]:
    """Return the style with its fonts in it, and the digest by which the page's policy allows it."""
    sheet = _FONT.sub(
        lambda found: f'url("data:font/woff2;base64,{base64.b64encode(asset(found[1])).decode()}")',
        asset("studio.css").decode(),
    )
    return Markup(sheet), base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


def _encode(html: str) -> bytes:
    return html.encode(errors="replace")
