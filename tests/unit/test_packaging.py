"""What is shipped: the wheel and the sdist build, and the wheel works in an empty environment."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.environments import install, make_environment, run_apart

ROOT = Path(__file__).parents[2]

USE = """
from importlib.resources import files
from mongostore import Message, MongoStore
from mongostore.index_definitions import load_indexes
assert "site-packages" in __import__("mongostore").__file__
assert files("mongostore").joinpath("py.typed").is_file()
assert [command["createIndexes"] for command in load_indexes()]
with MongoStore("mongomock://") as store:
    store.sessions.create("s")
    store.sessions.messages.append("s", Message(role="user", content="hi"))
    print(store.sessions.get("s").last.text)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # The first command of the README builds with what pyproject.toml alone names; here that is there already.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return folder


def test_the_wheel_holds_the_package_its_stubs_its_indexes_and_its_dialogues(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"mongostore"}
    assert [name for name in names if "tests" in name.split("/")] == []
    assert [name for name in names if name.startswith("mongostore/testing/store")] == []
    for folder, pattern in (
        ("indexes", "*.json"),
        ("indexes/search", "*.json"),
        ("mongostore/samples", "*.jsonl"),
        ("mongostore", "**/*.py"),
        ("mongostore", "**/*.pyi"),
    ):
        paths = list((ROOT / folder).glob(pattern))
        assert paths
        for path in paths:
            inside = path.relative_to(ROOT).as_posix()
            assert (inside if inside.startswith("mongostore/") else f"mongostore/{inside}") in names


def test_the_sdist_holds_what_builds_it(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "indexes/sessions.json", "mongostore/py.typed"} <= names


def test_the_wheel_works_in_an_empty_environment(built: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "env")
    [wheel] = built.glob("*.whl")
    installed = install(python, str(wheel))
    assert installed.returncode == 0, installed.stderr
    used = run_apart(tmp_path, python, "-c", USE)
    assert used.stdout == "hi\n", used.stderr
    output = run_apart(tmp_path, python.parent / "mongostore", "--help")
    assert "demo" in output.stdout, output.stderr
    assert (used.returncode, output.returncode) == (0, 0)
