"""What is locked for the tests is what `pyproject.toml` asks for."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / ".ci" / "requirements.txt").read_text()
PINS = [Requirement(line.rstrip(" \\")) for line in LOCK.splitlines() if re.match(r"[a-z0-9]", line)]


def asked() -> list[str]:
    extras = PROJECT["project"]["optional-dependencies"]
    # The tests bring a server of their own, so that of the extra is not locked.
    locked = [line for name, lines in extras.items() if name not in ("mongod", "all") for line in lines]
    return [*PROJECT["project"]["dependencies"], *locked, *PROJECT["dependency-groups"]["dev"]]


def pinned(name: str) -> list[Version]:
    return [
        Version(next(iter(pin.specifier)).version)
        for pin in PINS
        if pin.name == name and (pin.marker is None or pin.marker.evaluate())
    ]


@pytest.mark.parametrize("line", asked())
def test_the_lock_satisfies_what_is_asked_for(line: str) -> None:
    requirement = Requirement(line)
    if requirement.marker is None or requirement.marker.evaluate():
        [version] = pinned(requirement.name)
        assert version in requirement.specifier, "run .ci/lock"


def test_the_extras_of_pymongo_are_pymongos_own() -> None:
    ours = PROJECT["project"]["optional-dependencies"]
    asked_for = {extra for lines in ours.values() for line in lines for extra in Requirement(line).extras}
    named = {name for name in asked_for if ours.get(name) == [f"pymongo[{name}]>=4.15,<5"]}
    assert named == {"aws", "encryption", "zstd"} <= {*metadata("pymongo").get_all("Provides-Extra", [])}


def test_everything_locked_has_one_version_and_hashes_and_comes_from_no_named_place() -> None:
    assert all([clause.operator for clause in pin.specifier] == ["=="] for pin in PINS)
    entries = re.split(r"\n(?=[a-z0-9])", LOCK)
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in LOCK
    assert "--index-url" not in LOCK
