"""An archive holds all of a store, and imports equal."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from mongostore import AsyncMongoStore, CallRecord, Event, Hooks, Identity, Message, MongoStore, Turn
from mongostore.cli import app
from mongostore.cli.terminal import err
from mongostore.importers import Importer, Options, SourceError
from mongostore.importers.archive import Archive
from mongostore.importers.whole_files import whole_file
from mongostore.repositories.rooms import AsyncRoomEvents
from mongostore.repositories.sessions import AsyncSessionMessages
from mongostore.repositories.threads import AsyncFiles, AsyncThreadMessages
from mongostore.repositories.threads.files import CHUNK_BYTES
from tests.importers.expected import DATA, named

SOURCES = [
    ("director", "director/director.db"),
    ("chatgpt", "chatgpt/chatgpt.zip"),
    ("sharegpt", "sharegpt/sharegpt.jsonl"),
    ("chainlit", "chainlit/chainlit.db"),
    ("threadmem", "threadmem/threads.db"),
    ("roomkit", "roomkit/roomkit.db"),
]


@pytest.fixture
async def other() -> AsyncIterator[AsyncMongoStore]:
    async with AsyncMongoStore(f"mongomock://{uuid4().hex}") as store:
        yield store


async def fill(store: AsyncMongoStore) -> None:
    for source, file in SOURCES:
        if source == "roomkit":
            pytest.importorskip("roomkit", reason="RoomKit is not there for this Python")
        options = Options(files=DATA / source / "files")
        await Importer(store).run(source, str(DATA / file), options)
    addresses = {"sms": ["+4930123456"]}
    await store.rooms.identities.create(Identity(id="of-acme", organization_id="acme", addresses=addresses))
    await say(store)


async def say(store: AsyncMongoStore) -> None:
    """Let two participants of a session say something, some of which was integrated."""
    sessions = store.sessions.in_namespace("talks")
    await sessions.create("s", participants=["a.b"])
    await sessions.participants.ensure("s", "late")
    contents = [*range(300), {"$k": float("inf")}, "x" * 2**21]
    texts = [Turn(role="user", content=content) for content in contents]
    await sessions.turns.append_many("s", "a.b", texts)
    await sessions.turns.integrate("s", lambda _, turns: [len(turns), {"k.": None}])
    await sessions.turns.append("s", "a.b", Turn(role="assistant", content="later"))


class Deletes(Hooks):
    """Deletes a session and a room while others read them."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def on_call(self, call: CallRecord) -> None:
        with MongoStore(self._uri) as store:
            if call.operation == "AsyncSessionContext.get":
                store.sessions.delete("gone")
            if call.operation == "RoomTransfer.read_state":
                store.rooms.delete("gone")


async def test_what_is_deleted_during_an_export_is_left_out(tmp_path: Path) -> None:
    uri = f"mongomock://{uuid4().hex}"
    async with AsyncMongoStore(uri, hooks=[Deletes(uri)]) as store:
        for id in ("gone", "kept"):
            await store.rooms.create(id)
            await store.rooms.events.append(id, Event(channel_id="c"))
            await store.sessions.create(id)
            await store.sessions.messages.append(id, Message(role="user", content=id))
        await store.sessions.context.set("gone", 1)
        archive = Archive(store)
        await archive.write(tmp_path / "all.zip")
        with zipfile.ZipFile(tmp_path / "all.zip") as written:
            for name in ("sessions", "messages", "rooms", "events"):
                [line] = written.read(f"{name}.jsonl").splitlines()
                assert b"kept" in line
                assert archive.counts[name] == 1


@pytest.mark.parametrize("renews", [False, True])
async def test_no_line_is_of_a_conversation_that_was_deleted_or_made_anew(
    store: AsyncMongoStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renews: bool
) -> None:
    async def begin_thread(id: str) -> None:
        await store.threads.messages.merge(id, uuid4().hex, content="x", begun_at=datetime.now(UTC))

    async def begin_session(id: str) -> None:
        await store.sessions.messages.append(id, Message(role="user", content="x"), create=True)

    async def begin_room(id: str) -> None:
        await store.rooms.events.append(id, Event(channel_id="c", content="x"), create=True)

    for verbs, parts, begin in (
        (store.sessions, AsyncSessionMessages, begin_session),
        (store.threads, AsyncThreadMessages, begin_thread),
        (store.rooms, AsyncRoomEvents, begin_room),
    ):
        await begin("x")
        read = parts.iter

        async def read_late(
            self: Any, *arguments: Any, house: Any = (verbs, read, begin), **options: Any
        ) -> AsyncIterator[Any]:
            verbs, read, begin = house
            await verbs.delete("x")
            if renews:
                await begin("x")
            async for part in read(self, *arguments, **options):
                yield part

        monkeypatch.setattr(parts, "iter", read_late)
    archive = Archive(store)
    await archive.write(tmp_path / "all.zip")
    assert not archive.counts.total()
    with zipfile.ZipFile(tmp_path / "all.zip") as written:
        assert not any(written.read(name) for name in written.namelist() if name.endswith(".jsonl"))


async def test_an_archive_imports_equal(
    store: AsyncMongoStore, other: AsyncMongoStore, tmp_path: Path
) -> None:
    await fill(store)
    archive = Archive(store)
    await archive.write(tmp_path / "all.zip")
    assert archive.warnings == []
    report = await Importer(other).run("mongostore", str(tmp_path / "all.zip"))
    assert not report.refused.count
    for noun in ("sessions", "turns", "threads", "rooms", "users", "identities", "files"):
        assert report.of(noun).new == archive.counts[noun] > 0

    again = Archive(other)
    await again.write(tmp_path / "again.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as one, zipfile.ZipFile(tmp_path / "again.zip") as two:
        assert one.namelist() == two.namelist()
        for name in one.namelist():
            if name.endswith(".jsonl"):
                assert sorted(one.read(name).splitlines()) == sorted(two.read(name).splitlines()), name
    one, two = [await s.sessions.in_namespace("talks").participants.list("s") for s in (store, other)]
    assert one.items == two.items
    assert two.items[0].insights == [302, {"k.": None}]
    turns = other.sessions.in_namespace("talks").turns
    assert (await turns.append("s", "a.b", Turn(role="user"))).number == 304
    for house in (store.sessions, store.threads, store.rooms):
        assert [one async for one in house.iter()]


async def test_a_second_import_of_an_archive_finds_all_there(store: AsyncMongoStore, tmp_path: Path) -> None:
    await fill(store)
    await Archive(store).write(tmp_path / "all.zip")
    report = await Importer(store).run("mongostore", str(tmp_path / "all.zip"))
    assert named(report, "refused") == []
    for noun, counts in report.counts.items():
        assert (counts.new, counts.changed, counts.known) == (0, 0, counts.read), noun


async def test_an_import_that_was_cut_short_adds_the_missing_turns(
    store: AsyncMongoStore, other: AsyncMongoStore, tmp_path: Path
) -> None:
    await say(store)
    await Archive(store).write(tmp_path / "all.zip")
    source = store.sessions.in_namespace("talks")
    theirs = other.sessions.in_namespace("talks")
    created_at = (await source.get("s")).created_at
    await theirs.create("s", participants=["a.b"], created_at=created_at)
    first = [turn async for turn in source.turns.iter("s", "a.b")][:200]
    await theirs.turns.append_many("s", "a.b", first)
    report = await Importer(other).run("mongostore", str(tmp_path / "all.zip"))
    assert not report.refused.count
    assert (report.of("turns").known, report.of("turns").new) == (200, 103)
    assert [turn async for turn in theirs.turns.iter("s", "a.b")] == [
        turn async for turn in source.turns.iter("s", "a.b")
    ]
    assert (await theirs.participants.get("s", "a.b")).insights == [302, {"k.": None}]
    # Another beginning is not gone on with.
    await theirs.truncate("s")
    await theirs.turns.append("s", "a.b", Turn(role="user", content="something else"))
    report = await Importer(other).run("mongostore", str(tmp_path / "all.zip"))
    assert named(report, "refused") == [("sessions", "talks/s")]
    assert [turn.content async for turn in theirs.turns.iter("s", "a.b")] == ["something else"]


async def test_a_file_that_is_replaced_while_it_is_read_is_in_the_archive(
    store: AsyncMongoStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, read = store.threads.files, AsyncFiles.iter_content
    await files.upload("k", b"old" * CHUNK_BYTES)
    await files.upload("torn", b"old" * CHUNK_BYTES)
    torn = await store.engine.collection("files.files").find_one({"filename": "torn"})
    await store.engine.collection("files.chunks").delete_one({"n": 1, "files_id": torn["_id"]})

    async def replace(self: AsyncFiles, key: str, **bounds: int) -> AsyncIterator[bytes]:
        async for piece in read(self, key, **bounds):
            if key == "k" and piece.startswith(b"old"):
                await files.upload("k", b"new")
            yield piece

    monkeypatch.setattr(AsyncFiles, "iter_content", replace)
    archive = Archive(store)
    await archive.write(tmp_path / "all.zip")
    assert archive.warnings == ["file 'torn': lacks a part"]
    with zipfile.ZipFile(tmp_path / "all.zip") as written:
        [line] = written.read("files.jsonl").splitlines()
        key, members = json.loads(line)
        assert (key, written.read(members["name"])) == ("k", b"new")


async def test_an_archive_of_a_user_holds_nobody_else(store: AsyncMongoStore, tmp_path: Path) -> None:
    await fill(store)
    await store.sessions.create("of-ada", user_id="ada")
    await store.sessions.messages.append("of-ada", Message(role="user", content="mine"))
    user = await store.threads.users.find_by_identifier("ada@example.com")
    assert user is not None
    for user_id, counts in (("ada", {"sessions": 1, "messages": 1}), (user.id, {"users": 1, "threads": 2})):
        archive = Archive(store, user_id=user_id)
        await archive.write(tmp_path / "one.zip")
        assert archive.counts.items() >= counts.items()
        assert archive.counts["rooms"] == 0
    with zipfile.ZipFile(tmp_path / "one.zip") as written:
        assert b"zo" not in written.read("users.jsonl")


async def test_a_newer_archive_is_refused_whole(store: AsyncMongoStore, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "newer.zip", "w") as archive:
        archive.writestr("mongostore.json", '{"version": 99}')
        archive.writestr("sessions.jsonl", '[["default", "s"], {"created_at": "2024-01-01T00:00:00Z"}]')
    with pytest.raises(SourceError, match="version 99, which is newer"):
        await Importer(store).run("mongostore", str(tmp_path / "newer.zip"))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("conversations.json", "[]")
    with pytest.raises(SourceError, match="no archive"):
        await Importer(store).run("mongostore", str(tmp_path / "other.zip"))
    assert await store.sessions.count() == 0


KILLED_EXPORT = """
import asyncio, os, signal, sys, zipfile
from pathlib import Path
from mongostore import AsyncMongoStore, Message
from mongostore.importers.archive import Archive
from mongostore.importers.whole_files import whole_file
from mongostore.repositories.sessions import AsyncSessionMessages

moments = {"reading": (AsyncSessionMessages, "iter"), "packing": (zipfile.ZipFile, "writestr")}
moments["end"] = os, "fsync"

async def main():
    async with AsyncMongoStore("mongomock://") as store:
        message = Message(role="user", content="secret" * 20_000)
        await store.sessions.messages.append("s", message, create=True)
        setattr(*moments[sys.argv[2]], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        await Archive(store).write(Path(sys.argv[1]))

asyncio.run(main())
"""


async def export_nothing(path: Path) -> None:
    async with AsyncMongoStore(f"mongomock://{uuid4().hex}") as store:
        await Archive(store).write(path)


@pytest.mark.parametrize(
    "moment", ["reading", *(pytest.param(one, marks=pytest.mark.long) for one in ("packing", "end"))]
)
def test_an_export_that_is_killed_leaves_no_file_that_looks_whole(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "all.zip"
    path.write_bytes(b"of before")
    killed = subprocess.run([sys.executable, "-c", KILLED_EXPORT, path, moment], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"of before"
    [part] = [file for file in tmp_path.iterdir() if file != path]
    assert part.suffix == ".part"
    assert zipfile.is_zipfile(part) == (moment == "end")
    # The next one of the same path deletes it, and that of no other.
    other = tmp_path / "some.zip.01234567.part"
    other.touch()
    asyncio.run(export_nothing(path))
    assert {*tmp_path.iterdir()} == {path, other}


async def test_exports_at_the_same_time_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    async with AsyncMongoStore(f"mongomock://{uuid4().hex}") as store:
        for n in range(50):
            message = Message(role="user", content=f"{n}" * 2000)
            await store.sessions.messages.append(f"s{n}", message, create=True)
        await asyncio.gather(*(Archive(store).write(path) for _ in range(3)))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert len(archive.read("messages.jsonl").splitlines()) == 50
    assert [*tmp_path.iterdir()] == [path]


def test_a_file_that_is_replaced_keeps_its_readers_and_its_links(tmp_path: Path) -> None:
    target, link = tmp_path / "private.zip", tmp_path / "link.zip"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)
    with whole_file(link) as file:
        [part] = tmp_path.glob("*.part")
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
        file.write(b"new")
    assert link.readlink() == target
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"new", 0o600)


@pytest.mark.parametrize("name", ["x" * 255, "\u00e4" * 127, "\U0001f642" * 63])
def test_a_file_may_have_the_longest_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for content in (b"one", b"two"):
        with whole_file(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert [*tmp_path.iterdir()] == [path]


def test_the_command_writes_and_reads_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It is found out when the console is made.
    monkeypatch.setattr(err, "is_interactive", True)
    one, two, file = f"mongomock://{uuid4().hex}", f"mongomock://{uuid4().hex}", tmp_path / "all.zip"
    run = CliRunner().invoke
    with MongoStore(one) as store:
        store.sessions.in_namespace("ada").create("s", name="kept")
        store.sessions.in_namespace("ada").messages.append("s", Message(role="user", content=[float("inf")]))
    exported = run(app, ["export", str(file), "--uri", one], env={"FORCE_COLOR": "1", "TERM": "xterm"})
    assert exported.exit_code == 0
    assert "2 records" in exported.stderr
    assert run(app, ["import", "mongostore", str(file), "--uri", two]).exit_code == 0
    with MongoStore(two) as store:
        assert store.sessions.in_namespace("ada").get("s").name == "kept"
        (message,) = store.sessions.in_namespace("ada").messages.iter("s")
        assert message.content == [float("inf")]
    assert run(app, ["export", str(file), "--house", "none", "--uri", one]).exit_code == 2
