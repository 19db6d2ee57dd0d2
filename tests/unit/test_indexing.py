"""Index definitions: what the files say, what a database has, and how the two are brought together."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.resources import files
from typing import Any

import pytest
from pydantic import BaseModel
from pymongo.errors import OperationFailure

from mongostore import AsyncMongoStore, IndexConflictError
from mongostore.documents import erasures, identities, keys, room_parts, rooms, session_participants, threads
from mongostore.documents.sessions import StoredMessage, StoredOverflow, StoredSegment, StoredSession
from mongostore.engines import Capability, Engine
from mongostore.index_definitions import IndexState, apply_indexes, load_indexes, load_search_indexes


class GridFile(BaseModel):
    """What is indexed of a file in GridFS's layout."""

    filename: str
    uploadDate: datetime
    uploading: str


class GridChunk(BaseModel):
    """What is indexed of a chunk in GridFS's layout."""

    files_id: str
    n: int


FIELDS = {
    "sessions": StoredSession,
    "session_segments": StoredSegment,
    "session_overflows": StoredOverflow,
    "session_turns": session_participants.StoredTurns,
    "session_insights": session_participants.StoredInsights,
    "rooms": rooms.StoredRoom,
    "events": rooms.StoredEvent,
    "bindings": rooms.StoredBinding,
    "participants": rooms.StoredRoomParticipant,
    "identities": identities.StoredIdentity,
    "identity_addresses": identities.StoredAddress,
    "verifications": identities.StoredVerification,
    "tasks": room_parts.StoredTask,
    "observations": room_parts.StoredObservation,
    "read_markers": room_parts.StoredReadMarker,
    "voice_deliveries": room_parts.StoredVoiceDelivery,
    "erasures": erasures.StoredErasure,
    "leases": room_parts.StoredLease,
    "users": threads.StoredUser,
    "api_keys": keys.StoredKey,
    "threads": threads.StoredThread,
    "messages": threads.StoredThreadMessage,
    "elements": threads.StoredElement,
    "files.files": GridFile,
    "files.chunks": GridChunk,
}


def test_every_file_defines_one_collection_of_ours_by_its_name() -> None:
    names = sorted(
        entry.name
        for entry in files("mongostore.indexes").iterdir()
        if entry.name.endswith(".json") and entry.name != "sharding.json"
    )
    assert names == sorted(f"{collection}.json" for collection in FIELDS)
    assert [command["createIndexes"] for command in load_indexes()] == [name[:-5] for name in names]


def test_every_indexed_field_is_one_that_documents_have() -> None:
    for command in load_indexes():
        fields = FIELDS[command["createIndexes"]].model_fields
        names = [index["name"] for index in command["indexes"]]
        assert len(set(names)) == len(names)
        for index in command["indexes"]:
            for path in index["key"]:
                field, _, member = path.partition(".")
                assert field == "_id" or field in fields
                assert member in ("", "$**", "id", "value", *StoredMessage.model_fields)


async def test_opening_creates_what_is_missing_and_again_changes_nothing(
    store_uri: str, database: str
) -> None:
    for _ in range(2):
        async with AsyncMongoStore(store_uri, database) as store:
            reports = await store.check_indexes()
            assert {report.state for report in reports} == {IndexState.PRESENT}
            assert len(reports) == sum(len(command["indexes"]) for command in load_indexes())


async def test_drift_is_reported_and_left_alone(store_uri: str, database: str) -> None:
    async with AsyncMongoStore(store_uri, database) as store:
        sessions = store.engine.database["sessions"]
        await sessions.drop()
        await store.engine.database.command(
            {
                "createIndexes": "sessions",
                "indexes": [
                    {"key": {"name": 1}, "name": "newest_sessions_of_namespace"},
                    {"key": {"name": 1, "user_id": 1}, "name": "somebody_elses"},
                ],
            }
        )
    with pytest.raises(IndexConflictError) as caught:
        await AsyncMongoStore(store_uri, database).open()
    assert "sessions.json" in str(caught.value)
    assert "indexes check" in str(caught.value)


async def test_check_tells_missing_differing_and_foreign_indexes_apart(
    store_uri: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGOSTORE_ENSURE_INDEXES", "false")
    async with AsyncMongoStore(store_uri, database) as store:
        assert {report.state for report in await store.check_indexes()} == {IndexState.MISSING}
        await store.engine.database.command(
            {
                "createIndexes": "sessions",
                "indexes": [
                    {"key": {"name": 1}, "name": "newest_sessions_of_namespace"},
                    {"key": {"name": 1, "user_id": 1}, "name": "somebody_elses"},
                ],
            }
        )
        states = {report.name: report.state for report in await store.check_indexes()}
    assert states["newest_sessions_of_namespace"] is IndexState.DIFFERS
    assert states["somebody_elses"] is IndexState.FOREIGN
    assert states["newest_sessions_of_user"] is IndexState.MISSING


def test_search_indexes_are_few_and_of_fields_that_documents_have() -> None:
    commands = load_search_indexes()
    # A free cluster takes three, of at most 3 KB.
    assert 0 < sum(len(command["indexes"]) for command in commands) <= 3
    for command in commands:
        for index in command["indexes"]:
            assert len(json.dumps(index["definition"])) < 3_000
            mappings = index["definition"]["mappings"]
            assert mappings["dynamic"] is False
            assert mappings["fields"].keys() <= FIELDS[command["createSearchIndexes"]].model_fields.keys()


class SearchEngine:
    """An engine with Atlas Search as its documentation has it: it lists and creates search indexes."""

    capabilities = frozenset(Capability)

    def __init__(self, engine: Engine, *, refuses: bool = False) -> None:
        self._engine = engine
        self._refuses = refuses
        self.created: dict[str, list[Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    @property
    def database(self) -> Any:
        return _Answering(self._engine.database, command=self.command)

    def collection(self, name: str) -> Any:
        collection = self._engine.collection(name)

        @asynccontextmanager
        async def cursor() -> AsyncIterator[Any]:
            async def each() -> AsyncIterator[Any]:
                for index in self.created.get(collection.name, ()):
                    yield {"id": "0", "status": "READY", "queryable": True, **index}

            yield each()

        async def aggregate(pipeline: list[Any]) -> Any:
            assert pipeline == [{"$listSearchIndexes": {}}]
            return cursor()

        return _Answering(collection, aggregate=aggregate)

    async def command(self, command: dict[str, Any]) -> Any:
        if "createSearchIndexes" not in command:
            return await self._engine.database.command(command)
        if self._refuses:
            raise OperationFailure("The maximum number of FTS indexes has been reached", 8000)
        found = self.created.setdefault(command["createSearchIndexes"], [])
        found += [
            {"name": one["name"], "latestDefinition": {**one["definition"], "analyzer": "lucene.standard"}}
            for one in command["indexes"]
        ]
        return {"ok": 1, "indexesCreated": [{"id": "0", "name": one["name"]} for one in command["indexes"]]}


class _Answering:
    def __init__(self, target: Any, **own: Any) -> None:
        self._target = target
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


async def test_apply_creates_search_indexes_once_where_there_is_search() -> None:
    names = {one["name"] for command in load_search_indexes() for one in command["indexes"]}
    async with AsyncMongoStore("mongomock://search", prefix="my_") as store:
        assert not names & {report.name for report in await store.apply_indexes()}
        engine: Any = SearchEngine(store.engine)
        for _ in range(2):
            reports = {report.name: report for report in await apply_indexes(engine)}
            assert {reports[name].state for name in names} == {IndexState.PRESENT}
        assert {one["name"] for found in engine.created.values() for one in found} == names
        assert sum(map(len, engine.created.values())) == len(names)
        assert all(name.startswith("my_") for name in engine.created)


async def test_apply_goes_on_where_search_indexes_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncMongoStore("mongomock://refused") as store:
        engine: Any = SearchEngine(store.engine, refuses=True)
        assert {report.state for report in await apply_indexes(engine)} == {IndexState.PRESENT}
    assert "the search indexes of sessions were refused (code 8000)" in caplog.text
