"""The pages of the reference are those that the code makes, and name all that is public."""

from __future__ import annotations

import typer

import mongostore
from mongostore.cli import app, load_command
from tests.docs.pages import SITE
from tests.reference import REFERENCE, make_pages


def test_pages_are_those_that_the_code_makes() -> None:
    stale = [name for name, text in make_pages().items() if (REFERENCE / name).read_text() != text]
    assert stale == [], "run: python -m tests.reference"


def test_each_public_name_has_an_entry() -> None:
    pages = "".join(page.read_text() for page in REFERENCE.glob("*.md"))
    for name in mongostore.__all__:
        if not name.startswith("__"):
            assert any(entry.format(name) in pages for entry in (":: mongostore.{}\n", "# {}\n", ".{}\n")), (
                name
            )


def test_each_command_has_an_entry_and_help() -> None:
    page = (SITE / "reference" / "cli.md").read_text()
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        command = load_command(name)
        for child in getattr(command, "commands", {"": command}).values():
            path = name if child is command else f"{name} {child.name}"
            assert f"# `mongostore {path}`\n" in page
            assert child.help
            assert all(one.help for one in child.params), path
