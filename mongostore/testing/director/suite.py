"""What Director asks of a database, whatever it is kept in."""

from __future__ import annotations

import asyncio
import inspect
import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mongostore.testing.director.oracle import MESSAGE_ROW, OPERATIONS, ROW, SESSION_IDS, Oracle, Status


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


def assert_plain(value: Any) -> None:
    assert type(value) in (dict, list, str, int, float, bool, type(None))
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_plain(item)


class DatabaseSuite:
    """What a backend of Director's database has to do.

    Fixtures:
        db: The database, an empty one for each test.
    """

    def test_every_method_of_the_base_class_is_there(self, db: Any) -> None:
        """Each takes what the base class declares, by the same names and in the same order."""
        [base] = [one for one in type(db).__mro__ if one.__name__ == "BaseDB"]
        assert not inspect.isabstract(type(db))
        abstract = [(name, one) for name, one in vars(base).items() if hasattr(one, "__isabstractmethod__")]
        for name, method in abstract:
            declared = inspect.signature(method).parameters
            taken = inspect.signature(getattr(type(db), name)).parameters
            assert [*taken][: len(declared)] == [*declared], name

    def test_session_row_is_exactly_what_was_given(self, db: Any) -> None:
        db.create_session("s", "video", "collection", 11, 22, {"user": ["x"]})
        row = db.get_session("s")
        assert list(row) == ROW
        assert list(row.values()) == ["s", "video", "collection", 11, 22, {"user": ["x"]}]
        assert db.get_sessions() == [row]

    def test_session_needs_nothing_but_its_id(self, db: Any) -> None:
        before = int(time.time())
        db.create_session("s")
        row = db.get_session("s")
        assert (row["video_id"], row["collection_id"], row["metadata"]) == (None, None, {})
        assert before <= row["created_at"] <= row["updated_at"] <= time.time()
        assert type(row["created_at"]) is type(row["updated_at"]) is int

    def test_session_that_is_there_is_left_entirely_as_it_is(self, db: Any) -> None:
        db.create_session("s", "video", "collection", 11, 22, {"a": 1})
        before = db.get_session("s")
        db.create_session("s", "other", None, 33, 44, {"b": 2})
        db.create_session("s")
        assert db.get_session("s") == before
        assert db.get_sessions() == [before]

    def test_what_is_given_beyond_the_parameters_is_never_touched(self, db: Any) -> None:
        beyond = {"db": db, "conversations": [object()], "state": {object(): 1}, "output_message": object()}
        db.create_session("s", conv_id="c", reasoning_context=[], **beyond)
        say(db, **beyond)
        db.add_or_update_context_msg("s", {"reasoning": []}, **beyond)
        assert list(db.get_session("s")) == ROW
        assert list(db.get_conversations("s")[0]) == MESSAGE_ROW

    def test_unknown_session_gives_new_empty_values(self, db: Any) -> None:
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

    def test_empty_id_is_an_id(self, db: Any) -> None:
        db.create_session("")
        say(db, "", session_id="", conv_id="")
        assert db.get_session("")["session_id"] == ""
        assert ids(db, "") == [""]

    def test_sessions_are_listed_by_updated_at_and_then_newest_first(self, db: Any) -> None:
        for session_id, updated_at in (("a", 5), ("b", 9), ("c", 5), ("d", 1), ("e", 5)):
            db.create_session(session_id, updated_at=updated_at)
        say(db, session_id="d")
        db.add_or_update_context_msg("a", {})
        assert [row["session_id"] for row in db.get_sessions()] == ["b", "e", "c", "a", "d"]

    def test_all_sessions_are_listed(self, db: Any) -> None:
        for n in range(230):
            db.create_session(str(n), updated_at=n)
        assert [row["session_id"] for row in db.get_sessions()] == [str(n) for n in range(229, -1, -1)]

    def test_message_row_is_exactly_what_was_given(self, db: Any) -> None:
        content = [{"type": "text", "text": "hi"}]
        db.add_or_update_msg_to_conv(
            "s", "c", "m", "input", ["agent"], ["action"], content, "success", 11, 22, {"k": 1}
        )
        (row,) = db.get_conversations("s")
        assert list(row) == MESSAGE_ROW
        assert list(row.values()) == [
            "s", "c", "m", "input", ["agent"], ["action"], content, "success", 11, 22, {"k": 1}
        ]  # fmt: skip

    def test_message_is_replaced_whole(self, db: Any) -> None:
        say(db, content=[1, 2], agents=["a"], actions=["b"], status="progress", metadata={"k": 1})
        say(db, content=[], conv_id="other", msg_type="input")
        (row,) = db.get_conversations("s")
        assert (row["conv_id"], row["msg_type"], row["content"]) == ("other", "input", [])
        assert (row["agents"], row["actions"], row["status"], row["metadata"]) == ([], [], None, {})

    def test_message_keeps_created_at_when_it_is_updated(self, db: Any) -> None:
        say(db, created_at=11, updated_at=22)
        say(db, created_at=33, updated_at=44)
        assert [(row["created_at"], row["updated_at"]) for row in db.get_conversations("s")] == [(11, 44)]
        before = int(time.time())
        say(db)
        (row,) = db.get_conversations("s")
        assert row["created_at"] == 11
        assert before <= row["updated_at"] <= time.time()

    def test_message_without_updated_at_has_the_present_one(self, db: Any) -> None:
        before = int(time.time())
        say(db, created_at=11)
        (row,) = db.get_conversations("s")
        assert row["created_at"] == 11
        assert before <= row["updated_at"] <= time.time()

    @pytest.mark.parametrize("seconds", [0, -1, 2**33])
    def test_any_second_is_kept(self, db: Any, seconds: int) -> None:
        db.create_session("s", created_at=seconds, updated_at=seconds)
        say(db, created_at=seconds, updated_at=seconds)
        for row in (db.get_session("s"), *db.get_conversations("s")):
            assert (row["created_at"], row["updated_at"]) == (seconds, seconds)

    def test_messages_stay_in_order_of_insertion(self, db: Any) -> None:
        expected = [str(n) for n in range(150)]
        for n in range(150):
            say(db, str(n), created_at=1000 - n)
        for n in (0, 70, 149, 3):
            say(db, str(n), content="again")
        assert ids(db) == expected
        assert [row["msg_id"] for row in db.get_conversations("s") if row["content"] == "again"] == [
            "0", "3", "70", "149"
        ]  # fmt: skip

    def test_one_message_id_in_two_sessions_is_two_messages(self, db: Any) -> None:
        say(db, session_id="one", content=1)
        say(db, session_id="two", content=2)
        say(db, session_id="one", content=3)
        assert [db.get_conversations(name)[0]["content"] for name in ("one", "two")] == [3, 2]

    def test_messages_and_context_may_come_before_their_session(self, db: Any) -> None:
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
    def test_context_comes_back_in_its_shape(self, db: Any, context: Any) -> None:
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
        self, db: Any, conversation: bool, context: bool, session: bool
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

    def test_parts_that_are_deleted_are_missed_by_delete_session(self, db: Any) -> None:
        db.create_session("s")
        say(db)
        db.add_or_update_context_msg("s", {})
        assert db.delete_conversation("s") is True
        assert db.delete_conversation("s") is False
        assert db.delete_context("s") is True
        assert db.get_session("s")["session_id"] == "s"
        assert db.delete_session("s") == (True, ["conversation", "context"])

    def test_deleted_session_begins_anew(self, db: Any) -> None:
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
    def test_values_come_back_as_out_of_json_text(self, db: Any, given: Any, back: Any) -> None:
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

    def test_enum_members_are_stored_as_plain_strings(self, db: Any) -> None:
        say(db, msg_type=Status.PROGRESS, status=Status.PROGRESS)
        say(db, "other", content=[{"status": Status.PROGRESS}], agents=[Status.PROGRESS])
        rows = db.get_conversations("s")
        assert (rows[0]["msg_type"], rows[0]["status"]) == ("progress", "progress")
        assert_plain(rows)

    @pytest.mark.parametrize("session_id", ["a/b", "/", "$where", "a.b", "\0", "é", "\U0001f600", "x" * 512])
    def test_any_plain_string_is_an_id(self, db: Any, session_id: str) -> None:
        db.create_session(session_id)
        say(db, session_id, session_id=session_id, conv_id=session_id)
        say(db, session_id, session_id=session_id, conv_id=session_id)
        db.add_or_update_context_msg(session_id, session_id)
        assert db.get_sessions()[0]["session_id"] == db.get_session(session_id)["session_id"] == session_id
        (row,) = db.get_conversations(session_id)
        assert row["session_id"] == row["conv_id"] == row["msg_id"] == session_id
        assert db.get_context_messages(session_id) == session_id
        assert db.delete_session(session_id) == (True, [])

    def test_what_is_given_and_what_comes_back_belong_to_the_caller(self, db: Any) -> None:
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

    def test_five_megabytes_are_written_over_and_over(self, db: Any) -> None:
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

    def test_parallel_threads_stream_into_one_session(self, db: Any) -> None:
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

    def test_writing_and_reading_stand_parallel_deletion(self, db: Any) -> None:
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

    def test_racing_creators_leave_one_whole_row(self, db: Any) -> None:
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

    def test_may_be_used_inside_running_loops(self, db: Any) -> None:
        def in_a_loop_of_its_own(name: str) -> None:
            async def use() -> None:
                say(db, name)
                await asyncio.sleep(0)
                assert name in ids(db)

            for _ in range(3):
                asyncio.run(use())

        in_a_loop_of_its_own("here")
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(in_a_loop_of_its_own, "abc"))
        assert sorted(ids(db)) == ["a", "b", "c", "here"]

    def test_health_check_is_true_where_the_database_answers(self, db: Any) -> None:
        assert db.health_check() is True
        assert db.get_sessions() == []

    @settings(
        max_examples=60,
        deadline=None,
        database=None,
        suppress_health_check=[
            HealthCheck.differing_executors,
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
        ],
    )
    @given(operations=st.lists(OPERATIONS, max_size=12))
    def test_answers_are_those_of_json_text_in_sqlite(
        self, db: Any, operations: list[tuple[str, dict[str, Any]]]
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
