"""The values that come back from a database of Director."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mongostore.testing.director.oracle import OPERATIONS, SESSION_IDS, Oracle, Status
from mongostore.testing.director.parts import ids, nested, say, text


def assert_plain(value: Any) -> None:
    assert type(value) in (dict, list, str, int, float, bool, type(None))
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_plain(item)


class ValueSuite:
    """The values that come back: those of JSON text.

    Fixtures:
        db: The database, an empty one for each test.
    """

    @pytest.mark.parametrize(
        ("sent", "back"),
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
    def test_values_come_back_as_out_of_json_text(self, db: Any, sent: Any, back: Any) -> None:
        expected = text(sent if back is ... else back)
        db.create_session("s", metadata=sent)
        say(db, content=sent, agents=sent, actions=sent, metadata=sent)
        db.add_or_update_context_msg("s", sent)
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

    @pytest.mark.parametrize("seconds", [0, -1, 2**33])
    def test_any_second_is_kept(self, db: Any, seconds: int) -> None:
        db.create_session("s", created_at=seconds, updated_at=seconds)
        say(db, created_at=seconds, updated_at=seconds)
        for row in (db.get_session("s"), *db.get_conversations("s")):
            assert (row["created_at"], row["updated_at"]) == (seconds, seconds)

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
        sent: dict[str, Any] = {"list": [1]}
        db.create_session("s", metadata=sent)
        say(db, content=sent)
        db.add_or_update_context_msg("s", sent)
        sent["list"].append(2)
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
