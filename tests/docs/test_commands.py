"""The commands, options and sources of imports that texts name are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from mongostore.cli import app, load_command
from mongostore.importers import names
from tests.docs.pages import PAGES, SITE, name_of, read_blocks

SPAN = re.compile(r"`(mongostore [^`]+)`")
SOURCES = re.compile(r"^\| (`[a-z]+`(?:, `[a-z]+`)*) \|", re.MULTILINE)


def named(page: Path) -> Iterator[str]:
    """Yield the commands that a page names in its text and in its blocks."""
    yield from SPAN.findall(page.read_text(encoding="utf-8"))
    for block in read_blocks(page):
        if block.language in ("sh", "text"):
            yield from (line for line in block.code.splitlines() if line.startswith("mongostore "))


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that words call, and its arguments."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert words[0] in commands, f"there is no command {words[0]!r}"
    command, words = load_command(words[0]), words[1:]
    while words and (children := getattr(command, "commands", None)):
        assert words[0] in children, f"{command.name} has no command {words[0]!r}"
        command, words = children[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_command_that_a_page_names_is_there(page: Path) -> None:
    for line in named(page):
        # What a shell does with the output is no part of it.
        words = shlex.split(line.partition(">")[0].partition("|")[0], comments=True)[1:]
        if words[0].startswith("-") or words[0] == "COMMAND":
            continue
        command, arguments = command_of(words)
        options = {option for parameter in command.params for option in parameter.opts}
        for argument in arguments:
            if argument.startswith("-"):
                assert argument.partition("=")[0] in options | {"--help"}, line
        if command.name == "import" and len(arguments) > 1 and re.fullmatch("[a-z]+", arguments[0]):
            assert arguments[0] in names(), line


def test_the_page_on_imports_lists_each_source() -> None:
    page = (SITE / "how-to" / "import-export.md").read_text(encoding="utf-8")
    table = page.partition("| source | reads |")[2].partition("\n\n")[0]
    listed = [name for row in SOURCES.findall(table) for name in re.findall(r"`([a-z]+)`", row)]
    assert sorted(listed) == names()
