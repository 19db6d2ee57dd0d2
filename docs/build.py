"""Builds the site into `docs/site`, with Markdown twins and `llms.txt`: `python docs/build.py`."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twins import make_twin

DOCS = Path(__file__).parent
SITE = DOCS / "site"
PAGES = DOCS / "pages"


def build() -> None:
    """Build the site; raises `CalledProcessError` if Zensical finds a fault."""
    subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", DOCS / "zensical.toml"],
        check=True,
    )
    project = tomllib.loads((DOCS / "zensical.toml").read_text())["project"]
    index = [f"# {project['site_name']}\n\n> {project['site_description']}\n"]
    for title, name in _entries(project["nav"]):
        # Where the page lies among the others, so that links from one to another hold.
        (SITE / name).write_text(make_twin(PAGES / name))
        index.append(f"* [{title}]({name}): {_first_sentence(PAGES / name)}")
    (SITE / "llms.txt").write_text("\n".join(index) + "\n")


def _entries(navigation: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for entry in navigation:
        for title, value in entry.items():
            if isinstance(value, str):
                yield title, value
            else:
                yield from _entries(value)


def _first_sentence(page: Path) -> str:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    paragraphs = [
        text for text in prose.split("\n\n") if text.strip() and not text.startswith(("#", ":", "="))
    ]
    text = re.sub(r"\s+", " ", paragraphs[0]) if paragraphs else ""
    return re.split(r"(?<=\.) ", text)[0].strip()


if __name__ == "__main__":
    build()
