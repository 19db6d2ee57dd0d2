"""What the engine does with a source that it has met before."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest

from mongostore import AsyncMongoStore, Message
from mongostore.importers import Importer, Report, SourceError, engine
from mongostore.importers.ledger import NAMESPACE
from mongostore.importers.sources import Reading
from mongostore.importers.units import FileUnit, SessionUnit, Unit, UserUnit
from mongostore.models import User
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.threads import AsyncUsers
from tests.importers.expected import DATA, named, numbers

Texts = dict[str, list[str]]


def write_source(path: Path, sessions: Texts) -> str:
    """Write a file of the Agents SDK, anew."""
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE agent_sessions (session_id TEXT PRIMARY KEY, created_at TEXT)")
        columns = "id INTEGER PRIMARY KEY, session_id TEXT, message_data TEXT, created_at TEXT"
        database.execute(f"CREATE TABLE agent_messages ({columns})")
        for session_id, texts in sessions.items():
            database.execute("INSERT INTO agent_sessions VALUES (?, '2024-01-01 10:00:00')", (session_id,))
            for number, text in enumerate(texts):
                item = json.dumps({"role": "user", "content": text})
                id = int.from_bytes(session_id.encode()) % 1_000_000 * 1000 + number
                database.execute(
                    "INSERT INTO agent_messages VALUES (?, ?, ?, '2024-01-01 10:00:00')",
                    (id, session_id, item),
                )
    database.close()
    return str(path)


async def texts_of(store: AsyncMongoStore, session_id: str) -> list[Any]:
    return [message.content async for message in store.sessions.messages.iter(session_id)]


async def test_what_a_source_has_gained_is_appended(store: AsyncMongoStore, tmp_path: Path) -> None:
    await Importer(store).run("agents", write_source(tmp_path / "a.db", {"s": ["one"], "t": ["x"]}))
    report = await Importer(store).run(
        "agents", write_source(tmp_path / "a.db", {"s": ["one", "two"], "t": ["x"], "u": ["new"]})
    )
    assert await texts_of(store, "s") == ["one", "two"]
    assert numbers(report, "sessions") == (3, 1, 1, 1, 0)
    assert numbers(report, "messages") == (4, 2, 2, 0, 0)
    assert report.verified == 2


async def shorten(store: AsyncMongoStore) -> None:
    await store.sessions.messages.append("s", Message(role="user", content="said here"))


async def diverge(store: AsyncMongoStore) -> None:
    (first,) = (await store.sessions.messages.list("s", limit=1)).items
    await store.sessions.messages.update("s", first.id, content="changed here")


async def delete(store: AsyncMongoStore) -> None:
    await store.sessions.soft_delete("s")


@pytest.mark.parametrize(
    ("change", "reason"), [(shorten, "shorter"), (diverge, "diverged"), (delete, "deleted")]
)
async def test_a_session_changed_here_is_refused_and_the_others_go_on(
    store: AsyncMongoStore, tmp_path: Path, change: Callable[[AsyncMongoStore], Any], reason: str
) -> None:
    await Importer(store).run("agents", write_source(tmp_path / "a.db", {"s": ["one", "two"]}))
    await change(store)
    before = await store.sessions.find("s")
    report = await Importer(store).run(
        "agents", write_source(tmp_path / "a.db", {"s": ["one", "two"], "t": ["x"]})
    )
    ((table, key, text),) = [(row.table, row.key, row.reason) for row in report.refused.first]
    assert (table, key) == ("sessions", "default/s")
    assert text.startswith(f"{reason}:")
    assert "here" not in text or reason == "deleted"
    assert await store.sessions.find("s") == before
    assert await texts_of(store, "t") == ["x"]
    assert not report.is_complete


class CutShortError(Exception):
    """Ends an import."""


async def test_an_import_goes_on_where_it_was_cut_short(store: AsyncMongoStore, tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.db", {f"s{n}": ["one", "two"] for n in range(150)})

    def cut(report: Report, done: int, total: int | None) -> None:
        assert (done, total) == (64, 150)
        raise CutShortError

    with pytest.raises(CutShortError):
        await Importer(store).run("agents", source, progress=cut)
    assert await store.sessions.count() == 64
    steps: list[int] = []
    report = await Importer(store).run(
        "agents", source, progress=lambda report, done, total: steps.append(done)
    )
    # The first 64 are not looked at again, and are in the report all the same.
    assert steps == [128, 150]
    assert numbers(report, "sessions") == (150, 150, 0, 0, 0)
    assert numbers(report, "messages") == (300, 300, 0, 0, 0)
    assert [one async for one in store.sessions.in_namespace(NAMESPACE).iter()] == []


async def test_of_a_server_that_has_changed_since_nothing_is_left_out(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"s{n}" for n in range(150)]

    def read(reading: Reading) -> Iterator[SessionUnit]:
        for id in ids:
            yield SessionUnit(id, {}, [Message(id="m", role="user", content=id)])

    def cut(report: Report, done: int, total: int | None) -> None:
        raise CutShortError

    monkeypatch.setattr(engine, "find_reader", lambda name: read)
    with pytest.raises(CutShortError):
        await Importer(store).run("any", "any://server", progress=cut)
    del ids[:10]
    report = await Importer(store).run("any", "any://server")
    assert numbers(report, "sessions") == (140, 86, 54, 0, 0)
    assert {*ids} <= {one.id async for one in store.sessions.iter()}


async def test_an_import_goes_on_though_the_same_one_ends_beside_it(
    store: AsyncMongoStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_source(tmp_path / "a.db", {f"s{n}": ["one"] for n in range(150)})
    update, records = AsyncSessions.update, store.sessions.in_namespace(NAMESPACE)

    async def late(self: AsyncSessions, session_id: str, **members: Any) -> Any:
        monkeypatch.setattr(AsyncSessions, "update", update)
        await asyncio.create_task(records.delete(session_id), context=Context())
        return await update(self, session_id, **members)

    monkeypatch.setattr(AsyncSessions, "update", late)
    report = await Importer(store).run("agents", source)
    assert numbers(report, "sessions") == (150, 150, 0, 0, 0)
    assert [one async for one in records.iter()] == []


async def test_a_file_that_the_store_refuses_is_named_alone(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(reading: Reading) -> Iterator[Unit]:
        files = [FileUnit(key, lambda: b"x") for key in ("\ud800", "b")]
        yield files[0]
        yield SessionUnit("s", {}, [], files=files)

    monkeypatch.setattr(engine, "find_reader", lambda name: read)
    report = await Importer(store).run("any", "any://server")
    assert named(report, "refused") == [("files", "\ud800")] * 2
    assert (numbers(report, "sessions"), numbers(report, "files")) == ((1, 1, 0, 0, 0), (3, 1, 0, 0, 2))
    assert await store.threads.files.read("b") == b"x"


async def test_a_user_whom_another_one_stores_at_that_moment_is_known(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, find = store.threads.users, AsyncUsers.find_by_identifier

    async def late(self: AsyncUsers, identifier: str) -> User | None:
        found = await find(self, identifier)
        if found is None:
            await asyncio.create_task(users.create(identifier, user_id="u"), context=Context())
        return found

    monkeypatch.setattr(engine, "find_reader", lambda name: lambda reading: iter([UserUnit("ada", {})]))
    monkeypatch.setattr(AsyncUsers, "find_by_identifier", late)
    assert numbers(await Importer(store).run("any", "any://server"), "users") == (1, 0, 1, 0, 0)


async def test_a_restart_compares_what_was_stored_before(store: AsyncMongoStore, tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.db", {f"s{n}": ["one"] for n in range(100)})

    def cut(report: Report, done: int, total: int | None) -> None:
        raise CutShortError

    with pytest.raises(CutShortError):
        await Importer(store).run("agents", source, progress=cut)
    report = await Importer(store).run("agents", source, restart=True)
    assert numbers(report, "sessions") == (100, 36, 64, 0, 0)


async def test_a_session_that_was_cut_short_is_filled(store: AsyncMongoStore, tmp_path: Path) -> None:
    texts = [str(number) for number in range(300)]
    source = write_source(tmp_path / "a.db", {"s": texts})
    await Importer(store).run("agents", write_source(tmp_path / "b.db", {"s": texts[:130]}))
    report = await Importer(store).run("agents", source)
    assert await texts_of(store, "s") == texts
    assert numbers(report, "messages") == (300, 170, 130, 0, 0)


async def test_messages_that_cannot_be_stored_are_named_each_time(
    store: AsyncMongoStore, tmp_path: Path
) -> None:
    large = "x" * (17 * 1024 * 1024)
    source = write_source(tmp_path / "a.db", {"s": ["before", large, "behind"]})
    for _ in range(2):
        report = await Importer(store).run("agents", source)
        ((table, _key),) = named(report, "refused")
        assert table == "messages"
        assert numbers(report, "messages")[4] == 1
        assert await texts_of(store, "s") == ["before", "behind"]
    assert numbers(report, "sessions") == (1, 0, 1, 0, 0)


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0 torn"])
async def test_what_is_no_source_is_refused_whole(
    store: AsyncMongoStore, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.db").write_bytes(content)
    with pytest.raises(SourceError):
        await Importer(store).run("agents", str(tmp_path / "a.db"))
    with pytest.raises(SourceError):
        await Importer(store).run("director", str(tmp_path / "missing.db"))


async def test_a_table_of_another_form_is_refused_by_its_column(
    store: AsyncMongoStore, tmp_path: Path
) -> None:
    source = write_source(tmp_path / "a.db", {"s": ["one"]})
    with sqlite3.connect(source) as database:
        database.execute("ALTER TABLE agent_messages RENAME COLUMN message_data TO items")
    database.close()
    with pytest.raises(SourceError, match="'agent_messages' has no column 'message_data'"):
        await Importer(store).run("agents", source)
    assert await store.sessions.count() == 0


async def test_rooms_without_a_column_are_refused_by_it(store: AsyncMongoStore, tmp_path: Path) -> None:
    pytest.importorskip("roomkit", reason="RoomKit is not there for this Python")
    path = tmp_path / "odd.db"
    shutil.copy(DATA / "roomkit" / "roomkit.db", path)
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE rooms DROP COLUMN delivered_index")
    database.close()
    with pytest.raises(SourceError, match="'rooms' has no column 'delivered_index'"):
        await Importer(store).run("roomkit", str(path))


@pytest.mark.parametrize(
    ("source", "change", "table"),
    [
        ("chainlit", "UPDATE steps SET id = x'00ff' WHERE rowid = 1", "threads"),
        ("chainlit", "UPDATE users SET metadata = x'00ff' WHERE rowid = 1", "users"),
        ("threadmem/threads", "UPDATE role_messages SET id = x'00ff' WHERE rowid = 1", "threads"),
        ("roomkit", "ALTER TABLE bindings DROP COLUMN data", None),
        ("roomkit", "UPDATE rooms SET id = CAST(x'ff736563726574' AS TEXT) WHERE rowid = 1", None),
    ],
)
async def test_a_row_of_another_form_is_refused_by_name_or_ends_the_import(
    store: AsyncMongoStore, tmp_path: Path, source: str, change: str, table: str | None
) -> None:
    if source == "roomkit":
        pytest.importorskip("roomkit", reason="RoomKit is not there for this Python")
    name, _, file = source.partition("/")
    path = tmp_path / "odd.db"
    shutil.copy(DATA / name / f"{file or name}.db", path)
    with sqlite3.connect(path) as database:
        database.execute(change)
    database.close()
    report = Report()
    if table is None:
        with pytest.raises(SourceError, match=f"{name}: the source cannot be read to its end") as caught:
            await Importer(store).run(name, str(path), report=report)
        assert "secret" not in str(caught.value)
        return
    await Importer(store).run(name, str(path), report=report)
    assert report.of(table).refused == 1
    assert report.of(table).read > 1
    assert table in {row.table for row in report.refused.first}
