"""How threads, their messages, feedback and elements are stored, with no store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mongostore.arguments import check_vote
from mongostore.codec import from_micros
from mongostore.documents import threads
from mongostore.documents.mapping import StoredDocument
from mongostore.errors import DocumentTooLargeError, InvalidDocumentError, InvalidValueError
from mongostore.models import Element, Feedback, ThreadMessage
from mongostore.repositories.threads.bulk import ThreadMessageBatches

NOW = 1_700_000_000_123_456
PRIVATE = "what somebody has said"


def message(**members: Any) -> StoredDocument:
    """Return a stored message of an older version, with what it must have alone."""
    return {"_id": "m", "created_at": NOW, **members}


def test_a_thread_that_lacks_all_optional_members_is_read_with_their_defaults() -> None:
    read = threads.to_thread({"_id": "t", "created_at": NOW, "active_at": NOW + 1})
    assert (read.kind, read.user_id, read.name, read.tags, read.data) == (None, None, None, [], {})
    assert (read.created_at, read.active_at) == (from_micros(NOW), from_micros(NOW + 1))


def test_a_name_that_no_utf8_can_say_comes_back() -> None:
    stored = threads.to_stored_thread_member("name", "half \ud800")
    assert stored != "half \ud800"
    read = threads.to_thread({"_id": "t", "created_at": NOW, "active_at": NOW, "name": stored})
    assert read.name == "half \ud800"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("tags", ["a", ""]), ("tags", []), ("user_id", "u"), ("kind", None), ("kind", "k")),
        *(("owner_id", None), ("name", None), ("name", "n" * 1000)),
    ],
)
def test_a_member_of_a_thread_that_bson_holds_is_stored_as_it_is(name: str, value: Any) -> None:
    assert threads.to_stored_thread_member(name, value) == value


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("tags", "a", "tags"),
        ("tags", ["a", 1], "tags[1]"),
        ("user_id", None, "user_id"),
        ("kind", 1, "kind"),
        ("owner_id", "x" * 513, "owner_id"),
        ("name", 1, "name"),
        ("name", ["n"], "name"),
    ],
)
def test_a_member_of_a_thread_that_does_not_fit_is_refused_by_its_path(
    name: str, value: Any, path: str
) -> None:
    with pytest.raises(InvalidValueError) as refused:
        threads.to_stored_thread_member(name, value)
    assert refused.value.path == path


def test_a_message_that_lacks_all_optional_members_is_read_with_their_defaults() -> None:
    read = threads.to_thread_message(message())
    assert (read.thread_id, read.content, read.data, read.pinned, read.feedback) == (
        None,
        None,
        {},
        False,
        None,
    )


def test_data_of_a_message_are_stored_key_by_key_under_their_paths() -> None:
    assert threads.to_stored_message_members({"data": {"a.b": 1, "c": {"d": 2}}}) == {
        "data.a%2E;b": 1,
        "data.c": {"d": 2},
    }


def test_a_time_that_the_caller_has_given_is_marked_as_theirs() -> None:
    assert threads.to_stored_message_members({"created_at": from_micros(7)}) == {
        "created_at": 7,
        "has_created_at": True,
    }
    assert threads.to_stored_message_members({"pinned": False}) == {"pinned": False}


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"data": {"a": {1}}}, "data.a"),
        ({"content": [1j]}, "content[0]"),
        ({"pinned": 1}, "pinned"),
        ({"created_at": "today"}, "created_at"),
        ({"kind": 1}, "kind"),
        ({"parent_id": "x" * 513}, "parent_id"),
    ],
)
def test_a_member_of_a_message_that_does_not_fit_is_refused_by_its_path(
    members: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidValueError) as refused:
        threads.to_stored_message_members(members)
    assert refused.value.path == path


def test_a_message_that_no_document_can_hold_is_refused() -> None:
    message = ThreadMessage(id="m", content="x" * 2**24, created_at=datetime.now(UTC))
    with pytest.raises(DocumentTooLargeError, match=r"^message 'm', of which content, data count, takes"):
        ThreadMessageBatches.check(message)


def test_feedback_that_no_message_has_room_for_is_refused() -> None:
    with pytest.raises(DocumentTooLargeError, match=r"^the feedback on message 'm' takes"):
        threads.to_stored_feedback(Feedback(message_id="m", value=1, comment="x" * 65536))


@pytest.mark.parametrize("value", [0, 1, -(2**63), 2**63 - 1])
def test_a_vote_is_an_integer_of_64_bits(value: int) -> None:
    assert check_vote("value", value) == value


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 2**63, -(2**63) - 1])
def test_what_is_no_integer_of_64_bits_is_no_vote(value: object) -> None:
    with pytest.raises(InvalidValueError, match=r"^value: must be an integer of at most 64 bits$"):
        check_vote("value", value)


@pytest.mark.parametrize(
    ("members", "path"), [({"id": 1}, "id"), ({"value": True}, "value"), ({"comment": 1}, "comment")]
)
def test_feedback_that_does_not_fit_is_refused_by_its_path(members: dict[str, Any], path: str) -> None:
    feedback = Feedback(message_id="m", value=1).model_copy(update=members)
    with pytest.raises(InvalidValueError) as refused:
        threads.to_stored_feedback(feedback)
    assert refused.value.path == path


@pytest.mark.parametrize("comment", [None, "", "so so"])
def test_feedback_comes_back_as_that_of_the_message_that_holds_it(comment: str | None) -> None:
    feedback = Feedback(message_id="m", value=-1, comment=comment)
    stored = threads.to_stored_feedback(feedback)
    assert "message_id" not in stored
    feedback = feedback.model_copy(update={"thread_id": "t"})
    document = message(feedback=stored, thread_id="t")
    assert threads.to_feedback(document) == threads.to_thread_message(document).feedback == feedback


@pytest.mark.parametrize("feedback", [{"id": "f", "value": PRIVATE}, {"id": PRIVATE}, PRIVATE, 1])
def test_a_message_with_unreadable_feedback_is_refused_in_our_words(feedback: Any) -> None:
    with pytest.raises(InvalidDocumentError) as refused:
        threads.to_thread_message(message(feedback=feedback))
    assert (refused.value.kind, refused.value.id) == ("message", "m")
    assert PRIVATE not in str(refused.value)


@pytest.mark.parametrize("name", ["id", "thread_id", "message_id", "file_key"])
def test_an_id_of_an_element_that_is_too_long_is_refused_by_its_name(name: str) -> None:
    element = Element(thread_id="t", message_id="m").model_copy(update={name: "x" * 513})
    with pytest.raises(InvalidValueError) as refused:
        threads.to_stored_element(element)
    assert refused.value.path == name
