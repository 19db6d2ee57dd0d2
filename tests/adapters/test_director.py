"""What Director's database promises, with a stand-in for Director, on every engine."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pydantic
import pytest
from pymongo import AsyncMongoClient, MongoClient

from mongostore import (
    ConflictError,
    DocumentTooLargeError,
    InvalidValueError,
    Message,
    MongoStoreError,
    NotFoundError,
)
from mongostore.repositories.store_collection import StoreCollection
from mongostore.sync import MongoStore, Sessions, shared_store
from mongostore.testing.director import DatabaseSuite
from mongostore.testing.director.oracle import MESSAGE_ROW, ROW, Status
from mongostore.testing.director.parallel import ParallelSuite
from mongostore.testing.director.parts import ids, nested, say
from tests.conftest import Emptied

HERE = Path(__file__).parent
NOWHERE = "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200"


@pytest.fixture(scope="module")
def adapter(director_adapter: Callable[[Path], ModuleType]) -> ModuleType:
    return director_adapter(HERE / "stand_in")


@pytest.fixture
def db(adapter: ModuleType, store_uri: str, database: str, emptied: Emptied) -> Iterator[Any]:
    with opened(adapter, store_uri, database, emptied) as db:
        yield db


@pytest.fixture
def server_db(adapter: ModuleType, server_uri: str, database: str, emptied: Emptied) -> Iterator[Any]:
    with opened(adapter, server_uri, database, emptied) as db:
        yield db


@contextmanager
def opened(adapter: ModuleType, uri: str, database: str, emptied: Emptied) -> Iterator[Any]:
    """An adapter; at the end, the store behind it is closed, and another test may have its database."""
    with pytest.MonkeyPatch.context() as patch:
        if emptied.ensure(database) is False:
            patch.setenv("MONGOSTORE_ENSURE_INDEXES", "false")
        yield adapter.MongoDB(uri, database)
        shared_store(uri, database).close()

    async def give_back() -> None:
        async with AsyncMongoClient[dict[str, Any]](uri) as client:
            await emptied.add(client[database])

    if uri.startswith("mongodb"):
        asyncio.run(give_back())


@pytest.fixture
def foreign(db: Any, store_uri: str, database: str) -> MongoStore:
    """The store behind the adapter, as another service uses it."""
    return shared_store(store_uri, database)


def run(name: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE / "children" / f"{name}.py"), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE.parents[1], HERE / "stand_in")))},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child: subprocess.Popen[str]) -> None:
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors


class TestDatabase(DatabaseSuite):
    """What Director asks of any database."""

    steps = 4


@pytest.mark.long
class TestDatabaseLonger(ParallelSuite):
    """What it asks under many callers, for as long as the suite says."""


def test_is_a_field_of_pydantic_models(adapter: ModuleType) -> None:
    holder = pydantic.create_model(
        "Holder", __config__={"arbitrary_types_allowed": True}, db=(adapter.BaseDB, ...)
    )
    db = adapter.MongoDB()
    assert holder(db=db).db is db


def test_constructor_takes_nothing_and_does_not_connect(
    adapter: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGOSTORE_URI", NOWHERE)
    threads = threading.active_count()
    adapter.MongoDB()
    assert threading.active_count() == threads


def test_settings_come_from_the_environment(
    adapter: ModuleType, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    uri = f"mongomock://{database}"
    monkeypatch.setenv("MONGOSTORE_URI", uri)
    adapter.MongoDB().create_session("s")
    assert adapter.MongoDB(uri).get_session("s")["session_id"] == "s"
    shared_store(uri).close()


def test_a_row_of_a_session_made_anew_is_left_as_it_is(
    db: Any, foreign: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = foreign.sessions.in_namespace("director")
    # Its messages came first.
    sessions.create("s")
    find = Sessions.find

    def find_and_renew(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(Sessions, "find", find)
        found = find(*arguments, **options)
        db.delete_session("s")
        db.create_session("s", video_id="theirs")
        return found

    monkeypatch.setattr(Sessions, "find", find_and_renew)
    db.create_session("s", video_id="mine")
    assert db.get_session("s")["video_id"] == "theirs"


def test_conversations_are_read_however_often_they_are_removed(
    db: Any, foreign: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = foreign.sessions.in_namespace("director")
    messages = [Message(id=f"{n}", role="user") for n in range(300)]
    read, left = StoreCollection.find_all, [3]

    def replace_all() -> None:
        sessions.messages.truncate("s")
        sessions.messages.append_many("s", messages)

    async def read_what_was_removed(collection: StoreCollection, *arguments: Any, **options: Any) -> Any:
        if left[0] and collection.name == "session_segments":
            # What is read to replace them is left alone.
            more, left[0] = left[0] - 1, 0
            await asyncio.get_running_loop().run_in_executor(None, replace_all)
            left[0] = more
        return await read(collection, *arguments, **options)

    sessions.messages.append_many("s", messages, create=True)
    monkeypatch.setattr(StoreCollection, "find_all", read_what_was_removed)
    assert len(db.get_conversations("s")) == 300


def test_a_conversation_whose_text_is_lost_is_not_read_for_ever(
    db: Any, foreign: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_one = StoreCollection.find_one

    async def find_no_text(collection: StoreCollection, *arguments: Any, **options: Any) -> Any:
        is_text = collection.name == "session_overflows"
        return None if is_text else await find_one(collection, *arguments, **options)

    large = Message(role="user", content="x" * 1_100_000)
    foreign.sessions.in_namespace("director").messages.append("s", large, create=True)
    monkeypatch.setattr(StoreCollection, "find_one", find_no_text)
    with pytest.raises(ConflictError):
        db.get_conversations("s")


def test_an_open_store_can_be_given(adapter: ModuleType, store_uri: str, database: str) -> None:
    with MongoStore(store_uri, database) as store:
        adapter.MongoDB(store=store).create_session("s")
        assert store.sessions.in_namespace("director").exists("s")
        assert not store.sessions.exists("s")


def test_register_is_idempotent_and_independent_of_order() -> None:
    finish(run("director_register"))


@pytest.mark.parametrize("seconds", [1.5, "1", True, 10**15, [1]])
def test_what_are_no_seconds_is_refused(db: Any, seconds: Any) -> None:
    for name in ("created_at", "updated_at"):
        with pytest.raises(InvalidValueError, match=name):
            db.create_session("s", **{name: seconds})
        with pytest.raises(InvalidValueError, match=name):
            say(db, **{name: seconds})
    assert db.get_sessions() == db.get_conversations("s") == []


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"bytes", {("tuple",): 1}, [{"deep": object()}], 10**5000, nested(100_000)],
    ids=["object", "set", "bytes", "tuple key", "deep inside", "digits", "depth"],
)
def test_what_json_cannot_hold_is_refused_before_anything_is_written(db: Any, value: Any) -> None:
    db.create_session("there")
    say(db, session_id="there", content="kept")
    db.add_or_update_context_msg("there", "kept")
    for name in ("content", "agents", "actions", "status", "metadata"):
        for session_id in ("s", "there"):
            with pytest.raises(TypeError, match=name) as caught:
                say(db, session_id=session_id, **{name: value})
            assert isinstance(caught.value, MongoStoreError)
    for name in ("metadata", "video_id", "collection_id"):
        with pytest.raises(TypeError, match=name):
            db.create_session("s", **{name: value})
    for session_id in ("s", "there"):
        with pytest.raises(TypeError, match="context_messages"):
            db.add_or_update_context_msg(session_id, value)
    assert [row["content"] for row in db.get_conversations("there")] == ["kept"]
    assert db.get_context_messages("there") == "kept"
    assert db.delete_session("s") == (False, ["conversation", "context", "session"])


def test_value_that_holds_itself_is_refused(db: Any) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(TypeError):
        say(db, content=loop)


@pytest.mark.parametrize("sent", [None, 5, {"$ne": None}, ["s"], b"s", Status.PROGRESS, "\ud800"], ids=repr)
def test_ids_are_plain_strings(db: Any, sent: Any) -> None:
    db.create_session("s")
    say(db)
    for refused in (
        lambda: db.create_session(sent),
        lambda: db.get_session(sent),
        lambda: db.get_conversations(sent),
        lambda: db.get_context_messages(sent),
        lambda: db.add_or_update_context_msg(sent, {}),
        lambda: db.delete_conversation(sent),
        lambda: db.delete_context(sent),
        lambda: db.delete_session(sent),
        lambda: say(db, session_id=sent),
        lambda: say(db, conv_id=sent),
        lambda: say(db, msg_id=sent),
    ):
        with pytest.raises(InvalidValueError, match="_id: "):
            refused()
    assert len(db.get_sessions()) == 1
    assert ids(db) == ["m"]


def test_what_no_document_can_hold_is_refused_and_leaves_what_was_there(db: Any) -> None:
    say(db, content="kept")
    db.add_or_update_context_msg("s", "kept")
    huge = "x" * (17 * 1024 * 1024)
    for msg_id in ("m", "new"):
        with pytest.raises(DocumentTooLargeError):
            say(db, msg_id, content=huge)
    with pytest.raises(DocumentTooLargeError):
        db.add_or_update_context_msg("s", huge)
    assert [row["content"] for row in db.get_conversations("s")] == ["kept"]
    assert db.get_context_messages("s") == "kept"


def test_parallel_processes_stream_into_one_session(server_db: Any, server_uri: str, database: str) -> None:
    children = [run("director_writer", server_uri, database, str(n)) for n in range(4)]
    for child in children:
        finish(child)
    found = ids(server_db)
    assert len(found) == len(set(found)) == 10 + 4 * 20
    assert len(server_db.get_sessions()) == 1
    for n in range(4):
        own = [msg_id for msg_id in found if msg_id.startswith(f"{n} ")]
        assert own == [f"{n} {step}" for step in range(20)]


def test_many_adapters_share_one_client(
    adapter: ModuleType, server_db: Any, server_uri: str, database: str
) -> None:
    with MongoClient[dict[str, Any]](server_uri) as client:

        def connections() -> int:
            return int(client.admin.command("serverStatus")["connections"]["current"])

        server_db.get_sessions()
        threads, connected = threading.active_count(), connections()
        for _ in range(100):
            adapter.MongoDB(server_uri, database).get_session("s")
        assert threading.active_count() == threads
        # The driver's own monitoring connections may come late.
        assert connections() <= connected + 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_survives_a_fork(server_db: Any, server_uri: str, database: str) -> None:
    finish(run("director_fork", server_uri, database))
    found = ids(server_db)
    assert (found[0], found[-1]) == ("parent", "parent again")
    assert sorted(found[1:-1]) == [f"child {n}" for n in range(4)]


def test_health_check_makes_the_indexes(adapter: ModuleType, server_uri: str, database: str) -> None:
    assert adapter.MongoDB(server_uri, database).health_check() is True
    shared_store(server_uri, database).close()
    with MongoClient[dict[str, Any]](server_uri) as client:
        assert len(client[database]["sessions"].index_information()) > 1


@pytest.mark.parametrize("uri", [NOWHERE, "nonsense://", "mongodb://"])
def test_health_check_is_false_and_logs_where_it_does_not(
    adapter: ModuleType, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert adapter.MongoDB(uri).health_check() is False
    assert "health check failed" in caplog.text


def test_what_another_service_wrote_is_shown(db: Any, foreign: MongoStore) -> None:
    sessions = foreign.sessions.in_namespace("director")
    sessions.create("s", data={"topic": 1})
    sessions.messages.append("s", Message(role="user", content="hi"))
    (row,) = db.get_sessions()
    assert list(row) == ROW
    assert (row["video_id"], row["metadata"]) == (None, {})
    (message,) = db.get_conversations("s")
    assert list(message) == MESSAGE_ROW
    assert (message["msg_type"], message["content"], message["agents"]) == ("user", "hi", [])


def test_session_that_another_service_deleted_softly_is_left_to_it(db: Any, foreign: MongoStore) -> None:
    db.create_session("s")
    say(db)
    sessions = foreign.sessions.in_namespace("director")
    sessions.soft_delete("s")
    db.create_session("s")
    with pytest.raises(NotFoundError):
        say(db, "other")
    assert (db.get_session("s"), db.get_conversations("s"), db.get_sessions()) == ({}, [], [])
    sessions.undelete("s")
    assert ids(db) == ["m"]


def test_errors_never_carry_what_was_said(db: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        say(db, content=["a secret", object()])
    assert "secret" not in str(caught.value)
