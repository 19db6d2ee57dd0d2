"""What a role message promises, on every engine."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import pytest

from mongostore import ConflictError, InvalidValueError, MongoStore, NotFoundError
from mongostore.adapters.threadmem import RoleMessage, RoleThread, V1RoleMessage
from mongostore.adapters.threadmem.db.models import RoleMessageRecord

URL = "https://example.com/a.png"
OTHER = "http://example.com/b.png"

pytestmark = pytest.mark.usefixtures("role_store")


def only(**columns: Any) -> RoleMessage:
    [found] = RoleMessage.find(**columns)
    return found


def text() -> str:
    """A text that no other test says."""
    return f"said {uuid4().hex}"


def test_making_a_message_saves_it() -> None:
    before = time.time()
    message = RoleMessage("user", text())
    assert len(message.id) == 22
    assert before - 1e-6 <= message.created <= time.time()
    assert (message.thread_id, message.images, message.private, message.metadata) == (None, [], False, None)
    assert message.private is False
    assert only(id=message.id).to_v1() == message.to_v1()


def test_a_message_has_what_it_was_given() -> None:
    home = uuid4().hex
    message = RoleMessage("user", text(), home, [URL], True, {"k": [None, 1.5]})
    found = only(id=message.id)
    assert found.to_v1() == message.to_v1()
    assert vars(found.to_v1()) == {
        "id": message.id,
        "role": "user",
        "text": message.text,
        "images": [URL],
        "private": True,
        "metadata": {"k": [None, 1.5]},
        "created": message.created,
        "thread_id": home,
    }


def test_a_message_may_say_nothing_in_no_role() -> None:
    message = RoleMessage("", "")
    assert only(id=message.id).to_v1() == message.to_v1()


@pytest.mark.parametrize("private", [True, False, None])
def test_private_is_kept_as_it_is(private: bool | None) -> None:
    assert only(id=RoleMessage("user", "", private=private).id).private is private


def test_messages_are_found_by_each_column() -> None:
    said, home = text(), uuid4().hex
    message = RoleMessage("user", said, home, [URL], True, {"k": 1})
    RoleMessage("assistant", said)
    row = message.to_record()
    for name in ("id", "role", "private", "created", "meta_data", "thread_id", "images"):
        found = RoleMessage.find(text=said, **{name: getattr(row, name)})
        assert [one.id for one in found] == [message.id], name
    for name in ("id", "role", "images", "meta_data", "thread_id"):
        assert RoleMessage.find(text=said, **{name: "other"}) == []
    assert RoleMessage.find(text=said, created=1.0) == []


def test_none_finds_only_what_is_null() -> None:
    said = text()
    bare = RoleMessage("user", said, private=None)
    RoleMessage("user", said, uuid4().hex, private=False, metadata={"k": 1})
    for name in ("thread_id", "private", "meta_data"):
        assert [one.id for one in RoleMessage.find(text=said, **{name: None})] == [bare.id], name
    for name in ("id", "role", "images", "created"):
        assert RoleMessage.find(text=said, **{name: None}) == []
    assert RoleMessage.find(id=bare.id, text=None) == []


@pytest.mark.parametrize("name", ["metadata", "ID", "_id", "$where", "kind", ""])
def test_what_is_no_column_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError, match="is none of id, role"):
        RoleMessage.find(**{name: 1})


def test_messages_are_found_in_the_order_of_their_creation() -> None:
    said = text()
    made = [RoleMessage("user", said) for _ in range(5)]
    made[3].created = made[0].created - 1
    made[3].save()
    assert [one.id for one in RoleMessage.find(text=said)] == [made[n].id for n in (3, 0, 1, 2, 4)]


def test_only_the_very_text_is_found() -> None:
    said = text()
    RoleMessage("user", said + ".")
    RoleMessage("user", said.upper())
    assert RoleMessage.find(text=said) == []
    assert RoleMessage.find(text="^said") == RoleMessage.find(text=5) == []


@pytest.mark.parametrize(
    "created", [0.0, -1.5, 1732132268.1234567, 2.0**33 + 0.1, 5, 1e-7, 1731000000.000001]
)
def test_the_time_is_exact_to_the_last_bit(created: float) -> None:
    message = RoleMessage("user", "")
    message.created = created
    message.save()
    assert repr(only(id=message.id).created) == repr(created)


def test_save_keeps_what_was_changed_in_place() -> None:
    message = RoleMessage("user", "", images=[URL], metadata={"k": {"l": [1]}})
    message.images.append(OTHER)
    assert message.metadata is not None
    message.metadata["k"]["l"].append(2)
    message.save()
    found = only(id=message.id)
    assert (found.images, found.metadata) == ([URL, OTHER], {"k": {"l": [1, 2]}})


@pytest.mark.parametrize(("old", "new"), [(1, True), (True, 1), (1, 1.0), (0, False), (0, None)])
def test_save_tells_apart_what_python_calls_equal(old: Any, new: Any) -> None:
    message = RoleMessage("user", "", metadata={"k": [old]})
    message.metadata = {"k": [new]}
    message.save()
    assert json.dumps(only(id=message.id).metadata) == json.dumps({"k": [new]})


def test_save_leaves_alone_what_it_did_not_change() -> None:
    message = RoleMessage("user", "mine", metadata={"k": 1})
    other = only(id=message.id)
    other.text, other.metadata = "theirs", None
    other.save()
    message.role = "assistant"
    message.save()
    found = only(id=message.id)
    assert (found.role, found.text, found.metadata) == ("assistant", "theirs", None)


def test_a_message_cannot_move_between_threads() -> None:
    message = RoleMessage("user", "", "one")
    message.thread_id = "two"
    with pytest.raises(ConflictError):
        message.save()
    assert only(id=message.id).thread_id == "one"


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


def test_a_row_holds_json_texts() -> None:
    message = RoleMessage("user", "", images=[URL], metadata={"key": "value"})
    row = message.to_record()
    assert isinstance(row, RoleMessageRecord)
    assert (row.images, row.meta_data) == (f'["{URL}"]', '{"key": "value"}')
    assert RoleMessage.from_record(row).to_v1() == message.to_v1()
    assert RoleMessage("user", "", metadata={}).to_record().meta_data is None


def test_other_forms_make_messages_and_save_nothing() -> None:
    schema = V1RoleMessage(id=uuid4().hex, role="user", text=text(), images=[URL], created=7.5)
    message = RoleMessage.from_v1(schema)
    again = RoleMessage.from_record(message.to_record())
    assert message.to_v1() == again.to_v1() == schema
    assert RoleMessage.find(text=schema.text) == []
    again.save()
    message.save()
    assert only(text=schema.text).to_v1() == schema


@pytest.mark.parametrize(
    ("said", "images", "content"),
    [
        ("", [], []),
        ("  ", [], []),
        (" a ", [], ["a"]),
        ("a", [URL], ["a", URL]),
        ("", [URL, OTHER], [URL, OTHER]),
        ("<image>", [URL], [URL]),
        ("a <image> b<image>", [URL, OTHER], ["a", URL, "b", OTHER]),
        ("<image><image>c", [URL, OTHER], [URL, OTHER, "c"]),
        ("<IMAGE>", [URL], ["<IMAGE>", URL]),
    ],
)
def test_a_message_is_told_to_openai(said: str, images: list[str], content: list[str]) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": part}}
        if part in images
        else {"type": "text", "text": part}
        for part in content
    ]
    assert RoleMessage("user", said, images=images).to_openai() == {"role": "user", "content": parts}


@pytest.mark.parametrize(("said", "images"), [("<image>", 0), ("<image>", 2), ("<image><image>", 1)])
def test_tags_have_to_be_as_many_as_images(said: str, images: int) -> None:
    message = RoleMessage("user", said, images=[URL] * images)
    tags = said.count("<image>")
    with pytest.raises(
        ValueError, match=rf"Number of <image> tags \({tags}\) must match number of images \({images}\)"
    ):
        message.to_openai()


def part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def said(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("content", "words", "images"),
    [
        ("hi", "hi", []),
        ("", "", []),
        (None, "", []),
        ([], "", []),
        ([said("a"), part(URL)], "a", [URL]),
        ([said("a"), said("b")], "a\nb", []),
        ([part(URL), said("a")], "<image>\na", [URL]),
        ([said("a"), part(URL), said("b"), part(OTHER)], "a\n<image>\nb\n<image>", [URL, OTHER]),
        ([said("a"), {"type": "input_audio", "input_audio": {}}], "a", []),
    ],
)
def test_openai_tells_a_message(content: Any, words: str, images: list[str]) -> None:
    message = RoleMessage.from_openai({"role": "user", "content": content, "tool_calls": []})
    found = only(id=message.id)
    assert (found.role, found.text, found.images, found.thread_id) == ("user", words, images, None)


def test_parts_come_back_from_openai_where_they_stood() -> None:
    content = [said("a"), part(URL), said("b"), said("c"), part(OTHER), said("d")]
    back = RoleMessage.from_openai({"role": "user", "content": content}).to_openai()["content"]
    assert back == [said("a"), part(URL), said("b\nc"), part(OTHER), said("d")]


@pytest.mark.parametrize("content", [{}, {"content": None}])
def test_an_assistant_that_calls_tools_may_say_nothing(content: dict[str, None]) -> None:
    called = RoleMessage.from_openai({"role": "assistant", "tool_calls": [{"id": "call"}], **content})
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


def test_swift_is_told_the_text_as_it_is() -> None:
    message = RoleMessage("user", " <image> puppy ", images=[URL])
    messages = [{"role": "user", "content": " <image> puppy "}]
    assert message.to_swift3() == {"messages": messages, "images": [URL]}


def test_messages_of_other_kinds_are_not_found(role_store: MongoStore) -> None:
    other = uuid4().hex
    role_store.messages.merge("chat", other, content="hi", data={"role": "user"}, begins=True)
    assert RoleMessage.find(id=other) == RoleMessage.find(thread_id="chat") == []
