"""Index definitions: what the files say, what a database has, and how the two are brought together."""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files

import pytest
from pydantic import BaseModel

from mongostore import AsyncMongoStore, IndexConflictError
from mongostore.documents import erasures, identities, keys, room_parts, rooms, session_participants, threads
from mongostore.documents.sessions import StoredMessage, StoredOverflow, StoredSegment, StoredSession
from mongostore.index_definitions import IndexState, load_indexes


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
