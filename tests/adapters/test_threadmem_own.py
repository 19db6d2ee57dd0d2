"""threadmem's own tests, unmodified, with our module in the place of theirs.

They are in the repository github.com/agentsea/threadmem alone, not in its package: they run where
`THREADMEM_SRC` names a checkout of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

HERE = Path(__file__).parent
SOURCE = os.environ.get("THREADMEM_SRC")
# What they look at with SQLAlchemy, in threadmem's own tables.
IN_TABLES = {
    "test_role_message_creation",
    "test_role_message_post_init_autosave",
    "test_multiple_role_message_creation",
}
PASSED = 20

pytestmark = pytest.mark.skipif(
    SOURCE is None, reason="THREADMEM_SRC names no checkout of agentsea/threadmem"
)


@pytest.mark.parametrize("engine", ["embedded", pytest.param("server", marks=pytest.mark.server)])
def test_threadmems_own_tests_pass_on_our_module(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest, databases: list[str]
) -> None:
    database = f"threadmem_{os.getpid()}"
    uri = "mongomock://"
    if engine == "server":
        uri = request.getfixturevalue("server_uri")
        databases.append(database)
    report = tmp_path / "report.xml"
    # Their own settings need a plugin, and say nothing to our module.
    options = ["-p", "threadmem_plugin", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(SOURCE)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, "--junitxml", str(report), "tests"],
        cwd=str(SOURCE),
        env={
            **os.environ,
            "MONGOSTORE_URI": uri,
            "MONGOSTORE_DATABASE": database,
            "PYTHONPATH": os.pathsep.join([str(HERE), str(SOURCE)]),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    cases = [*ElementTree.parse(report).iter("testcase")]
    failed = {
        case.get("name")
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }
    assert failed == IN_TABLES, done.stdout
    assert len(cases) - len(failed) >= PASSED
