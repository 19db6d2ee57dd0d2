"""What Director's database promises, with a stand-in for Director, on every engine."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient

from mongostore import DocumentTooLargeError, InvalidValueError, Message, MongoStoreError, NotFoundError
from mongostore.sync import MongoStore, shared_store

HERE = Path(__file__).parent
ROW = ["session_id", "video_id", "collection_id", "created_at", "updated_at", "metadata"]
MESSAGE_ROW = [
    "session_id",
    "conv_id",
    "msg_id",
    "msg_type",
    "agents",
    "actions",
    "content",
    "status",
    "created_at",
    "updated_at",
    "metadata",
]
SESSION_IDS = ["", "a", "b/c", "$d.e"]
NOWHERE = "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200"


class Status(str, Enum):  # noqa: UP042  # what Director has
    PROGRESS = "progress"


@pytest.fixture(scope="module")
def adapter(director_adapter: Callable[[Path], ModuleType]) -> ModuleType:
    return director_adapter(HERE / "stand_in")


@pytest.fixture
def db(adapter: ModuleType, store_uri: str, database: str) -> Iterator[Any]:
    yield adapter.MongoDB(store_uri, database)
    shared_store(store_uri, database).close()


@pytest.fixture
def server_db(adapter: ModuleType, server_uri: str, database: str) -> Iterator[Any]:
    yield adapter.MongoDB(server_uri, database)
    shared_store(server_uri, database).close()


@pytest.fixture
def foreign(db: Any, store_uri: str, database: str) -> MongoStore:
    """The store behind the adapter, as another service uses it."""
    return shared_store(store_uri, database)


def run(name: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE / "children" / f"{name}.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(HERE / "stand_in")},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child: subprocess.Popen[str]) -> None:
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors


def say(db: Any, /, msg_id: str = "m", content: Any = "text", **members: Any) -> None:
    given = {"session_id": "s", "conv_id": "c", "msg_type": "output", "agents": [], "actions": []}
    db.add_or_update_msg_to_conv(**{**given, "msg_id": msg_id, "content": content, **members})


def ids(db: Any, session_id: str = "s") -> list[str]:
    return [row["msg_id"] for row in db.get_conversations(session_id)]


def nested(depth: int) -> Any:
    value: Any = "core"
    for _ in range(depth):
        value = [value]
    return value


def text(value: Any) -> str:
    """What tells values apart: 1, 1.0 and true, the order of keys, and NaN, which equals nothing."""
    return json.dumps(value)


def test_every_abstract_method_is_overridden(adapter: ModuleType) -> None:
    assert len(adapter.BaseDB.__abstractmethods__) == 8
    assert vars(adapter.MongoDB).keys() >= adapter.BaseDB.__abstractmethods__
    for name in adapter.BaseDB.__abstractmethods__:
        declared = inspect.signature(getattr(adapter.BaseDB, name)).parameters
        assert list(inspect.signature(getattr(adapter.MongoDB, name)).parameters)[: len(declared)] == [
            *declared
        ]


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


def test_an_open_store_can_be_given(adapter: ModuleType, store_uri: str, database: str) -> None:
    with MongoStore(store_uri, database) as store:
        adapter.MongoDB(store=store).create_session("s")
        assert store.sessions.in_namespace("director").exists("s")
        assert not store.sessions.exists("s")


def test_register_is_idempotent_and_independent_of_order() -> None:
    finish(run("director_register"))


def test_session_row_is_exactly_what_was_given(db: Any) -> None:
    db.create_session("s", "video", "collection", 11, 22, {"user": ["x"]})
    row = db.get_session("s")
    assert list(row) == ROW
    assert list(row.values()) == ["s", "video", "collection", 11, 22, {"user": ["x"]}]
    assert db.get_sessions() == [row]


def test_session_needs_nothing_but_its_id(db: Any) -> None:
    before = int(time.time())
    db.create_session("s")
    row = db.get_session("s")
    assert (row["video_id"], row["collection_id"], row["metadata"]) == (None, None, {})
    assert before <= row["created_at"] <= row["updated_at"] <= time.time()
    assert type(row["created_at"]) is type(row["updated_at"]) is int


def test_session_that_is_there_is_left_entirely_as_it_is(db: Any) -> None:
    db.create_session("s", "video", "collection", 11, 22, {"a": 1})
    before = db.get_session("s")
    db.create_session("s", "other", None, 33, 44, {"b": 2})
    db.create_session("s")
    assert db.get_session("s") == before
    assert db.get_sessions() == [before]


def test_what_is_given_beyond_the_parameters_is_never_touched(db: Any) -> None:
    beyond = {"db": db, "conversations": [object()], "state": {object(): 1}, "output_message": object()}
    db.create_session("s", conv_id="c", reasoning_context=[], **beyond)
    say(db, **beyond)
    db.add_or_update_context_msg("s", {"reasoning": []}, **beyond)
    assert list(db.get_session("s")) == ROW
    assert list(db.get_conversations("s")[0]) == MESSAGE_ROW


def test_unknown_session_gives_new_empty_values(db: Any) -> None:
    for session_id in ("unknown", ""):
        db.get_session(session_id)["conversation"] = []
        assert db.get_session(session_id) == {}
        assert db.get_conversations(session_id) == []
        db.get_context_messages(session_id)["reasoning"] = []
        assert db.get_context_messages(session_id) == {}
        assert db.delete_conversation(session_id) is False
        assert db.delete_context(session_id) is False
        assert db.delete_session(session_id) == (False, ["conversation", "context", "session"])
    assert db.get_sessions() == []


def test_empty_id_is_an_id(db: Any) -> None:
    db.create_session("")
    say(db, "", session_id="", conv_id="")
    assert db.get_session("")["session_id"] == ""
    assert ids(db, "") == [""]


def test_sessions_are_listed_by_updated_at_and_then_newest_first(db: Any) -> None:
    for session_id, updated_at in (("a", 5), ("b", 9), ("c", 5), ("d", 1), ("e", 5)):
        db.create_session(session_id, updated_at=updated_at)
    say(db, session_id="d")
    db.add_or_update_context_msg("a", {})
    assert [row["session_id"] for row in db.get_sessions()] == ["b", "e", "c", "a", "d"]


def test_all_sessions_are_listed(db: Any) -> None:
    for n in range(230):
        db.create_session(str(n), updated_at=n)
    assert [row["session_id"] for row in db.get_sessions()] == [str(n) for n in range(229, -1, -1)]


def test_message_row_is_exactly_what_was_given(db: Any) -> None:
    content = [{"type": "text", "text": "hi"}]
    db.add_or_update_msg_to_conv(
        "s", "c", "m", "input", ["agent"], ["action"], content, "success", 11, 22, {"k": 1}
    )
    (row,) = db.get_conversations("s")
    assert list(row) == MESSAGE_ROW
    assert list(row.values()) == [
        "s", "c", "m", "input", ["agent"], ["action"], content, "success", 11, 22, {"k": 1}
    ]  # fmt: skip


def test_message_is_replaced_whole(db: Any) -> None:
    say(db, content=[1, 2], agents=["a"], actions=["b"], status="progress", metadata={"k": 1})
    say(db, content=[], conv_id="other", msg_type="input")
    (row,) = db.get_conversations("s")
    assert (row["conv_id"], row["msg_type"], row["content"]) == ("other", "input", [])
    assert (row["agents"], row["actions"], row["status"], row["metadata"]) == ([], [], None, {})


def test_message_keeps_created_at_when_it_is_updated(db: Any) -> None:
    say(db, created_at=11, updated_at=22)
    say(db, created_at=33, updated_at=44)
    assert [(row["created_at"], row["updated_at"]) for row in db.get_conversations("s")] == [(11, 44)]
    before = int(time.time())
    say(db)
    (row,) = db.get_conversations("s")
    assert row["created_at"] == 11
    assert before <= row["updated_at"] <= time.time()


def test_message_without_updated_at_has_the_present_one(db: Any) -> None:
    before = int(time.time())
    say(db, created_at=11)
    (row,) = db.get_conversations("s")
    assert row["created_at"] == 11
    assert before <= row["updated_at"] <= time.time()


@pytest.mark.parametrize("seconds", [0, -1, 2**33])
def test_any_second_is_kept(db: Any, seconds: int) -> None:
    db.create_session("s", created_at=seconds, updated_at=seconds)
    say(db, created_at=seconds, updated_at=seconds)
    for row in (db.get_session("s"), *db.get_conversations("s")):
        assert (row["created_at"], row["updated_at"]) == (seconds, seconds)


@pytest.mark.parametrize("seconds", [1.5, "1", True, 10**15, [1]])
def test_what_are_no_seconds_is_refused(db: Any, seconds: Any) -> None:
    for name in ("created_at", "updated_at"):
        with pytest.raises(InvalidValueError, match=name):
            db.create_session("s", **{name: seconds})
        with pytest.raises(InvalidValueError, match=name):
            say(db, **{name: seconds})
    assert db.get_sessions() == db.get_conversations("s") == []


def test_messages_stay_in_order_of_insertion(db: Any) -> None:
    expected = [str(n) for n in range(150)]
    for n in range(150):
        say(db, str(n), created_at=1000 - n)
    for n in (0, 70, 149, 3):
        say(db, str(n), content="again")
    assert ids(db) == expected
    assert [row["msg_id"] for row in db.get_conversations("s") if row["content"] == "again"] == [
        "0", "3", "70", "149"
    ]  # fmt: skip


def test_one_message_id_in_two_sessions_is_two_messages(db: Any) -> None:
    say(db, session_id="one", content=1)
    say(db, session_id="two", content=2)
    say(db, session_id="one", content=3)
    assert [db.get_conversations(name)[0]["content"] for name in ("one", "two")] == [3, 2]


def test_messages_and_context_may_come_before_their_session(db: Any) -> None:
    say(db)
    db.add_or_update_context_msg("s", {"reasoning": [1]})
    db.add_or_update_context_msg("other", {})
    assert db.get_session("s") == {}
    assert db.get_sessions() == []
    db.create_session("s", "video", updated_at=5)
    db.create_session("s", "not this one")
    assert [(row["session_id"], row["video_id"]) for row in db.get_sessions()] == [("s", "video")]
    assert ids(db) == ["m"]
    assert db.get_context_messages("s") == {"reasoning": [1]}


@pytest.mark.parametrize("context", [{}, [], None, {"reasoning": [{"role": "user"}]}, [1], "text", 0])
def test_context_comes_back_in_its_shape(db: Any, context: Any) -> None:
    db.add_or_update_context_msg("s", ["replaced whole"])
    db.add_or_update_context_msg("s", context)
    assert text(db.get_context_messages("s")) == text(context)
    assert db.delete_context("s") is True
    assert db.get_context_messages("s") == {}
    assert db.delete_context("s") is False


@pytest.mark.parametrize("session", [False, True])
@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("conversation", [False, True])
def test_delete_session_names_what_was_not_there(
    db: Any, conversation: bool, context: bool, session: bool
) -> None:
    if conversation:
        say(db)
    if context:
        db.add_or_update_context_msg("s", {})
    if session:
        db.create_session("s")
    say(db, session_id="other")
    there = {"conversation": conversation, "context": context, "session": session}
    failed = [name for name, was_there in there.items() if not was_there]
    assert db.delete_session("s") == (len(failed) < 3, failed)
    assert db.delete_session("s") == (False, ["conversation", "context", "session"])
    assert (db.get_session("s"), db.get_conversations("s"), db.get_context_messages("s")) == ({}, [], {})
    assert ids(db, "other") == ["m"]


def test_parts_that_are_deleted_are_missed_by_delete_session(db: Any) -> None:
    db.create_session("s")
    say(db)
    db.add_or_update_context_msg("s", {})
    assert db.delete_conversation("s") is True
    assert db.delete_conversation("s") is False
    assert db.delete_context("s") is True
    assert db.get_session("s")["session_id"] == "s"
    assert db.delete_session("s") == (True, ["conversation", "context"])


def test_deleted_session_begins_anew(db: Any) -> None:
    db.create_session("s", "video")
    say(db, "old")
    db.delete_session("s")
    say(db, "new", created_at=1)
    assert db.get_session("s") == {}
    db.create_session("s", "other")
    assert db.get_session("s")["video_id"] == "other"
    assert ids(db) == ["new"]


@pytest.mark.parametrize(
    ("given", "back"),
    [
        ((1, (2,)), [1, [2]]),
        ({2: "a", None: "b", True: "c", 1.5: "d"}, {"2": "a", "null": "b", "true": "c", "1.5": "d"}),
        ({Status.PROGRESS: Status.PROGRESS}, {"progress": "progress"}),
        ({"a.b": 1, "$set": {"$ne": None}, "": 2, "\0": 3, "%": 4, "\ud800": 5}, ...),
        ({"$ref": "sessions", "$id": "s", "$db": "d"}, ...),
        ({"__json__": "[1]"}, ...),
        ([{"__json__": 1}, "\0", "\ud800", "\U0001f600"], ...),
        ([2**63, -(2**64), 10**400, 2**62, 2**31], ...),
        ([float("nan"), float("inf"), -float("inf"), -0.0, 1e-320], ...),
        ([1, 1.0, True, 0, False, None, ""], ...),
        ({"b": 1, "a": {"d": 2, "c": 3}}, ...),
        (nested(150), ...),
        (None, ...),
        ("text", ...),
    ],
    ids=str,
)
def test_values_come_back_as_out_of_json_text(db: Any, given: Any, back: Any) -> None:
    expected = text(given if back is ... else back)
    db.create_session("s", metadata=given)
    say(db, content=given, agents=given, actions=given, metadata=given)
    db.add_or_update_context_msg("s", given)
    (message,) = db.get_conversations("s")
    for value in (
        db.get_session("s")["metadata"],
        *(message[name] for name in ("content", "agents", "actions", "metadata")),
        db.get_context_messages("s"),
    ):
        assert text(value) == expected
        assert_plain(value)


def assert_plain(value: Any) -> None:
    assert type(value) in (dict, list, str, int, float, bool, type(None))
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_plain(item)


def test_enum_members_are_stored_as_plain_strings(db: Any) -> None:
    say(db, msg_type=Status.PROGRESS, status=Status.PROGRESS)
    say(db, "other", content=[{"status": Status.PROGRESS}], agents=[Status.PROGRESS])
    rows = db.get_conversations("s")
    assert (rows[0]["msg_type"], rows[0]["status"]) == ("progress", "progress")
    assert_plain(rows)


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


@pytest.mark.parametrize("given", [None, 5, {"$ne": None}, ["s"], b"s", Status.PROGRESS, "\ud800"], ids=repr)
def test_ids_are_plain_strings(db: Any, given: Any) -> None:
    db.create_session("s")
    say(db)
    for refused in (
        lambda: db.create_session(given),
        lambda: db.get_session(given),
        lambda: db.get_conversations(given),
        lambda: db.get_context_messages(given),
        lambda: db.add_or_update_context_msg(given, {}),
        lambda: db.delete_conversation(given),
        lambda: db.delete_context(given),
        lambda: db.delete_session(given),
        lambda: say(db, session_id=given),
        lambda: say(db, conv_id=given),
        lambda: say(db, msg_id=given),
    ):
        with pytest.raises(InvalidValueError, match="_id: "):
            refused()
    assert len(db.get_sessions()) == 1
    assert ids(db) == ["m"]


@pytest.mark.parametrize("session_id", ["a/b", "/", "$where", "a.b", "\0", "é", "\U0001f600", "x" * 512])
def test_any_plain_string_is_an_id(db: Any, session_id: str) -> None:
    db.create_session(session_id)
    say(db, session_id, session_id=session_id, conv_id=session_id)
    say(db, session_id, session_id=session_id, conv_id=session_id)
    db.add_or_update_context_msg(session_id, session_id)
    assert db.get_sessions()[0]["session_id"] == db.get_session(session_id)["session_id"] == session_id
    (row,) = db.get_conversations(session_id)
    assert row["session_id"] == row["conv_id"] == row["msg_id"] == session_id
    assert db.get_context_messages(session_id) == session_id
    assert db.delete_session(session_id) == (True, [])


def test_what_is_given_and_what_comes_back_belong_to_the_caller(db: Any) -> None:
    given: dict[str, Any] = {"list": [1]}
    db.create_session("s", metadata=given)
    say(db, content=given)
    db.add_or_update_context_msg("s", given)
    given["list"].append(2)
    for _ in range(2):
        metadata = db.get_session("s")["metadata"]
        content = db.get_conversations("s")[0]["content"]
        context = db.get_context_messages("s")
        assert metadata == content == context == {"list": [1]}
        for value in (metadata, content, context):
            value["list"].append(3)


def test_five_megabytes_are_written_over_and_over(db: Any) -> None:
    for n in range(4):
        large = {"reasoning": [{"role": "user", "content": str(n) * 1024} for _ in range(5 * 1024)]}
        db.add_or_update_context_msg("s", large)
        say(db, content=[large])
        say(db, f"after {n}")
        assert db.get_context_messages("s") == large
        assert db.get_conversations("s")[0]["content"] == [large]
    say(db, content=["small again"])
    assert db.get_conversations("s")[0]["content"] == ["small again"]
    assert ids(db) == ["m", *(f"after {n}" for n in range(4))]
    assert db.delete_session("s") == (True, ["session"])


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


def test_parallel_threads_stream_into_one_session(db: Any) -> None:
    def stream(thread: int) -> None:
        for step in range(20):
            db.create_session("s", collection_id=str(thread))
            say(db, f"shared {step % 5}", content=[thread, step])
            say(db, f"{thread} {step}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(stream, range(8)))
    found = ids(db)
    assert len(found) == len(set(found)) == 5 + 8 * 20
    assert len(db.get_sessions()) == 1
    for thread in range(8):
        own = [msg_id for msg_id in found if msg_id.startswith(f"{thread} ")]
        assert own == [f"{thread} {step}" for step in range(20)]


def test_parallel_processes_stream_into_one_session(server_db: Any, server_uri: str, database: str) -> None:
    children = [run("director_writer", server_uri, database, str(n)) for n in range(4)]
    for child in children:
        finish(child)
    found = ids(server_db)
    assert len(found) == len(set(found)) == 10 + 4 * 40
    assert len(server_db.get_sessions()) == 1
    for n in range(4):
        own = [msg_id for msg_id in found if msg_id.startswith(f"{n} ")]
        assert own == [f"{n} {step}" for step in range(40)]


def test_writing_and_reading_stand_parallel_deletion(db: Any) -> None:
    # Large enough for a document of its own.
    context = {"reasoning": ["x" * 70_000]}

    def write(thread: int) -> None:
        for step in range(40):
            say(db, f"{thread} {step}", content="x" * 3000)
            db.create_session("s")
            db.add_or_update_context_msg("s", context)

    def delete(_: int) -> None:
        while not done.wait(0.02):
            db.delete_session("s")
            db.delete_conversation("s")

    def read(_: int) -> None:
        while not done.is_set():
            rows = db.get_conversations("s")
            assert len(rows) == len({row["msg_id"] for row in rows})
            assert db.get_context_messages("s") in ({}, context)
            assert db.get_session("s").keys() in ({}.keys(), set(ROW))

    done = threading.Event()
    with ThreadPoolExecutor(8) as threads:
        others = [threads.submit(work, n) for n in range(2) for work in (delete, read)]
        writers = [threads.submit(write, n) for n in range(4)]
        try:
            for writer in writers:
                writer.result()
        finally:
            done.set()
        for other in others:
            other.result()
    db.delete_session("s")
    assert (db.get_session("s"), db.get_conversations("s"), db.get_context_messages("s")) == ({}, [], {})


def test_racing_creators_leave_one_whole_row(db: Any) -> None:
    for n in range(10):
        session_id = f"s{n}"
        say(db, session_id=session_id)
        start = threading.Barrier(4)

        def create(name: str, session_id: str = session_id, start: threading.Barrier = start) -> None:
            start.wait()
            db.create_session(session_id, name, name)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(create, "abcd"))
        row = db.get_session(session_id)
        assert row["video_id"] == row["collection_id"]


async def test_may_be_used_inside_running_loops(db: Any) -> None:
    def in_a_loop_of_its_own(name: str) -> None:
        async def use() -> None:
            say(db, name)
            await asyncio.sleep(0)
            assert name in ids(db)

        for _ in range(3):
            asyncio.run(use())

    say(db, "here")
    await asyncio.gather(*(asyncio.to_thread(in_a_loop_of_its_own, name) for name in "abc"))
    assert sorted(ids(db)) == ["a", "b", "c", "here"]


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


def test_health_check_is_true_where_the_database_answers(db: Any) -> None:
    assert db.health_check() is True
    assert db.get_sessions() == []


def test_health_check_makes_the_indexes(server_db: Any, server_uri: str, database: str) -> None:
    assert server_db.health_check() is True
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
    sessions.append_message("s", Message(role="user", content="hi"))
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
    sessions.delete("s")
    db.create_session("s")
    with pytest.raises(NotFoundError):
        say(db, "other")
    assert (db.get_session("s"), db.get_conversations("s"), db.get_sessions()) == ({}, [], [])
    sessions.restore("s")
    assert ids(db) == ["m"]


def test_errors_never_carry_what_was_said(db: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        say(db, content=["a secret", object()])
    assert "secret" not in str(caught.value)


class Oracle:
    """What the database promises, by the simplest means: JSON text in SQLite."""

    def __init__(self, sqlite: sqlite3.Connection) -> None:
        self.sqlite = sqlite
        sqlite.executescript(
            """
            CREATE TABLE row (session PRIMARY KEY, video, collection, created, updated, metadata);
            CREATE TABLE message (
                place INTEGER PRIMARY KEY, session, conv, msg, type, agents, actions, content, status,
                created, updated, metadata, UNIQUE (session, msg)
            );
            CREATE TABLE context (session PRIMARY KEY, value);
            """
        )

    def create_session(
        self,
        session_id: str,
        created_at: int,
        updated_at: int,
        video_id: str | None = None,
        collection_id: str | None = None,
        **given: Any,
    ) -> None:
        metadata = json.dumps(given.get("metadata", {}))
        values = (session_id, video_id, collection_id, created_at, updated_at, metadata)
        self.sqlite.execute("INSERT INTO row VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", values)

    def get_session(self, session_id: str) -> dict[str, Any]:
        found = self.sqlite.execute("SELECT * FROM row WHERE session = ?", (session_id,)).fetchall()
        return self._row(found[0]) if found else {}

    def get_sessions(self) -> list[dict[str, Any]]:
        return [self._row(row) for row in self.sqlite.execute("SELECT * FROM row ORDER BY updated DESC")]

    def add_or_update_msg_to_conv(self, **given: Any) -> None:
        values = {"status": None, "metadata": {}, **given}
        values |= {name: json.dumps(values[name]) for name in ("agents", "actions", "content", "metadata")}
        self.sqlite.execute(
            """
            INSERT INTO message VALUES (
                NULL, :session_id, :conv_id, :msg_id, :msg_type, :agents, :actions, :content, :status,
                :created_at, :updated_at, :metadata
            )
            ON CONFLICT DO UPDATE SET
                conv = :conv_id, type = :msg_type, agents = :agents, actions = :actions, content = :content,
                status = :status, updated = :updated_at, metadata = :metadata
            """,
            values,
        )

    def get_conversations(self, session_id: str) -> list[dict[str, Any]]:
        found = self.sqlite.execute("SELECT * FROM message WHERE session = ? ORDER BY place", (session_id,))
        rows = [dict(zip(MESSAGE_ROW, row[1:], strict=True)) for row in found]
        for row in rows:
            row |= {name: json.loads(row[name]) for name in ("agents", "actions", "content", "metadata")}
        return rows

    def get_context_messages(self, session_id: str) -> Any:
        found = self.sqlite.execute("SELECT value FROM context WHERE session = ?", (session_id,)).fetchall()
        return json.loads(found[0][0]) if found else {}

    def add_or_update_context_msg(self, session_id: str, context_messages: Any) -> None:
        self.sqlite.execute(
            "INSERT OR REPLACE INTO context VALUES (?, ?)", (session_id, json.dumps(context_messages))
        )

    def delete_conversation(self, session_id: str) -> bool:
        return self._delete("message", session_id)

    def delete_context(self, session_id: str) -> bool:
        return self._delete("context", session_id)

    def delete_session(self, session_id: str) -> tuple[bool, list[str]]:
        tables = {"conversation": "message", "context": "context", "session": "row"}
        failed = [name for name, table in tables.items() if not self._delete(table, session_id)]
        return len(failed) < 3, failed

    def _delete(self, table: str, session_id: str) -> bool:
        return self.sqlite.execute(f"DELETE FROM {table} WHERE session = ?", (session_id,)).rowcount > 0

    def _row(self, row: tuple[Any, ...]) -> dict[str, Any]:
        return {**dict(zip(ROW, row, strict=True)), "metadata": json.loads(row[-1])}


IDS = st.sampled_from(SESSION_IDS)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["\ud800", "\0", "$ref", "__json__"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.text(max_size=2) | st.integers(0, 3) | st.sampled_from(["$ref", "$id", "a.b", "__json__"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
SECONDS = st.sampled_from([0, 1, 2, 2**31])
TIMES = {"created_at": SECONDS, "updated_at": SECONDS}
OPERATIONS = st.one_of(
    st.tuples(
        st.just("create_session"),
        st.fixed_dictionaries(
            {"session_id": IDS, **TIMES},
            optional={"video_id": st.none() | IDS, "collection_id": IDS, "metadata": JSON},
        ),
    ),
    st.tuples(
        st.just("add_or_update_msg_to_conv"),
        st.fixed_dictionaries(
            {
                "session_id": IDS,
                "conv_id": IDS,
                "msg_id": IDS,
                "msg_type": st.sampled_from(["input", "output", Status.PROGRESS]),
                "agents": JSON,
                "actions": JSON,
                "content": JSON,
                **TIMES,
            },
            optional={"status": st.sampled_from([None, "success", Status.PROGRESS]), "metadata": JSON},
        ),
    ),
    st.tuples(
        st.just("add_or_update_context_msg"),
        st.fixed_dictionaries({"session_id": IDS, "context_messages": JSON}),
    ),
    st.tuples(
        st.sampled_from(["delete_conversation", "delete_context", "delete_session"]),
        st.fixed_dictionaries({"session_id": IDS}),
    ),
)


@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=st.lists(OPERATIONS, max_size=12))
def test_answers_are_those_of_json_text_in_sqlite(
    db: Any, operations: list[tuple[str, dict[str, Any]]]
) -> None:
    for session_id in SESSION_IDS:
        db.delete_session(session_id)
    with closing(sqlite3.connect(":memory:")) as sqlite:
        oracle = Oracle(sqlite)
        for name, arguments in operations:
            assert getattr(db, name)(**arguments) == getattr(oracle, name)(**arguments)
            session_id = arguments["session_id"]
            for read in ("get_session", "get_conversations", "get_context_messages"):
                assert text(getattr(db, read)(session_id)) == text(getattr(oracle, read)(session_id))
        rows, expected = db.get_sessions(), oracle.get_sessions()
    assert [row["updated_at"] for row in rows] == [row["updated_at"] for row in expected]
    assert sorted(map(text, rows)) == sorted(map(text, expected))
