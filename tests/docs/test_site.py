"""The site is built from the pages without a fault, with a Markdown twin of each and `llms.txt`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, SITE

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def built() -> Path:
    ran = subprocess.run(
        [sys.executable, ROOT / "docs" / "build.py"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ROOT / "docs" / "site"


def test_each_page_has_a_twin_whose_links_lead_somewhere(built: Path) -> None:
    twins = re.findall(r"^\* \[[^]]*\]\(([^)]+)\)", (built / "llms.txt").read_text(), re.MULTILINE)
    assert len(twins) == len([*SITE.rglob("*.md")])
    for twin in map(built.joinpath, twins):
        assert (
            (twin if twin.name == "index.md" else twin.with_suffix("") / "index.md")
            .with_suffix(".html")
            .is_file()
        )
        text = twin.read_text()
        assert ":::" not in text
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text):
            assert (twin.parent / target).is_file(), f"{twin.relative_to(built)} links to {target}"


def test_a_built_page_asks_nobody_else_for_anything(built: Path) -> None:
    """A reader without a network, or who wants to be seen by nobody, reads the same page."""
    for page in built.rglob("*.html"):
        asked = re.findall(
            r"<(?:link|script|img|iframe)\b[^>]*\b(?:src|href)=[\"']?(https?://[^\"' >]+)", page.read_text()
        )
        assert asked == [], page.relative_to(built)
