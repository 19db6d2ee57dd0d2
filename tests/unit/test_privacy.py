"""Tests know what is public alone, so that what is not can change."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}
# What is used all the same: where, and why.
ALLOWED = {
    ("*", "os._exit"): "only so does a forked child end without ending what is its parent's",
    ("bench/sessions.py", "parts._replace"): "the public methods of named tuples begin so",
    ("adapters/claude_agent_sdk_plugin.py", "super()._run"): "the SDK's tests count the steps of trio's loop",
    ("adapters/test_openai_agents.py", "session._get_compaction_snapshot"): "the SDK finds it by that name",
    ("faults/children/frameworks.py", "session._get_compaction_snapshot"): "the SDK finds it by that name",
    ("importers/test_roomkit_postgres.py", "mappers._row_to_room"): "RoomKit reads its rows so",
    ("importers/test_roomkit_postgres.py", "mappers._row_to_event"): "RoomKit reads its rows so",
    ("importers/test_roomkit_postgres.py", "mappers._row_to_binding"): "RoomKit reads its rows so",
    (
        "importers/test_roomkit_postgres.py",
        "mappers._row_to_participant",
    ): "RoomKit reads its rows so",
    ("importers/test_roomkit_postgres.py", "mappers._row_to_task"): "RoomKit reads its rows so",
    (
        "importers/test_roomkit_postgres.py",
        "mappers._row_to_observation",
    ): "RoomKit reads its rows so",
    ("faults/test_deadlines.py", "store.sessions._storage"): "each statement of a stream is bounded, too",
    ("adapters/test_threadmem.py", "found._messages"): "programs around threadmem find the live list by it",
    ("adapters/children/threadmem_client.py", "thread._public"): "threadmem's own can be set in no other way",
    ("servers/test_serve.py", "_HEADER_SECONDS"): "to wait for them would take as long",
    ("adapters/claude_agent_sdk_plugin.py", "_wait_until"): "the SDK's tests wait for their own store by it",
}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def reached(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield each use that some code makes of a private name of something else, with its line."""
    for node in ast.walk(tree):
        names: list[str] = []
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if is_private(name):
                yield node.lineno, ast.unparse(node)
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] == "mongostore":
                names = [*module.split("."), *(alias.name for alias in node.names)]
            case ast.Import():
                modules = [alias.name.split(".") for alias in node.names]
                names = [name for parts in modules if parts[0] == "mongostore" for name in parts]
            case ast.Call(func=ast.Name(id=function) | ast.Attribute(attr=function)) if function in BY_NAME:
                # The object may be in the text, as in setattr("package.module._name", value).
                sent = [one.value for one in node.args[:2] if isinstance(one, ast.Constant)]
                names = [part for text in sent if isinstance(text, str) for part in text.split(".")]
        yield from ((node.lineno, name) for name in names if is_private(name))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "code",
    [
        "store._engine",
        "store.engine._uri = 1",
        "del thread.messages()[0]._storage",
        "AsyncMongoStore._open",
        "def test(self): return self.store._engine",
        "from mongostore.shared_store import SharedStore, _shared",
        "from mongostore._inner import name",
        "import mongostore.engines._inner as inner",
        "monkeypatch.setattr(tail, '_PLACES', 100)",
        "monkeypatch.setattr('mongostore.store._INDEX_SECONDS', 1)",
        "monkeypatch.setattr('mongostore._inner.name', 1)",
        "monkeypatch.delattr(store, '_engine')",
        "getattr(store, '_engine')",
    ],
)
def test_code_that_reaches_into_something_is_found(code: str) -> None:
    assert len([*reached(ast.parse(code))]) == 1


@pytest.mark.parametrize(
    "code",
    [
        "self._engine",
        "cls._engine",
        "store.engine",
        "store.__dict__",
        "type(store).__name__",
        "_helper()",
        "from tests.parts import _helper",
        "from __future__ import annotations",
        "monkeypatch.setattr(tail, 'PLACES', '_x')",
        "monkeypatch.setattr('mongostore.store.engine_for', None)",
        "getattr(store, '__dict__')",
        "database.setdefault('_id', 1)",
    ],
)
def test_code_that_keeps_to_itself_is_not(code: str) -> None:
    assert not [*reached(ast.parse(code))]


def test_no_test_reaches_into_what_is_not_its_own() -> None:
    found, used = [], set()
    for path in sorted(TESTS.rglob("*.py")):
        file = path.relative_to(TESTS).as_posix()
        for line, use in reached(ast.parse(path.read_text(encoding="utf-8"))):
            if allowed := {("*", use), (file, use)} & ALLOWED.keys():
                used |= allowed
            else:
                found.append(f"{file}:{line}: {use}")
    assert found == []
    assert used == ALLOWED.keys()
