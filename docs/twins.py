"""Writes the Markdown twin of a page, in which the reference stands as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import griffe

ROOT = Path(__file__).parent.parent
# The blocking form repeats the async one, with other signatures.
_SYNC = re.compile(r'^=== "Sync"\n(?:\n|    .*\n)+', re.MULTILINE)
_ASYNC = re.compile(r'^=== "Async"\n', re.MULTILINE)
_OBJECT = re.compile(r"^ *::: (\S+)\n(?: +options:\n(?: +\w+: .*\n)+)?", re.MULTILINE)


def make_twin(page: Path) -> str:
    """Return the Markdown of a page, with the signatures and docstrings of the objects that it shows."""
    text = _ASYNC.sub("", _SYNC.sub("", page.read_text() + "\n"))
    return _OBJECT.sub(lambda match: "\n".join(_describe(match[1])), text).rstrip() + "\n"


@cache
def _load(package: str) -> griffe.Object | griffe.Alias:
    return griffe.load(package, search_paths=[ROOT])


def _describe(path: str) -> Iterator[str]:
    package, _, inner = path.partition(".")
    shown = _load(package)[inner]
    yield f"### `{shown.name}`\n\n{_docstring(shown)}\n"
    for member in shown.members.values():
        if not member.is_public or member.is_special or not (member.is_function or member.is_attribute):
            continue
        if member.is_function:
            kind = "async def" if "async" in member.labels else "def"
            yield f"```python\n{kind} {member.signature()}\n```\n\n{_docstring(member)}\n"
        elif member.docstring:
            yield f"`{member.name}`: {_docstring(member)}\n"


def _docstring(shown: griffe.Object | griffe.Alias) -> str:
    return shown.docstring.value if shown.docstring else ""
