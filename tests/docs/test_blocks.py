"""Each block of the README and of the site does what it shows."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from tests.docs.following import SERVER, Reader
from tests.docs.pages import PAGES, README, ROOT, name_of, read_blocks

# test_setup.py, tests/unit/test_packaging.py and .ci/run hold these, which install or need Docker.
INSTALLING = ("pip install", "tests/run", "docker compose")
LANGUAGES = {"python", "sh", "text", "json", "toml", "yaml", "javascript"}


def pages() -> list[object]:
    """Return the pages that have something to run, those with a server marked."""
    return [
        pytest.param(page, id=name_of(page), marks=[pytest.mark.server] * needs_server(page))
        for page in PAGES
        if any(block.language in ("python", "sh") for block in read_blocks(page))
    ]


def needs_server(page: Path) -> bool:
    return any(name in page.read_text() for name in (SERVER, "mongod:///"))


@pytest.mark.parametrize("page", pages())
def test_blocks_run_and_print_what_is_shown(
    request: pytest.FixtureRequest, page: Path, tmp_path: Path
) -> None:
    if page.stem == "roomkit" and sys.version_info < (3, 12):
        pytest.skip("RoomKit needs Python 3.12 or later")
    server = request.getfixturevalue("server_uri") if needs_server(page) else None
    with Reader(tmp_path, server) as reader:
        for block in read_blocks(page):
            if not any(word in block.code for word in INSTALLING):
                reader.follow(block)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_has_a_language_that_nothing_runs(page: Path) -> None:
    assert {block.language for block in read_blocks(page)} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_show_examples_as_the_tests_run_them(page: Path) -> None:
    for block in read_blocks(page):
        if block.title and (example := ROOT / "tests" / "examples" / block.title).is_file():
            assert block.code == example.read_text()


# Not each of them is installed wherever the tests run.
NAMES_OF_PACKAGES = {"agents", "chainlit", "claude_agent_sdk", "notebook", "openai", "pydantic_ai", "roomkit"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_file_hides_the_package_of_its_name(page: Path) -> None:
    files = {Path(block.title).stem for block in read_blocks(page) if block.title}
    assert [name for name in files if name in NAMES_OF_PACKAGES or importlib.util.find_spec(name)] == []


def test_readme_leads_with_a_sentence_and_two_commands() -> None:
    first, second, *_ = [block.code for block in read_blocks(README) if block.language == "sh"]
    assert first.endswith("mongostore demo\n")
    assert second == "tests/run\n"
    assert "\ntests/run\n" in (README.parent / ".ci" / "run").read_text()


def test_readme_fits_on_a_few_screens() -> None:
    assert len(README.read_text().splitlines()) <= 150
