"""Finds what is not written in plain sentences: `python -m tests.docs.wording`.

It reads the README, the pages of the site, and of the code the public docstrings, the messages of errors, and
the help of commands and requests. Of all code it reads the names as well.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.docs.pages import PAGES, ROOT, name_of, strip_code

CODE = ROOT / "mongostore"
MODULES = sorted([*CODE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")])

# A clause in the place of a noun.
_OPENING = re.compile(
    r"(?:^|[.!:] |\| |\* )(?:What(?:ever)?|Who(?:ever|se)?|Whichever)\b[^.?!|]*[.!|]", re.MULTILINE
)
# The actor is the caller, the server or another process; software neither speaks nor is spoken to.
_WORD = re.compile(
    r"\b(?:who|what|which)(?:so)?ever\b|\b(?:nobody|somebody|meanwhile|tells?|told|says|given|meant|notes?|noted)\b"
    r"|\bof its own accord\b",
    re.IGNORECASE,
)
# A name is that of the thing, not of the way in which it came.
_RETIRED = re.compile(
    r"(?:^|_)(?:given|told|said|kept|shown|meant|settle[ds]?|settling|behind|upto|begins|adds|near|far|shelf|notes?"
    r"|noted|placed?|places|oddity|oddities|furnishing|measuring|unchained|wound(?:s|ed)?|whoever|nobody)(?:_|$)"
    r"|^_?marks?$",
    re.IGNORECASE,
)
_UNNAMED = re.compile(r"\b(?:whoever|nobody|somebody)\b", re.IGNORECASE)
_LONGEST = 45
# Keywords whose text people read: of commands, of their options and of requests.
_READ = {"help", "description", "summary", "response_description", "epilog", "short_help"}


class Text(NamedTuple):
    """A text that people read, and the place where it is written."""

    position: str
    prose: str


def prose_of(text: str) -> str:
    """Return text without code, addresses and directives."""
    text = re.sub(r"``[^`]*``|`[^`]*`", "code", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return re.sub(r"^(?:    |:::|===).*$", "", text, flags=re.MULTILINE)


def find_faults(prose: str) -> list[str]:
    """Return the sentences that begin with a clause, the words to avoid, and the sentences that are long."""
    found = [match[0].strip() for match in _OPENING.finditer(prose)]
    found += [prose[max(0, match.start() - 40) : match.end() + 30] for match in _WORD.finditer(prose)]
    sentences = re.split(r"(?<=[.!?:;])\s|\n\n|\n\* |\n\d\. |\|", prose)
    found += [sentence for sentence in sentences if len(sentence.split()) > _LONGEST]
    return [" ".join(fault.split()) for fault in found]


def read_page(page: Path) -> Text:
    """Return the prose of a page."""
    return Text(name_of(page), prose_of(strip_code(page)))


def read_code(path: Path, code: str | None = None) -> Iterator[Text]:
    """Yield the public docstrings of a module, its errors and its help."""
    tree = ast.parse(path.read_text() if code is None else code)
    name = name_of(path)
    yield from _docstrings(tree, name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            read = [word.value for word in node.keywords if word.arg in _READ]
            if called.endswith("Error"):
                read += [*node.args, *(word.value for word in node.keywords)]
            for value in read:
                if text := _literal(value):
                    yield Text(f"{name}:{value.lineno}", prose_of(text))


def _docstrings(node: ast.Module | ast.ClassDef, name: str) -> Iterator[Text]:
    if text := ast.get_docstring(node):
        yield Text(f"{name}:{getattr(node, 'lineno', 1)}", _prose_of_docstring(text))
    for child in node.body:
        if getattr(child, "name", "_").startswith("_"):
            continue
        if isinstance(child, ast.ClassDef):
            yield from _docstrings(child, name)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(child)):
            yield Text(f"{name}:{child.lineno}", _prose_of_docstring(text))


def _prose_of_docstring(text: str) -> str:
    """Return a docstring without code, its lists of arguments as sentences."""
    lines = (re.sub(r"^    (?:\*{0,2}\w+: )?(?! )|^ {8}", "", line) for line in text.splitlines())
    # A tree, such as that of the errors, has no sentences.
    return prose_of("\n".join(line for line in lines if not re.match(" *[+] ", line)))


def _literal(node: ast.expr) -> str:
    """Return the text of an expression; each value in it counts as a word."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_literal(part) or "code" for part in node.values)
    if isinstance(node, ast.BinOp):
        return _literal(node.left) + _literal(node.right)
    return ""


def find_names(code: str) -> Iterator[str]:
    """Yield the names with retired words that a module defines; a test's name is a sentence of its own."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.arg(arg=name)
                | ast.Name(id=name, ctx=ast.Store())
                | ast.Attribute(attr=name, ctx=ast.Store())
            ):
                words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
                if not name.startswith("test_") and _RETIRED.search(words):
                    yield name


def find_unnamed(code: str) -> list[str]:
    """Return the lines of a module, comments too, whose actor has no name."""
    return [line.strip() for line in code.splitlines() if _UNNAMED.search(line)]


def read_all() -> Iterator[Text]:
    """Yield every text."""
    yield from map(read_page, PAGES)
    for path in sorted(CODE.rglob("*.py")):
        yield from read_code(path)


def main() -> None:
    """Print each fault with its place, and fail if there is one."""
    faults = [f"{text.position}: {fault}" for text in read_all() for fault in find_faults(text.prose)]
    faults += [f"{name_of(path)}: {name}" for path in MODULES for name in find_names(path.read_text())]
    sys.exit("\n".join(faults) or None)


if __name__ == "__main__":
    main()
