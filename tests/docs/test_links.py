"""Each link of the README and of the site leads somewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import PAGES, ROOT, SITE, name_of, strip_code

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as Python Markdown makes them."""
    words = (
        re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in _HEADING.findall(page.read_text())
    )
    return {re.sub(r"[\s-]+", "-", text) for text in words}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    for link in _LINK.findall(strip_code(page)):
        target, _, anchor = link.partition("#")
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.is_file(), link
        if anchor:
            assert anchor in anchors_of(found), link


def test_navigation_names_each_page_once() -> None:
    def names(entries: list[Any]) -> list[str]:
        found = [value for entry in entries for value in entry.values()]
        return [name for value in found for name in ([value] if isinstance(value, str) else names(value))]

    navigation = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text())["project"]["nav"]
    assert sorted(names(navigation)) == sorted(
        page.relative_to(SITE).as_posix() for page in SITE.rglob("*.md")
    )
