"""The source distributions of the frameworks that are installed, which carry the frameworks' own tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from tests.conftest import absent

CACHE = Path(__file__).parents[2] / ".cache"


def source_of(package: str) -> Path:
    """Return the unpacked source of a package that is installed, downloaded once."""
    version = metadata.version(package)
    unpacked = CACHE / f"{package}-{version}"
    if not unpacked.exists():
        CACHE.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=CACHE) as folder:
            shutil.move(_download(package, version, Path(folder)), unpacked)
    return unpacked


def _download(package: str, version: str, folder: Path) -> Path:
    requirement = f"{package}=={version}"
    options = ["--no-deps", "--no-binary", package, "--dest", str(folder)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", *options, requirement]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        absent(f"no source of {requirement} to be had: {done.stderr}")
    [downloaded] = folder.glob("*.tar.gz")
    with tarfile.open(downloaded) as archive:
        archive.extractall(folder, filter="data")
    return folder / downloaded.name.removesuffix(".tar.gz")


def outcomes(report: Path) -> tuple[int, set[str]]:
    """Return how many tests of a JUnit report have passed, and the names of those that have failed."""
    cases = [*ElementTree.parse(report).iter("testcase")]
    failed = {str(case.get("name")) for case in cases if {"failure", "error"} & {part.tag for part in case}}
    return sum(len(case) == 0 for case in cases), failed
