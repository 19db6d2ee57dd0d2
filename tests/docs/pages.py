"""The README and the pages of the site, and the blocks of code in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SITE = ROOT / "docs" / "pages"
PAGES = [README, *sorted(SITE.rglob("*.md"))]

_FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code: its language, the file it is saved as, and the output below it."""

    language: str
    title: str | None
    code: str
    output: str | None


def name_of(page: Path) -> str:
    """Return the path of a page from the root of the project."""
    return page.relative_to(ROOT).as_posix()


def read_blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, each with the `text` block that follows it as its output."""
    found = [match.groups() for match in _FENCE.finditer(page.read_text())]
    following = [*found[1:], ("", "", "")]
    blocks = []
    for (language, rest, code), (next_language, next_rest, output) in zip(found, following, strict=False):
        title = re.search(r'title="([^"]+)"', rest)
        has_output = language != "text" and next_language == "text" and not next_rest
        blocks.append(Block(language, title and title[1], code, output if has_output else None))
    return blocks


def strip_code(page: Path) -> str:
    """Return the text of a page without its blocks."""
    return _FENCE.sub("", page.read_text())
