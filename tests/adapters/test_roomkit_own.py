"""RoomKit's own tests, as its source distribution carries them, on our store and on a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.adapters.sdists import source_of

HERE = Path(__file__).parent
# By file, how many of its tests pass: more with each version of RoomKit, and never silently fewer.
SUITES: dict[str, int] = json.loads((HERE / "roomkit_tests.json").read_text())["suites"]
# What is asked of a store and its locks themselves; the rest asks the framework that runs over them.
OF_STORE = tuple(
    f"tests/test_{name}" for name in ("store_", "commit_", "lock", "postgres_", "voice_delivery_")
)
# Many of the tests wait, so processes side by side share them.
SHARDS = 2
# What RoomKit's suite itself leaves to one of its stores, which a stand-in of ours is in its place.
SKIPPED = {"the fallback runs over the in-memory store"}

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.version_info < (3, 12), reason="RoomKit needs Python 3.12"),
]


@pytest.fixture(scope="module")
def source() -> Path:
    return source_of("roomkit")


@pytest.mark.timeout(1500)
@pytest.mark.long
@pytest.mark.parametrize("asked", ["store", "framework"])
def test_roomkits_own_tests_pass_on_our_store(
    asked: str, source: Path, server_uri: str, tmp_path: Path
) -> None:
    files = [name for name in SUITES if name.startswith(OF_STORE) == (asked == "store")]
    shards = [files[number::SHARDS] for number in range(SHARDS)]
    reports = [tmp_path / f"report-{number}.xml" for number in range(SHARDS)]
    running = [start(*each, source, server_uri) for each in zip(shards, reports, strict=True)]
    codes = [process.wait() for process in running]
    for code, report in zip(codes, reports, strict=True):
        assert code == 0, report.with_suffix(".log").read_text()[-20000:]
    cases = [case for report in reports for case in ElementTree.parse(report).iter("testcase")]
    skipped = {skip.get("message") for case in cases for skip in case.iter("skipped")}
    assert skipped <= SKIPPED
    assert sum(len(case) == 0 for case in cases) >= sum(SUITES[name] for name in files)


def start(files: list[str], report: Path, source: Path, server_uri: str) -> subprocess.Popen[str]:
    """Start RoomKit's tests of some files."""
    options = ["-p", "roomkit_plugin", "-p", "no:cacheprovider"]
    options += ["-o", "asyncio_default_fixture_loop_scope=function", "--timeout", "120"]
    options += ["-q", "--tb", "short", "--show-capture", "no", "--junitxml", str(report)]
    # Their children find the stand-ins by the last of these.
    paths = [source / "src", HERE, HERE / "roomkit_child", HERE.parents[1]]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment |= {
        "MONGOSTORE_STAND_IN_URI": server_uri,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
    }
    with report.with_suffix(".log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *files],
            cwd=source,
            env=environment,
            stdout=log,
            stderr=log,
            text=True,
        )
