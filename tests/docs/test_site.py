"""The site is built from the pages without a fault, with a Markdown twin of each and `llms.txt`."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT, SITE

BUILT = ROOT / "docs" / "site"


@pytest.mark.long
def test_the_site_is_built_without_a_fault() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "docs" / "build.py"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    twins = re.findall(r"^\* \[[^]]*\]\(([^)]+)\)", (BUILT / "llms.txt").read_text(), re.MULTILINE)
    assert len(twins) == len([*SITE.rglob("*.md")])
    for twin in twins:
        assert (BUILT / twin).is_file()
        assert (BUILT / twin).with_suffix(".html").is_file()
