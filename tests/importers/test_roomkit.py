"""RoomKit reads what was imported from its own file."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mongostore import AsyncMongoStore, ConfigurationError, Event
from mongostore.importers import Importer, Report
from tests.importers.expected import DATA, load, matches, named, numbers

pytest.importorskip("roomkit", reason="RoomKit is not there for this Python")

FILE = DATA / "roomkit" / "roomkit.db"


def dumped(record: Any) -> dict[str, Any]:
    members: dict[str, Any] = record.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    return members | ({"index": record.index} if hasattr(record, "index") else {})


async def test_roomkit_reads_each_record_as_it_was(store: AsyncMongoStore) -> None:
    from roomkit.models.store_filter import EventFilter

    from mongostore.adapters.roomkit import MongoConversationStore

    expected = load("roomkit")
    report = await Importer(store).run("roomkit", str(FILE))
    assert not report.refused.count
    kit = MongoConversationStore(store=store)
    for one in expected["rooms"]:
        room_id = one["room"]["id"]
        room = await kit.get_room(room_id)
        assert room is not None
        assert matches(one["room"], room.model_dump(mode="json"), whole=False)
        events = await kit.list_events(room_id, limit=100, event_filter=EventFilter(include_blocked=True))
        assert matches(one["events"], [dumped(event) for event in events])
        for name, listed in (
            ("bindings", kit.list_bindings),
            ("participants", kit.list_participants),
            ("tasks", kit.list_tasks),
            ("observations", kit.list_observations),
        ):
            assert [dumped(record) for record in await listed(room_id)] == one.get(name, [])
        for key, value in one.get("private", {}).items():
            assert await store.rooms.find_private(room_id, key) == value
        markers = {marker.channel_id: marker.index async for marker in store.rooms.read_markers.iter(room_id)}
        assert markers == one.get("read_markers", {})
    for room_id in expected["absent"]["rooms"]:
        assert not await store.rooms.exists(room_id)
    assert report.of("identities").read == expected["counts"]["identities"]


async def test_no_index_is_given_twice_after_an_import(store: AsyncMongoStore) -> None:
    await Importer(store).run("roomkit", str(FILE))
    for one in load("roomkit")["rooms"]:
        event = await store.rooms.events.append(one["room"]["id"], Event(channel_id="c", content="next"))
        assert event.index == one["next_index"]


async def test_a_second_import_finds_all_there_and_leaves_the_file_alone(store: AsyncMongoStore) -> None:
    before = FILE.read_bytes(), sorted(path.name for path in FILE.parent.iterdir())
    dry = await Importer(store, dry_run=True).run("roomkit", str(FILE), report=Report(has_digests=True))
    assert await store.rooms.count() == 0
    first, second = [
        await Importer(store).run("roomkit", str(FILE), report=Report(has_digests=True)) for _ in range(2)
    ]
    assert first.verified == first.of("rooms").read == load("roomkit")["counts"]["rooms"]
    for noun in first.counts:
        read, *_ = numbers(first, noun)
        assert numbers(first, noun) == (read, read, 0, 0, 0)
        assert numbers(second, noun) == (read, 0, read, 0, 0)
    assert first.digests == second.digests == dry.digests
    assert (FILE.read_bytes(), sorted(path.name for path in FILE.parent.iterdir())) == before


async def test_a_room_that_went_on_here_is_refused(store: AsyncMongoStore) -> None:
    await Importer(store).run("roomkit", str(FILE))
    await store.rooms.events.append("case-42", Event(channel_id="c", content="said here"))
    report = await Importer(store).run("roomkit", str(FILE))
    assert named(report, "refused") == [("rooms", "case-42")]


async def test_a_file_of_a_newer_roomkit_is_refused_whole(store: AsyncMongoStore, tmp_path: Path) -> None:
    newer = tmp_path / "newer.db"
    shutil.copy(FILE, newer)
    with sqlite3.connect(newer) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ConfigurationError, match="99 is newer"):
        await Importer(store).run("roomkit", str(newer))
    assert await store.rooms.count() == 0


@pytest.mark.parametrize("torn", [b'{"id": "case-42", "st', b'{"id": "case-42\xff"}', b"12"])
async def test_a_room_that_is_torn_is_refused_alone(
    store: AsyncMongoStore, tmp_path: Path, torn: bytes
) -> None:
    path = tmp_path / "torn.db"
    shutil.copy(FILE, path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE rooms SET data = CAST(? AS TEXT) WHERE id = 'case-42'", (torn,))
    database.close()
    report = await Importer(store).run("roomkit", str(path))
    assert named(report, "refused") == [("rooms", "case-42")]
    others = {one["room"]["id"] for one in load("roomkit")["rooms"]} - {"case-42"}
    assert {room.id async for room in store.rooms.iter()} == others


async def test_what_is_torn_in_an_older_file_is_refused_alone(store: AsyncMongoStore, tmp_path: Path) -> None:
    path = tmp_path / "torn.db"
    shutil.copy(FILE, path)
    with sqlite3.connect(path) as database:
        # So old that RoomKit reads the JSON of more tables when it opens the file.
        database.execute("PRAGMA user_version = 8")
        database.execute("DROP INDEX idx_participants_identity")
        database.execute("UPDATE participants SET data = '{' WHERE id = 'zoë'")
    database.close()
    report = await Importer(store).run("roomkit", str(path))
    assert named(report, "refused") == [("participants", "zoë")]
    assert report.of("rooms").new == load("roomkit")["counts"]["rooms"]
