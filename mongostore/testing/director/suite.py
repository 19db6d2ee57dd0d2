"""Director's contract for a database."""

from __future__ import annotations

import inspect
import time
from typing import Any

import pytest

from mongostore.testing.director.oracle import MESSAGE_ROW, ROW
from mongostore.testing.director.parallel import ParallelSuite
from mongostore.testing.director.parts import ids, say, text
from mongostore.testing.director.values import ValueSuite


class DatabaseSuite(ValueSuite, ParallelSuite):
    """The contract of a backend of Director's database.

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
        existing = {"conversation": conversation, "context": context, "session": session}
        failed = [name for name, has_matched in existing.items() if not has_matched]
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

    def test_health_check_is_true_where_the_database_answers(self, db: Any) -> None:
        assert db.health_check() is True
        assert db.get_sessions() == []
