"""What RoomKit stored in PostgreSQL comes over as its own mappers read the rows."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mongostore import AsyncMongoStore, Event
from mongostore.importers import Importer, SourceError
from tests.bench import postgres
from tests.importers.expected import DATA, numbers

pytest.importorskip("roomkit", reason="RoomKit is not there for this Python")

FILE = DATA / "roomkit" / "roomkit.db"
TABLES = (
    *("rooms", "events", "event_sequences", "bindings", "participants", "identities", "identity_addresses"),
    *("verifications", "verification_requests", "tasks", "observations", "read_markers"),
    *("voice_deliveries", "private_state"),
)
RENAMED = {"group": "is_group"}

Row = dict[str, Any]


def schema() -> dict[str, dict[str, str]]:
    """Return RoomKit's tables, each with the types of its columns."""
    from roomkit.store.postgres_schema import SCHEMA

    tables: dict[str, dict[str, str]] = {}
    for name, body in re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+) \((.*?)\n\s*\);", SCHEMA, re.S):
        columns = re.findall(r"^\s+([a-z_]+)\s+([A-Z]+(?:\[\])?)", body, re.M)
        tables[name] = {column: type_name.lower() for column, type_name in columns}
    for name, column, type_name in re.findall(
        r"ALTER TABLE (\w+) ADD COLUMN (\w+) ([A-Z]+(?:\[\])?)", SCHEMA
    ):
        tables[name].setdefault(column, type_name.lower())
    return {name: tables[name] for name in TABLES}


def sample() -> dict[str, list[Row]]:
    """Return the rows that the records of the SQLite sample have in PostgreSQL."""
    tables: dict[str, list[Row]] = {}
    with closing(sqlite3.connect(f"file:{FILE}?mode=ro", uri=True)) as file:
        file.row_factory = sqlite3.Row
        for table, columns in schema().items():
            rows = [dict(row) for row in file.execute(f"SELECT * FROM {table} ORDER BY rowid")]
            tables[table] = [_row(table, columns, row) for row in rows]
    rooms = {row["id"] for row in tables["rooms"]}
    return {
        table: [row for row in rows if row.get("room_id", row.get("id")) in rooms or "room_id" not in row]
        for table, rows in tables.items()
    }


def _row(table: str, columns: dict[str, str], stored: Row) -> Row:
    if "data" in columns or "data" not in stored:
        return {column: stored[column] for column in columns}
    # No text of PostgreSQL has this character.
    record = json.loads(stored["data"].replace("\\u0000", ""))
    source = record.pop("source", {})
    members = {RENAMED.get(name, name): value for name, value in record.items()} | {
        f"source_{name}": source[name] for name in source
    }
    extras = ("raw_payload", "external_id", "provider_message_id", "verification")
    members["source_extra"] = {name: source[name] for name in extras if source.get(name)}
    return {column: members.get(column, stored.get(column)) for column in columns}


def _text(value: Any, type_name: str) -> str | None:
    """Return a value as PostgreSQL writes it."""
    if value is None and type_name != "jsonb":
        return None
    if type_name == "jsonb" and not isinstance(value, str):
        return None if value is None else json.dumps(value, ensure_ascii=False)
    if type_name.endswith("[]"):
        return "{" + ",".join(json.dumps(item, ensure_ascii=False) for item in value) + "}"
    return {True: "t", False: "f"}[value] if type_name == "boolean" else str(value)


def dump(*more: str) -> str:
    """Return what pg_dump writes, with more columns of events if they are named."""
    parts = []
    for table, columns in schema().items():
        declared = [f"    {name} {type_name}" for name, type_name in columns.items()]
        declared += [f"    {name} text" for name in more if table == "events"]
        parts.append(f"CREATE TABLE public.{table} (\n" + ",\n".join(declared) + "\n);\n")
    for table, rows in sample().items():
        columns = schema()[table]
        parts.append(f"COPY public.{table} ({', '.join(columns)}) FROM stdin;\n")
        for row in rows:
            texts = [_text(row[name], type_name) for name, type_name in columns.items()]
            parts.append("\t".join("\\N" if text is None else _escaped(text) for text in texts) + "\n")
        parts.append("\\.\n")
    return "".join(parts)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


async def compare(store: AsyncMongoStore) -> None:
    """Compare what is stored with what RoomKit makes of the rows."""
    from roomkit.store import postgres_mappers as mappers

    from mongostore.adapters.roomkit import MongoConversationStore

    kit, tables = MongoConversationStore(store=store), sample()
    for row in tables["rooms"]:
        room_id = row["id"]
        assert await kit.get_room(room_id) == mappers._row_to_room(row)
        for table, read, listed in (
            ("events", mappers._row_to_event, kit.list_events),
            ("bindings", mappers._row_to_binding, kit.list_bindings),
            ("participants", mappers._row_to_participant, kit.list_participants),
            ("tasks", mappers._row_to_task, kit.list_tasks),
            ("observations", mappers._row_to_observation, kit.list_observations),
        ):
            expected = [read(one) for one in tables[table] if one["room_id"] == room_id]
            if table == "events":
                expected = [one for one in expected if one.status != "blocked"]
            assert [one.model_dump() for one in await listed(room_id)] == [
                one.model_dump() for one in expected
            ]
        markers = {one.channel_id: one.index async for one in store.rooms.read_markers.iter(room_id)}
        stored = [one for one in tables["read_markers"] if one["room_id"] == room_id]
        assert markers == {one["channel_id"]: one["event_index"] for one in stored}
        sequence = next(one for one in tables["event_sequences"] if one["room_id"] == room_id)
        event = await store.rooms.events.append(room_id, Event(channel_id="c"))
        assert event.index == sequence["next_index"]
    for row in tables["identity_addresses"]:
        organization = row["organization_id"] or None
        found = await kit.resolve_identity(row["channel_type"], row["address"], organization)
        assert found is not None
        assert found.id == row["identity_id"]


async def test_a_dump_comes_over_as_roomkit_reads_its_rows(store: AsyncMongoStore, tmp_path: Path) -> None:
    (tmp_path / "roomkit.sql").write_text(dump(), encoding="utf-8", newline="")
    first, second = [await Importer(store).run("roomkit", str(tmp_path / "roomkit.sql")) for _ in range(2)]
    assert not first.refused.count
    for noun in first.counts:
        read, *_ = numbers(first, noun)
        assert numbers(first, noun) == (read, read, 0, 0, 0)
        assert numbers(second, noun) == (read, 0, read, 0, 0)
    await compare(store)


async def test_a_column_that_is_not_known_is_refused_by_name(store: AsyncMongoStore, tmp_path: Path) -> None:
    (tmp_path / "roomkit.sql").write_text(dump("mood"), encoding="utf-8", newline="")
    with pytest.raises(SourceError, match="'events' has the unknown column 'mood'"):
        await Importer(store).run("roomkit", str(tmp_path / "roomkit.sql"))
    assert await store.rooms.count() == 0


@pytest.mark.long
@pytest.mark.server
async def test_a_server_comes_over_as_roomkit_reads_its_rows(server_store: AsyncMongoStore) -> None:
    from roomkit.store.postgres_schema import SCHEMA

    try:
        with postgres.running("psycopg") as uri:
            import psycopg

            with psycopg.connect(uri) as server:
                server.execute(SCHEMA)
                for table, rows in sample().items():
                    columns = schema()[table]
                    names, placeholders = (
                        ", ".join(f'"{name}"' for name in columns),
                        ", ".join(["%s"] * len(columns)),
                    )
                    for row in rows:
                        texts = [_text(row[name], type_name) for name, type_name in columns.items()]
                        server.execute(f"INSERT INTO {table} ({names}) VALUES ({placeholders})", texts)
            report = await Importer(server_store).run("roomkit", uri)
    except postgres.MissingError as missing:
        pytest.skip(str(missing))
    assert not report.refused.count
    await compare(server_store)
