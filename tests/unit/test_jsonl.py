"""The lines of import and export files, with no store."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mongostore.importers.jsonl import (
    LineError,
    MessageLine,
    SessionLine,
    line_digest,
    message_members,
    read_line,
    session_members,
    write_line,
)
from mongostore.models import Message, Session

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
PRIVATE = "what somebody has said"


def line(**members: Any) -> bytes:
    """Return a line of members."""
    return json.dumps(members).encode()


def read_message(**members: Any) -> MessageLine:
    """Return what a line of a message holds."""
    read = read_line(line(**members))
    assert isinstance(read, MessageLine)
    return read


def read_session(**members: Any) -> SessionLine:
    """Return what a line of a conversation holds."""
    read = read_line(line(**members))
    assert isinstance(read, SessionLine)
    return read


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"\xff", "not UTF-8 text"),
        (b'{"role": ', "not JSON, from column 10 on"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"role": 1' + b"0" * 5000 + b"}", "a number has too many digits"),
        (line(content=PRIVATE), "role: Field required"),
        (line(role={"said": PRIVATE}), "role: Input should be a valid string"),
        (line(role="user", session_id=1), "session_id: not a string"),
        (line(messages=PRIVATE), "messages: not a list"),
        (line(messages=[{"role": "user"}, PRIVATE]), "messages[1]: not a JSON object"),
        (line(messages=[{"role": [PRIVATE]}]), "messages[0].role: Input should be a valid string"),
        (line(messages=[], metadata=PRIVATE), "metadata: Input should be a valid dictionary"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_without_its_text(text: bytes, reason: str) -> None:
    with pytest.raises(LineError) as refused:
        read_line(text)
    assert str(refused.value) == reason


def test_a_mark_of_byte_order_is_passed_over() -> None:
    assert isinstance(read_line(b"\xef\xbb\xbf" + line(role="user")), MessageLine)


def test_members_that_are_not_ours_go_into_the_data_beside_those_that_are_there() -> None:
    read = read_message(role="tool", content="x", tool_call_id="c", data={"a": 1})
    assert read.message.data == {"a": 1, "tool_call_id": "c"}


def test_null_is_as_good_as_absent_for_our_members_and_kept_among_others() -> None:
    read = read_message(role="user", id=None, metadata=None, refusal=None)
    assert (read.message.metadata, read.message.data) == ({}, {"refusal": None})
    assert read.digest is not None


def test_a_message_with_an_id_needs_no_digest_and_one_without_has_that_of_its_content() -> None:
    assert read_message(role="user", id="m").digest is None
    one, same, other = (read_message(role="user", content=text) for text in ("a", "a", "b"))
    assert one.digest == same.digest != other.digest
    assert one.digest == read_message(role="user", content="a", session_id="s").digest


def test_messages_of_a_conversation_without_ids_have_the_same_ones_each_time() -> None:
    first, again = (read_session(messages=[{"role": "user"}, {"role": "user"}]) for _ in range(2))
    ids = [message.id for message in first.messages]
    assert ids == [message.id for message in again.messages]
    assert len({*ids}) == 2
    assert first.id == again.id != read_session(messages=[]).id


def test_a_conversation_has_its_members_and_its_context() -> None:
    read = read_session(id="s", name="n", context=None, messages=[], model="m")
    assert (read.id, read.members["name"], read.members["data"]) == ("s", "n", {"model": "m"})
    assert read.context == [None]
    assert read_session(messages=[]).context == []


@pytest.mark.parametrize(
    "message",
    [
        Message(id="m", role="user", created_at=NOON, updated_at=NOON),
        Message(
            id="m",
            role="tool",
            content=[{"text": "é"}],
            conversation_id="c",
            data={"tool_call_id": "c", "null": None},
            metadata={"a": 1},
            created_at=NOON,
            updated_at=NOON.replace(hour=13),
        ),
        *(
            Message(id="m", role="user", created_at=NOON, updated_at=NOON, data={name: "x", "b": 1})
            for name in ("role", "id", "content", "data", "session_id", "messages", "created_at")
        ),
    ],
    ids=lambda message: ",".join(message.data) or "least",
)
def test_a_message_comes_back_equal_through_its_line(message: Message) -> None:
    read = read_line(write_line(message_members(message)))
    assert isinstance(read, MessageLine)
    times = {"updated_at": message.updated_at}
    assert read.message.model_copy(update=times if read.message.updated_at is None else {}) == message


def test_members_that_say_nothing_are_not_written() -> None:
    assert message_members(Message(id="m", role="user", content=None)) == {
        "role": "user",
        "content": None,
        "id": "m",
    }
    session = Session(id="s", created_at=NOON, updated_at=NOON, active_at=NOON)
    assert session_members(session) == {"id": "s", "created_at": "2024-02-29T12:00:00.000000+00:00"}


def test_a_line_is_readable_where_utf8_can_say_it_and_escaped_where_it_cannot() -> None:
    assert write_line({"a": "é\n"}) == '{"a": "é\\n"}\n'.encode()
    assert write_line({"a": "\ud800"}) == b'{"a": "\\ud800"}\n'


def test_a_digest_does_not_depend_on_the_order_of_members() -> None:
    assert line_digest({"a": 1, "b": 2}) == line_digest({"b": 2, "a": 1})
    assert line_digest("a", 1) != line_digest("a", "1")
