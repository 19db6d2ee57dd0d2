"""RoomKit's own tests, as its source distribution carries them, on our store and on a real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import pytest

from tests.conftest import absent

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache"
# By file, how many of its tests pass: more with each version of RoomKit, and never silently fewer.
SUITES: dict[str, int] = json.loads((HERE / "roomkit_tests.json").read_text())["suites"]
# What is asked of a store and its locks themselves; the rest asks the framework that runs over them.
OF_STORE = tuple(
    f"tests/test_{name}" for name in ("store_", "commit_", "lock", "postgres_", "voice_delivery_")
)
# What RoomKit's suite itself leaves to one of its stores, which a stand-in of ours is in its place.
SKIPPED = {"the fallback runs over the in-memory store"}

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.version_info < (3, 12), reason="RoomKit needs Python 3.12"),
]


@pytest.fixture(scope="module")
def source() -> Path:
    """The unpacked source of the RoomKit that is installed."""
    name = f"roomkit-{metadata.version('roomkit')}"
    unpacked = CACHE / name
    if not unpacked.exists():
        CACHE.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=CACHE) as folder:
            shutil.move(downloaded(name, Path(folder)), unpacked)
    return unpacked


def downloaded(name: str, folder: Path) -> Path:
    requirement = name.replace("-", "==")
    options = ["--no-deps", "--no-binary", "roomkit", "--dest", str(folder)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", *options, requirement]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        absent(f"no source of {requirement} to be had: {done.stderr}")
    with tarfile.open(folder / f"{name}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / name


@pytest.mark.timeout(1500)
@pytest.mark.long
@pytest.mark.parametrize("asked", ["store", "framework"])
def test_roomkits_own_tests_pass_on_our_store(
    asked: str, source: Path, server_uri: str, tmp_path: Path
) -> None:
    shard = [name for name in SUITES if name.startswith(OF_STORE) == (asked == "store")]
    report = tmp_path / "report.xml"
    # In one process: the other cores are for what else is tested, and many tests are in a hurry.
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
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *shard],
        cwd=source,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20000:]
    cases = list(ElementTree.parse(report).iter("testcase"))
    skipped = {skip.get("message") for case in cases for skip in case.iter("skipped")}
    assert skipped <= SKIPPED
    assert sum(len(case) == 0 for case in cases) >= sum(SUITES[name] for name in shard)
