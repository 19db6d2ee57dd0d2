"""What a change sets and removes in one message, as an update says it."""

from __future__ import annotations

from typing import Any

import bson
import pytest

from mongostore.codec import decode, decode_members
from mongostore.documents.mapping import StoredDocument
from mongostore.engines.embedded.engine import EmbeddedEngine
from mongostore.errors import DocumentTooLargeError, InvalidValueError
from mongostore.repositories.sessions.message_patch import MessagePatch

BIG = 2**70


def patch(**members: Any) -> MessagePatch:
    return MessagePatch.from_members("m1", members)


def test_nothing_changes_nothing_but_the_count_of_edits() -> None:
    nothing = patch()

    assert nothing == MessagePatch({})
    assert nothing.update("size") == {"$set": {}, "$inc": {"edit_count": 1, "size": nothing.size}}
    assert nothing.preview() == {}


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("conversation_id", "c", "c"),
        ("role", "user", "user"),
        ("content", "text", "text"),
        ("content", None, None),
        ("content", [{"type": "text", "text": "a"}], [{"type": "text", "text": "a"}]),
        ("content", BIG, {"__json__": str(BIG)}),
        ("content", {"a.b": 1}, {"a.b": 1}),
        ("data", {}, {}),
        ("data", {"$a": BIG}, {"$a": {"__json__": str(BIG)}}),
    ],
)
def test_a_member_is_set_in_its_stored_form(name: str, value: object, stored: object) -> None:
    made = patch(**{name: value})

    assert made == MessagePatch({name: stored})
    assert made.update("size")["$set"] == {f"messages.$.{name}": stored}


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("conversation_id", 7, "conversation_id"),
        ("conversation_id", "x" * 513, "conversation_id"),
        ("role", None, "role"),
        ("role", "\ud800", "role"),
        ("content", {"a": [object()]}, "content.a[0]"),
        ("data", None, "data"),
        ("data", ["a"], "data"),
        ("data", {"a": b""}, "data.a"),
        ("metadata", None, "metadata"),
        ("metadata", {1: "a"}, "metadata"),
        ("metadata", {"a": {"b": b""}}, "metadata.a.b"),
    ],
)
def test_a_member_that_cannot_be_stored_is_named(name: str, value: object, path: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        patch(**{name: value})

    assert refused.value.path == path


def test_a_role_may_be_longer_than_an_id() -> None:
    assert patch(role="x" * 513).members == {"role": "x" * 513}


def test_metadata_of_more_than_a_mebibyte_are_too_large() -> None:
    with pytest.raises(DocumentTooLargeError, match=r"^the metadata of message 'm1' takes "):
        patch(metadata={"a": "x" * 2**20})


def test_metadata_are_merged_key_by_key_and_none_removes_one() -> None:
    made = patch(metadata={"a": 1, "b.c": BIG, "": {"x": None}, "gone": None, "$x": None})

    assert made.members == {}
    assert decode_members(made.metadata) == {"a": 1, "b.c": BIG, "": {"x": None}}
    assert made.unset == ["gone", "%24;x"]
    assert made.update("size") == {
        "$set": {
            "messages.$.metadata.a": 1,
            "messages.$.metadata.b%2E;c": {"__json__": str(BIG)},
            "messages.$.metadata.%;": {"x": None},
        },
        "$inc": {"edit_count": 1, "size": made.size},
        "$unset": {"messages.$.metadata.gone": "", "messages.$.metadata.%24;x": ""},
    }


@pytest.mark.parametrize("metadata", [{}, {"a": 1}])
def test_where_nothing_is_removed_nothing_is_said_of_it(metadata: StoredDocument) -> None:
    assert "$unset" not in patch(metadata=metadata).update("size")


def test_metadata_among_the_members_replace_the_whole() -> None:
    whole = MessagePatch({"metadata": {"a": 1}})

    assert whole.update("size")["$set"] == {"messages.$.metadata": {"a": 1}}


@pytest.mark.parametrize(
    "members",
    [
        {"content": "x" * 1000},
        {"content": BIG, "role": "user"},
        {"metadata": {"a": "é" * 1000, "b.c": 1}},
        {"data": {"a": [1, 2]}, "metadata": {"a": None}},
    ],
)
@pytest.mark.parametrize("message", [{}, {"content": "before", "role": "r", "metadata": {"a": "before"}}])
async def test_a_message_grows_by_no_more_than_the_size_that_is_added(
    message: StoredDocument, members: StoredDocument
) -> None:
    things = EmbeddedEngine("", "patches").database["things"]
    before = {"id": "m1", "metadata": {}, **message}
    await things.insert_one({"_id": "s", "edit_count": 0, "kept": 100, "messages": [{"id": "m0"}, before]})
    made = MessagePatch.from_members("m1", members)

    await things.update_one({"_id": "s", "messages.id": "m1"}, made.update("kept"))

    changed = await things.find_one({"_id": "s"})
    assert changed is not None
    other, after = changed["messages"]
    assert (changed["edit_count"], changed["kept"], other) == (1, 100 + made.size, {"id": "m0"})
    assert len(bson.encode(after)) - len(bson.encode(before)) <= made.size
    for name in members.keys() - {"metadata"}:
        assert decode(after[name]) == members[name]
    merged = {**message.get("metadata", {}), **members.get("metadata", {})}
    assert decode_members(after["metadata"]) == {
        key: value for key, value in merged.items() if value is not None
    }


@pytest.mark.parametrize(
    ("members", "preview"),
    [
        ({"role": "user"}, {"last.role": "user"}),
        ({"conversation_id": "c"}, {"last.conversation_id": "c"}),
        ({"data": {"a": 1}, "metadata": {"a": 1, "b": None}}, {}),
        ({"content": "x" * 300}, {"last.text": "x" * 200}),
        ({"content": None}, {"last.text": ""}),
        ({"content": [{"text": "a"}, {"text": "b"}]}, {"last.text": "a b"}),
        ({"content": [{"text": "a", "big": BIG}]}, {"last.text": "a"}),
        (
            {"conversation_id": "c", "role": "user", "content": "text"},
            {"last.conversation_id": "c", "last.role": "user", "last.text": "text"},
        ),
    ],
)
def test_a_preview_changes_with_what_it_shows(members: StoredDocument, preview: StoredDocument) -> None:
    assert patch(**members).preview() == preview
