"""Writes the stubs of the blocking twins, whose verbs are made when they are imported: python -m tests.stubs.

A class that mirrors, as `class Things(Mirror[AsyncThings])`, has the verbs of its async class, some of them
by lines as `get = mirror(AsyncThings.get)`. The stub has the signature and docstring of each in the words of
blocking code.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import get_args, get_origin

from mongostore.sync.mirror import members_of

ROOT = Path(__file__).parents[1]
MIRRORING = ("mongostore.sync.twins",)
HEADER = '"""The blocking twins, written by `python -m tests.stubs` for type checkers: not to be edited."""'

# The blocking form of what async code alone has.
BLOCKING = {
    "AbstractAsyncContextManager": ("contextlib", "AbstractContextManager"),
    "AsyncIterator": ("collections.abc", "Iterator"),
    "asynccontextmanager": ("contextlib", "contextmanager"),
}


# Decorators that say something about a signature.
TELLING = ("asynccontextmanager", "property", "staticmethod")


def main() -> None:
    for name in MIRRORING:
        module = importlib.import_module(name)
        path_of(module).write_text(stub_of(module), encoding="utf-8")


def path_of(module: ModuleType) -> Path:
    """Return where the stub of a module is."""
    return Path(inspect.getfile(module)).with_suffix(".pyi")


@dataclass
class Twin:
    """The names around the verbs of one blocking class.

    Attributes:
        verbs: Its verbs, some of which hide a builtin.
        twins: The module's blocking classes, by the names of their async ones.
        imports: What is imported so far by the module's stub.
        types: What the type variables of generic bases of its async class stand for, and where that is known.
    """

    verbs: set[str]
    twins: dict[str, str]
    imports: set[str]
    types: dict[str, tuple[ModuleType, str]] = field(default_factory=dict)


def stub_of(module: ModuleType) -> str:
    """Return the stub of a module that mirrors."""
    body = tree_of(module).body
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    if any(not isinstance(node, ast.ClassDef | ast.Expr | ast.Import | ast.ImportFrom) for node in body):
        raise TypeError(f"{module.__name__} does not only mirror: a stub would hide what else it does")
    # A class says what it mirrors, as in `class Things(Mirror[AsyncThings])`.
    bases = [(node.name, base) for node in classes for base in node.bases]
    twins = {ast.unparse(base.slice): name for name, base in bases if isinstance(base, ast.Subscript)}
    imports: set[str] = set()
    stubs = [ast.unparse(stub_class(node, module, twins, imports)) for node in classes]
    return formatted("\n".join([HEADER, *sorted(imports), *stubs]))


def tree_of(source: object) -> ast.Module:
    """Return the syntax of a module or a function."""
    return ast.parse(textwrap.dedent(inspect.getsource(source)))  # type: ignore[arg-type]


def stub_class(node: ast.ClassDef, module: ModuleType, twins: dict[str, str], imports: set[str]) -> ast.stmt:
    """Put the signatures of verbs in the place of the lines that mirror them, and of the class that does."""
    members = [name for name in vars(vars(module)[node.name]) if not name.startswith("_")]
    twin = Twin({*members}, twins, imports)
    cores = [vars(module)[ast.unparse(base.slice)] for base in node.bases if isinstance(base, ast.Subscript)]
    node.bases = [Names(module, twin).visit(base) for base in node.bases]
    body: list[ast.stmt] = []
    for line in node.body:
        match line:
            case ast.Expr(ast.Constant(str())) | ast.AnnAssign(value=None):
                body.append(line)
            case ast.Assign([ast.Name(name)], ast.Call(args=[ast.Attribute(ast.Name(core), verb), *_])):
                members.remove(name)
                body.append(stub_member(name, vars(module)[core], verb, twin))
            case _:
                raise TypeError(f"{node.name} does not only mirror: {ast.unparse(line)}")
    # In the order of the async class, whatever tests have taken out and put back.
    body += [
        stub_member(name, core, name, twin) for core in cores for name in members_of(core) if name in members
    ]
    node.body = body
    return node


def stub_member(name: str, core: type, verb: str, twin: Twin) -> ast.stmt:
    """Return the stub of a member of a twin, by the one of its async class."""
    twin.types = types_of(core)
    member = getattr(core, verb)
    return stub_verb(name, member.fget if isinstance(member, property) else member, twin)


def stub_verb(name: str, function: Callable[..., object], twin: Twin) -> ast.stmt:
    """Return the signature and the docstring of a verb as blocking code calls it."""
    [found] = tree_of(inspect.unwrap(function)).body
    assert isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef)
    assert found.returns is not None, f"{name} has no annotation"
    module = sys.modules[function.__module__]
    stub = ast.copy_location(ast.FunctionDef(**dict(ast.iter_fields(found))), found)
    stub.name = name
    stub.args = Names(module, twin).visit(found.args)
    stub.returns = Returned(module, twin).visit(found.returns)
    # The other decorators say nothing about the signature.
    telling = [one for one in found.decorator_list if ast.unparse(one) in TELLING]
    stub.decorator_list = [Returned(module, twin).visit(one) for one in telling]
    stub.body = found.body[:1] if ast.get_docstring(found) else [ast.Expr(ast.Constant(...))]
    return stub


class Names(ast.NodeTransformer):
    """Makes the names in a signature known to the stub, where the signature is another module's."""

    def __init__(self, module: ModuleType, twin: Twin) -> None:
        self._module = module
        self._twin = twin
        self._origins = origins_in(module)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = vars(self._module).get(node.id)
        if isinstance(value, str | int | float):
            return ast.Constant(value)
        if node.id in self._twin.types:
            module, name = self._twin.types[node.id]
            return Names(module, self._twin).visit_Name(ast.Name(name))
        if node.id in self._origins:
            self._twin.imports.add(self._origins[node.id])
        elif value is not None:
            self._twin.imports.add(f"from {self._module.__name__} import {node.id}")
        elif not hasattr(builtins, node.id):
            raise NameError(f"{self._module.__name__} has no {node.id}")
        elif node.id in self._twin.verbs:
            self._twin.imports.add("import builtins")
            return ast.Attribute(ast.Name("builtins"), node.id)
        return node


class Returned(Names):
    """Also puts blocking names in the place of async ones, in what is returned: arguments are handed on."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self._twin.twins:
            return ast.Name(self._twin.twins[node.id])
        if node.id in BLOCKING:
            source, name = BLOCKING[node.id]
            self._twin.imports.add(f"from {source} import {name}")
            return ast.Name(name)
        if node.id.startswith(("Async", "Awaitable", "Coroutine")):
            raise TypeError(f"{node.id} has no blocking form")
        return super().visit_Name(node)


def types_of(core: type) -> dict[str, tuple[ModuleType, str]]:
    """Return what each type variable of a class's generic bases stands for, and where that is known."""
    found = {}
    for cls in reversed(core.__mro__):
        for base in vars(cls).get("__orig_bases__", ()):
            for variable, value in zip(
                getattr(get_origin(base), "__parameters__", ()), get_args(base), strict=False
            ):
                if value is not variable:
                    found[variable.__name__] = sys.modules[cls.__module__], value.__name__
    return found


def origins_in(module: ModuleType) -> dict[str, str]:
    """Return each name that a module imports, with the statement that does."""
    found = {}
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                one: ast.stmt = ast.Import([alias])
                if isinstance(node, ast.ImportFrom):
                    one = ast.ImportFrom(node.module, [alias], node.level)
                found[alias.asname or alias.name.partition(".")[0]] = ast.unparse(one)
    return found


def formatted(source: str) -> str:
    """Return source with its imports sorted, in the format of all other files."""
    for command in (["check", "--fix", "--quiet", "--select=F,I"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename=stub.pyi", "-"]
        source = subprocess.run(
            ruff, cwd=ROOT, input=source, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    return source


if __name__ == "__main__":
    main()
