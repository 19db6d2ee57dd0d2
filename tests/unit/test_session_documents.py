"""How sessions, their messages, turns and participants are stored, with no store."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore.codec import from_micros
from mongostore.documents import session_participants, sessions
from mongostore.documents.mapping import StoredDocument
from mongostore.errors import DocumentTooLargeError, InvalidDocumentError, InvalidValueError
from mongostore.models import Message, Turn

NOW = 1_700_000_000_123_456
PRIVATE = "what somebody has said"


def message(**members: Any) -> StoredDocument:
    """Return a stored message."""
    return {**sessions.to_stored_message(Message(id="m", role="user", content="hi"), NOW), **members}


def session(**members: Any) -> StoredDocument:
    """Return a stored session of an older version, with what it must have alone."""
    base = {"_id": "n/s", "namespace": "n", "session_id": "s"}
    times = dict.fromkeys(("created_at", "updated_at", "active_at"), NOW)
    return {**base, **times, **members}


def test_a_message_without_times_is_stored_as_of_now() -> None:
    stored = sessions.to_stored_message(Message(role="user"), NOW)
    [read], _ = sessions.to_messages([(0, stored)])
    assert stored["created_at"] == NOW
    assert read.created_at == read.updated_at == from_micros(NOW)


def test_a_message_with_its_time_of_birth_alone_was_changed_last_then() -> None:
    stored = sessions.to_stored_message(Message(role="user", created_at=from_micros(5)), NOW)
    [read], _ = sessions.to_messages([(0, stored)])
    assert stored["created_at"] == 5
    assert read.created_at == read.updated_at == from_micros(5)


def test_the_position_of_a_message_is_not_stored() -> None:
    assert "position" not in sessions.to_stored_message(Message(role="user", position=3), NOW)


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"id": 1}, "id"),
        ({"id": "x" * 513}, "id"),
        ({"conversation_id": None}, "conversation_id"),
        ({"role": "\ud800"}, "role"),
        ({"content": {"a": [1, {2}]}}, "content.a[1]"),
        ({"data": []}, "data"),
        ({"metadata": {"a": object()}}, "metadata.a"),
        ({"metadata": {1: "a"}}, "metadata"),
        ({"created_at": from_micros(NOW).replace(tzinfo=None)}, "created_at"),
        ({"updated_at": "today"}, "updated_at"),
    ],
)
def test_a_message_that_cannot_be_stored_is_refused_by_the_path(members: dict[str, Any], path: str) -> None:
    odd = Message(role="user").model_copy(update=members)
    with pytest.raises(InvalidValueError) as refused:
        sessions.to_stored_message(odd, NOW)
    assert refused.value.path == path


def test_metadata_of_a_message_are_refused_above_their_limit() -> None:
    sessions.check_metadata_fit("m", {"a": "x" * (sessions.MAX_METADATA_BYTES - 100)})
    with pytest.raises(DocumentTooLargeError, match=r"^the metadata of message 'm' takes"):
        sessions.check_metadata_fit("m", {"a": "x" * sessions.MAX_METADATA_BYTES})


def test_data_of_a_session_are_refused_above_their_limit() -> None:
    with pytest.raises(DocumentTooLargeError, match=r"^the session's data takes") as refused:
        sessions.to_stored_members({"data": {"a": "x" * sessions.MAX_DATA_BYTES}})
    assert refused.value.limit == sessions.MAX_DATA_BYTES


@pytest.mark.parametrize("name", ["user_id", "name", "description"])
def test_a_member_of_a_session_that_is_none_is_stored_as_none(name: str) -> None:
    assert sessions.to_stored_members({name: None}) == {name: None}


@pytest.mark.parametrize(("name", "fits"), [("user_id", False), ("name", True), ("description", True)])
def test_of_the_texts_of_a_session_the_user_alone_is_as_short_as_an_id(name: str, fits: bool) -> None:
    long = "x" * 513
    if fits:
        assert sessions.to_stored_members({name: long}) == {name: long}
    else:
        with pytest.raises(InvalidValueError, match="longer than 512 bytes"):
            sessions.to_stored_members({name: long})


def test_messages_are_read_in_order_with_the_positions_that_they_are_given() -> None:
    read, errors = sessions.to_messages([(3, message(id="a")), (None, message(id="b")), (9, message(id="c"))])
    assert [(one.id, one.position) for one in read] == [("a", 3), ("b", None), ("c", 9)]
    assert errors == []


def test_a_message_that_was_changed_has_two_times() -> None:
    [read], _ = sessions.to_messages([(0, message(updated_at=NOW + 1))])
    assert (read.created_at, read.updated_at) == (from_micros(NOW), from_micros(NOW + 1))


@pytest.mark.parametrize("content", ["a text", "", None, {"a": 1}, ["a"], 0, False])
def test_a_content_of_any_kind_comes_back(content: Any) -> None:
    [read], _ = sessions.to_messages(
        [(0, sessions.to_stored_message(Message(role="user", content=content), NOW))]
    )
    assert read.content == content
    assert type(read.content) is type(content)


@pytest.mark.parametrize("odd", [{"role": 1}, {"created_at": PRIVATE}, {"data": PRIVATE}], ids=str)
def test_an_unreadable_message_hides_no_readable_one(odd: StoredDocument) -> None:
    positions = [(0, message(id="a")), (1, message(id="b", **odd)), (2, message(id="c"))]
    read, errors = sessions.to_messages(positions)
    assert [(one.id, one.position) for one in read] == [("a", 0), ("c", 2)]
    assert [(error.kind, error.id) for error in errors] == [("message", "b")]
    assert PRIVATE not in str(errors[0])


@pytest.mark.parametrize("odd", [None, "text", 1, [], {}])
def test_what_is_no_message_at_all_is_an_error_without_an_id(odd: Any) -> None:
    read, errors = sessions.to_messages([(0, odd)])
    assert read == []
    assert [error.id for error in errors] == ["None"]


def test_a_session_that_lacks_all_optional_members_is_read_with_their_defaults() -> None:
    read = sessions.to_session(session())
    assert (read.data, read.metadata, read.participants, read.count, read.revision) == ({}, {}, [], 0, 0)
    assert (read.last, read.has_context, read.deleted_at, read.user_id) == (None, False, None, None)


def test_a_session_whose_context_is_apart_has_one() -> None:
    assert sessions.to_session(session(context={"overflow": "key"})).has_context


def test_the_preview_of_a_message_is_the_start_of_its_text() -> None:
    stored = message(content="x" * 300)
    preview = sessions.to_stored_preview(stored)
    assert preview["text"] == "x" * 200
    assert {name: preview[name] for name in ("id", "role", "created_at")} == {
        name: stored[name] for name in ("id", "role", "created_at")
    }


def test_the_preview_of_a_packed_content_is_its_text() -> None:
    stored = sessions.to_stored_message(Message(role="user", content="half \ud800"), NOW)
    assert sessions.to_stored_preview(stored)["text"] == "half ?"


def test_what_is_no_chat_turn_is_refused_by_its_path() -> None:
    with pytest.raises(InvalidValueError, match=r"^turns\[0\]: must be a Turn, not Message$"):
        session_participants.to_stored_turn("turns[0]", Message(role="user"), NOW)  # type: ignore[arg-type]


def test_an_unreadable_turn_is_an_error_and_the_others_are_read() -> None:
    stored = session_participants.to_stored_turn("turns[0]", Turn(role="user", content=[1]), NOW)
    turns, errors = session_participants.to_turns(
        [{**stored, "number": 1}, {**stored, "number": 2, "role": [PRIVATE]}, {**stored, "number": 3}]
    )
    assert [(turn.number, turn.content, turn.created_at) for turn in turns] == [
        (1, [1], from_micros(NOW)),
        (3, [1], from_micros(NOW)),
    ]
    assert [(error.kind, error.id, error.fields) for error in errors] == [("turn", "2", ("role",))]
    assert PRIVATE not in str(errors)


def test_participants_are_stored_under_escaped_ids_with_bindings_of_their_own() -> None:
    bound = session_participants.bind_all(["a.b", "c"], 5, "t")
    assert list(bound) == ["a%2E;b", "c"]
    assert [(one["bound_at"], one["epoch"], one["turn_count"]) for one in bound.values()] == [
        (5, "t-0", 0),
        (5, "t-1", 0),
    ]


@pytest.mark.parametrize(
    ("ids", "path"), [("p", "participants"), (["a", "b", "a"], "participants"), (["a", 1], "participants[1]")]
)
def test_participants_that_cannot_be_bound_are_refused_by_the_path(ids: Any, path: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        session_participants.bind_all(ids, 5, "t")
    assert refused.value.path == path


def test_participants_are_read_in_the_order_of_binding_with_their_insights() -> None:
    bound = session_participants.bind_all(["b", "a"], 5, "t")
    read = session_participants.to_participants(session(participants=bound, insights={"a": [{"k": 1}]}))
    assert [(one.id, one.insights) for one in read] == [("b", []), ("a", [{"k": 1}])]


def test_unreadable_participants_are_refused_by_their_session() -> None:
    bound = session_participants.bind_all(["p"], 5, "t")
    bound["p"]["turn_count"] = PRIVATE
    with pytest.raises(InvalidDocumentError) as refused:
        session_participants.to_participants(session(participants=bound))
    assert (refused.value.kind, refused.value.id) == ("session", "n/s")
    assert refused.value.fields == ("0.turn_count",)
    assert PRIVATE not in str(refused.value)


def test_a_session_that_begins_anew_keeps_who_was_bound_when_and_nothing_of_what_they_said() -> None:
    bound = session_participants.bind_all(["a", "b"], 5, "old")
    bound["a"] |= {"turn_count": 3, "integrated_until": 1, "insight_count": 2, "insights_size": 9}
    anew = session_participants.truncated_fields(session(participants=bound, revision=4), "new")
    assert anew["participants"] == session_participants.bind_all(["a", "b"], 5, "new")
    assert (anew["data"], anew["revision"]) == ({}, 5)


def test_an_older_session_without_participants_can_begin_anew() -> None:
    anew = session_participants.truncated_fields(session(), "new")
    assert (anew["participants"], anew["revision"]) == ({}, 1)
