"""Suites run as shown, wherever they are derived from, and say what is wrong with a store."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mongostore import testing
from tests.conftest import absent
from tests.docs.pages import ROOT, SITE, read_blocks

PAGE = SITE / "how-to" / "testing.md"
[SUITE] = [block.code for block in read_blocks(PAGE) if "mongostore.testing" in block.code]
FORGETFUL = """
import pytest
from mongostore.adapters.director import MongoDB
from mongostore.testing.director import DatabaseSuite


class Forgetful(MongoDB):
    def delete_conversation(self, session_id):
        super().delete_conversation(session_id)
        return True


class TestForgetful(DatabaseSuite):
    @pytest.fixture
    def db(self):
        return Forgetful(f"mongomock://{id(self)}")
"""


def run(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests as somebody else does, who has them in a folder of his own."""
    (folder / "test_mine.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests" / "adapters" / "stand_in")}
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_suite_that_is_shown_runs_and_passes(tmp_path: Path) -> None:
    if find_spec("chainlit") is None:
        absent("Chainlit is not installed")
    done = run(tmp_path, SUITE)
    assert done.returncode == 0, done.stdout
    [passed] = re.findall(r"=+ (\d+) passed", done.stdout)
    assert int(passed) > 50


def test_a_suite_says_what_is_wrong_and_what_it_compared(tmp_path: Path) -> None:
    done = run(tmp_path, FORGETFUL, "-k", "unknown or every_method or deleted_are_missed")
    assert done.returncode == 1
    assert re.search("2 failed, 1 passed", done.stdout)
    assert "assert True is False" in done.stdout


@pytest.mark.parametrize("name", [suite.name for suite in pkgutil.iter_modules(testing.__path__)])
def test_every_package_of_suites_is_named(name: str) -> None:
    assert f"| `.{name}` |" in PAGE.read_text()
