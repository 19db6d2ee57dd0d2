"""What a role message promises, on every engine."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from mongostore import ConflictError, InvalidValueError, MongoStore, NotFoundError
from mongostore.adapters.threadmem import RoleMessage, RoleThread, V1RoleMessage
from mongostore.adapters.threadmem.db.models import RoleMessageRecord
from mongostore.testing.threadmem.openai import part, text_part
from mongostore.testing.threadmem.parts import OTHER, URL, again, ids, text

pytestmark = pytest.mark.usefixtures("role_store")


def test_a_message_may_be_neither_private_nor_not() -> None:
    words = text()
    bare = RoleMessage("user", words, private=None)
    RoleMessage("user", words, private=False)
    assert again(bare).private is None
    assert ids(RoleMessage.find(text=words, private=None)) == [bare.id]
    schema = V1RoleMessage(id=uuid4().hex, role="user", text=text(), created=7.5)
    assert schema.private is None
    message = RoleMessage.from_v1(schema)
    assert message.to_v1() == RoleMessage.from_record(message.to_record()).to_v1() == schema
    message.save()
    assert again(message).to_v1() == schema


@pytest.mark.parametrize("name", ["metadata", "ID", "_id", "$where", "kind", ""])
def test_what_is_no_column_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError, match="is none of id, role"):
        RoleMessage.find(**{name: 1})


def test_what_is_no_text_finds_nothing() -> None:
    assert RoleMessage.find(text=5) == []


def test_a_time_in_whole_seconds_comes_back_as_such() -> None:
    message = RoleMessage("user", "")
    message.created = 5
    message.save()
    assert repr(again(message).created) == "5"


def test_save_leaves_alone_what_it_did_not_change() -> None:
    message = RoleMessage("user", "mine", metadata={"k": 1})
    other = again(message)
    other.text, other.metadata = "theirs", None
    other.save()
    message.role = "assistant"
    message.save()
    found = again(message)
    assert (found.role, found.text, found.metadata) == ("assistant", "theirs", None)


def test_a_message_cannot_move_between_threads() -> None:
    message = RoleMessage("user", "", "one")
    message.thread_id = "two"
    with pytest.raises(ConflictError):
        message.save()
    assert again(message).thread_id == "one"


def test_a_message_of_a_deleted_thread_cannot_be_saved() -> None:
    thread = RoleThread()
    thread.post("user", "hi")
    [message] = thread.messages()
    thread.delete()
    message.text = "again"
    with pytest.raises(NotFoundError):
        message.save()
    with pytest.raises(NotFoundError):
        RoleMessage("user", "", thread.id)
    assert RoleMessage.find(thread_id=thread.id) == []


def test_a_row_is_a_record_by_threadmems_name() -> None:
    assert isinstance(RoleMessage("user", "").to_record(), RoleMessageRecord)


@pytest.mark.parametrize(
    ("content", "words", "images"),
    [
        ([text_part("a"), text_part("b")], "a\nb", []),
        ([part(URL), text_part("a")], "<image>\na", [URL]),
        ([text_part("a"), part(URL), text_part("b"), part(OTHER)], "a\n<image>\nb\n<image>", [URL, OTHER]),
    ],
)
def test_openai_tells_where_the_parts_of_a_message_stand(content: Any, words: str, images: list[str]) -> None:
    message = RoleMessage.from_openai({"role": "user", "content": content, "tool_calls": []})
    found = again(message)
    assert (found.role, found.text, found.images, found.thread_id) == ("user", words, images, None)


def test_parts_come_back_from_openai_where_they_stood() -> None:
    content = [text_part("a"), part(URL), text_part("b"), text_part("c"), part(OTHER), text_part("d")]
    back = RoleMessage.from_openai({"role": "user", "content": content}).to_openai()["content"]
    assert back == [text_part("a"), part(URL), text_part("b\nc"), part(OTHER), text_part("d")]


def test_an_assistant_that_calls_tools_needs_no_content() -> None:
    called = RoleMessage.from_openai({"role": "assistant", "tool_calls": [{"id": "call"}]})
    assert (called.role, called.text, called.images) == ("assistant", "", [])


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"role": "user"},
        {"role": "tool", "tool_call_id": "call"},
        {"content": "hi"},
        {"role": 5, "content": "hi"},
        {"role": "user", "content": 5},
        {"role": "user", "content": {"type": "text"}},
        {"role": "user", "content": ["hi"]},
        {"role": "user", "content": [{"type": "text"}]},
        {"role": "user", "content": [{"type": "text", "text": None}]},
        {"role": "user", "content": [{"text": "hi"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": None}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": URL}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": 5}}]},
        {"role": "user", "content": "\ud800"},
        None,
        "hi",
    ],
)
def test_what_is_no_message_of_openais_is_refused(message: Any) -> None:
    with pytest.raises(InvalidValueError):
        RoleMessage.from_openai(message)


def test_messages_of_other_kinds_are_not_found(role_store: MongoStore) -> None:
    other = uuid4().hex
    role_store.threads.messages.merge("chat", other, content="hi", data={"role": "user"}, only_missing=True)
    assert RoleMessage.find(id=other) == RoleMessage.find(thread_id="chat") == []
