"""Writes the pages of the reference that come from the code: `python -m tests.reference`.

A test compares the pages with what this makes, so that help, settings, errors and pages have one source.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import typer

import mongostore
from mongostore import AsyncMongoStore, MongoStore, errors
from mongostore.cli import app, load_command
from mongostore.settings import Settings
from tests.docs.pages import SITE

REFERENCE = SITE / "reference"


def make_cli() -> str:
    """Return the page of the command line."""
    parts = [
        "# Command line\n\nThis page is the help of each command. `mongostore COMMAND --help` prints it.\n"
    ]
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        command = load_command(name)
        parts.append(_describe_command(name, command))
        parts += [_describe_command(f"{name} {child.name}", child) for child in _children(command)]
    return "\n".join(parts)


def _children(command: Any) -> Iterable[Any]:
    return getattr(command, "commands", {}).values()


def _describe_command(name: str, command: Any) -> str:
    text = inspect.cleandoc(command.help or "").replace("\b", "")
    prose, _, examples = text.partition("Examples:")
    lines = [f"{'###' if ' ' in name else '##'} `mongostore {name}`\n", _escape(prose.strip()) + "\n"]
    if examples:
        lines += [
            "Examples:\n",
            "\n".join(f"    {line.strip()}" for line in examples.strip().splitlines()) + "\n",
        ]
    if rows := [_describe_parameter(one) for one in command.params if one.name != "help"]:
        lines += ["| argument | meaning |\n| --- | --- |\n" + "\n".join(rows) + "\n"]
    return "\n".join(lines)


def _describe_parameter(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    if parameter.param_type_name == "argument":
        # In code within a cell, no backslash hides a bar.
        name = (parameter.metavar or parameter.name.upper()).replace("|", "&#124;")
        names = f"<code>{name}</code>" if "&" in name else f"`{name}`"
    return f"| {_cell(names)} | {_cell(_escape(parameter.help or ''))} |"


def _escape(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*")


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def make_settings() -> str:
    """Return the page of the settings."""
    described = inspect.getdoc(Settings) or ""
    attributes = described.partition("Attributes:\n")[2].partition("Raises:")[0]
    rows = []
    for entry in re.split(r"\n(?=    \w+: )", attributes.rstrip()):
        name, _, meaning = entry.strip().partition(": ")
        rows.append(f"| `MONGOSTORE_{name.upper()}` | {_cell(_escape(meaning))} |")
    return (
        "# Settings\n\nEach setting is also an argument of the store or of a command, which comes first.\n\n"
        "| variable | meaning |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    )


def make_errors() -> str:
    """Return the page of the errors."""
    parts = [
        "# Errors\n\nEvery error of mongostore is a `MongoStoreError`. Its text names what failed, where, "
        "and what you can do.\n",
        "```text\n" + "\n".join(_draw(errors.MongoStoreError)) + "\n```\n",
    ]
    for error in _walk(errors.MongoStoreError):
        first = (inspect.getdoc(error) or "").partition("\n\nAttributes:")[0]
        parts.append(f"## {error.__name__}\n\n{_escape(first)}\n")
    return "\n".join(parts)


def _walk(kind: type[Exception]) -> list[type[Exception]]:
    found = [kind]
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            found += [one for one in _walk(child) if one not in found]
    return [one for one in found if not one.__name__.startswith("_")]


def _draw(kind: type[Exception], depth: int = 0) -> list[str]:
    is_public = not kind.__name__.startswith("_")
    lines = ["    " * depth + kind.__name__] if is_public else []
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            lines += _draw(child, depth + is_public)
    return lines


def make_http() -> str:
    """Return the page of the sessions service's requests."""
    from mongostore.servers.sessions import create_app

    paths = create_app(require_keys=False).openapi()["paths"]
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]
    answers = Counter(
        (code, answer["description"])
        for _, operation in operations
        for code, answer in operation["responses"].items()
        if code >= "400"
    )
    usual = {answer for answer, count in answers.items() if count > len(operations) / 2}
    parts = [
        "# HTTP\n\nThese are the requests of `mongostore serve sessions`. The server shows them, with "
        "the forms of bodies and answers, at `/docs`, and as OpenAPI at `/openapi.json`.\n\n"
        "Most requests may have these answers, which the entries leave out:\n",
        _list_answers(usual),
    ]
    return "\n".join(parts + [_describe_operation(name, operation, usual) for name, operation in operations])


def _describe_operation(name: str, operation: Any, usual: set[tuple[str, str]]) -> str:
    described = operation.get("description") or operation.get("summary", "")
    parts = [f"## `{name}`\n\n{_escape(described.strip())}\n"]
    rows = [
        f"| `{one['name']}` | {one['in']} | {_cell(_escape(one.get('description', '')))} |"
        for one in operation.get("parameters", [])
    ]
    if rows:
        parts.append("| parameter | in | meaning |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n")
    answers = {(code, one["description"]) for code, one in operation["responses"].items()}
    parts.append(_list_answers(answers - usual))
    return "\n".join(parts)


def _list_answers(answers: set[tuple[str, str]]) -> str:
    rows = [f"| {code} | {_cell(_escape(description))} |" for code, description in sorted(answers)]
    return "| answer | meaning |\n| --- | --- |\n" + "\n".join(rows) + "\n"


def make_api() -> dict[str, str]:
    """Return the pages of the Python interface, which name each public class for mkdocstrings."""
    store, twin = AsyncMongoStore("mongomock://"), MongoStore("mongomock://")
    pages = {
        "store.md": "# Store\n\n`AsyncMongoStore` and its blocking twin `MongoStore` have the same verbs.\n\n"
        + "".join(f"::: mongostore.{name}\n\n" for name in ("AsyncMongoStore", "MongoStore")),
        "models.md": "# Models\n\nModels are frozen and refuse unknown members.\n\n"
        + "".join(f"::: mongostore.{name}\n\n" for name in _values()),
    }
    for name, verbs in _parts(store):
        parts = _describe_parts(f"store.{name}", verbs, getattr(twin, name))
        if name in ("sessions", "threads", "rooms"):
            pages[f"{name}.md"] = f"# {name.capitalize()}\n\n{parts}"
        else:
            pages["store.md"] += parts
    return {name: text.rstrip() + "\n" for name, text in pages.items()}


def _values() -> list[str]:
    """Return the public names that are neither errors nor classes with verbs."""
    verbs = {
        f"{prefix}{name}"
        for name in ("MongoStore", "Sessions", "Threads", "Rooms")
        for prefix in ("", "Async")
    }
    return [
        name
        for name in mongostore.__all__
        if name not in verbs and not name.startswith("__") and not name.endswith("Error")
    ]


def _parts(verbs: object) -> Iterator[tuple[str, object]]:
    """Yield the objects with verbs that another one has, by their names."""
    for name in dir(verbs):
        # Some properties, such as the documents of Beanie, need an open store.
        if not name.startswith("_") and name not in ("capabilities", "documents", "engine"):
            part = getattr(verbs, name)
            if not callable(part) and type(part).__module__.startswith("mongostore.") and _has_verbs(part):
                yield name, part


def _has_verbs(part: object) -> bool:
    return type(part).__name__.startswith("Async")


def _describe_parts(path: str, verbs: object, twin: object) -> str:
    """Return the directives of an object with verbs and of the objects below it."""
    tabs = "\n".join(
        f'=== "{title}"\n\n    ::: {type(one).__module__}.{type(one).__name__}\n'
        "        options:\n            show_root_heading: false\n            heading_level: 3\n"
        for title, one in (("Async", verbs), ("Sync", twin))
    )
    parts = f"## `{path}`\n\n{tabs}\n"
    for name, part in _parts(verbs):
        parts += _describe_parts(f"{path}.{name}", part, getattr(twin, name))
    return parts


def make_pages() -> dict[str, str]:
    """Return each page that comes from the code, by its name."""
    return make_api() | {
        "cli.md": make_cli(),
        "settings.md": make_settings(),
        "errors.md": make_errors(),
        "http.md": make_http(),
    }


if __name__ == "__main__":
    for name, text in make_pages().items():
        (REFERENCE / name).write_text(text)
