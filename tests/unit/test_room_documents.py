"""How rooms, events, and who is in them are stored, with no store."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mongostore.arguments import MAX_ID_BYTES
from mongostore.codec import from_micros
from mongostore.documents import identities, rooms
from mongostore.errors import (
    DocumentTooLargeError,
    InvalidDocumentError,
    InvalidValueError,
)
from mongostore.models import Binding, Event, Identity, Room, RoomParticipant

NOW = 1_700_000_000_123_456


def test_a_room_that_lacks_all_optional_members_is_read_with_their_defaults() -> None:
    read = rooms.to_room({"_id": "r", "status": "active"})
    assert read == Room(id="r")


def test_a_room_keeps_the_times_that_it_carries_and_is_given_the_others() -> None:
    stored = rooms.to_stored_room(Room(created_at=from_micros(5)), NOW)
    assert (stored["created_at"], stored["updated_at"], stored["paused_at"]) == (5, NOW, None)


def test_what_only_the_store_moves_is_not_taken_from_a_room() -> None:
    stored = rooms.to_stored_room(Room(event_count=5, latest_index=4, delivered_index=3), NOW)
    assert not {"_id", "event_count", "latest_index", "delivered_index"} & stored.keys()


@pytest.mark.parametrize("name", [name for name in Room.model_fields if name.endswith("_at")])
def test_a_time_of_a_room_without_a_zone_is_refused_by_its_name(name: str) -> None:
    room = Room().model_copy(update={name: from_micros(NOW).replace(tzinfo=None)})
    with pytest.raises(InvalidValueError) as refused:
        rooms.to_stored_room(room, NOW)
    assert refused.value.path == name


def test_members_of_an_event_without_a_value_are_not_stored() -> None:
    stored = rooms.to_stored_event(Event(id="e", room_id="r", channel_id="c"), NOW)
    assert stored.keys() == {
        *("_id", "room_id", "type", "status", "visibility", "channel_id", "created_at", "schema_version")
    }


@pytest.mark.parametrize("content", ["", 0, False, [], {}])
def test_a_content_that_is_empty_is_stored_and_comes_back(content: Any) -> None:
    stored = rooms.to_stored_event(Event(id="e", room_id="r", channel_id="c", content=content), NOW)
    read = rooms.to_event(stored)
    assert read.content == content
    assert type(read.content) is type(content)


def test_a_rewrite_removes_the_members_that_have_no_value_any_more() -> None:
    update = rooms.to_replacement(Event(id="e", room_id="r", channel_id="c", content="new", change="edit"))
    assert update["$set"]["content"] == "new"
    assert update["$unset"].keys() == {
        *("channel_type", "participant_id", "parent_event_id", "responds_to", "correlation_id"),
        *("idempotency_key", "target_event_id", "data", "metadata"),
    }


def test_a_rewrite_leaves_the_place_the_birth_and_the_delivery_of_an_event() -> None:
    event = Event(
        id="e",
        room_id="r",
        channel_id="c",
        index=5,
        created_at=from_micros(7),
        delivery_results={"a": 1},
    )
    update = rooms.to_replacement(event)
    touched = update["$set"].keys() | update["$unset"].keys()
    assert not {"_id", "room_id", "index", "created_at", "delivery_results"} & touched


def test_a_rewrite_that_no_document_can_hold_is_refused() -> None:
    with pytest.raises(DocumentTooLargeError, match=r"^event 'e' takes"):
        rooms.to_replacement(Event(id="e", room_id="r", channel_id="c", content="x" * 2**24))


def test_an_event_with_a_change_that_there_is_not_is_neither_stored_nor_read() -> None:
    event = Event(id="e", room_id="r", channel_id="c").model_copy(update={"change": "burn"})
    with pytest.raises(InvalidValueError, match="change"):
        rooms.to_stored_event(event, NOW)
    stored = rooms.to_stored_event(Event(id="e", room_id="r", channel_id="c"), NOW) | {"change": "burn"}
    with pytest.raises(InvalidDocumentError) as refused:
        rooms.to_event(stored)
    assert refused.value.fields == ("change",)
    assert "burn" not in str(refused.value)


@pytest.mark.parametrize(
    ("members", "names"),
    [
        ({"participant_id": "p", "metadata": {"to": "a"}}, [["p"]]),
        ({"participant_id": "p", "group": True}, [["p"]]),
        ({"group": True, "metadata": {"to": "a"}}, []),
        ({"metadata": {"to": "a", "number": 7}}, [["to", "a"], ["number", "7"]]),
        ({"metadata": {"a": " ", "b": True, "c": 1.5, "d": None, "e": ["x"]}}, []),
        ({"metadata": {"a": "x" * MAX_ID_BYTES}}, [["a", "x" * MAX_ID_BYTES]]),
        ({"metadata": {"a": "é" * MAX_ID_BYTES}}, []),
        ({"metadata": {"a": "\ud800"}}, [["a", "\ud800"]]),
    ],
    ids=["correspondent", "in a group", "group", "addresses", "none", "longest", "too long", "half a pair"],
)
def test_a_binding_is_found_by_its_correspondent_or_else_by_its_addresses(
    members: dict[str, Any], names: list[list[str]]
) -> None:
    found = rooms.binding_keys(Binding(room_id="r", channel_id="c", **members))
    assert [json.loads(name) for name in found] == names


def test_no_correspondent_is_named_like_an_address() -> None:
    assert rooms.correspondent_key('a", "b') != rooms.recipient_key("a", "b")


@pytest.mark.parametrize(
    ("identity_id", "names"), [(None, ["p"]), ("i", ["p", "i"]), ("p", ["p"])], ids=["none", "other", "same"]
)
def test_a_participant_is_found_on_each_channel_by_each_name_once(
    identity_id: str | None, names: list[str]
) -> None:
    participant = RoomParticipant(room_id="r", id="p", identity_id=identity_id, channel_ids=["c1", "c2"])
    assert rooms.to_stored_participant(participant)["routes"] == [
        rooms.route_key(channel, name) for channel in ("c1", "c2") for name in names
    ]


@pytest.mark.parametrize(
    ("members", "path"), [({"channel_ids": "c"}, "channel_ids"), ({"channel_ids": [1]}, "channel_ids")]
)
def test_channels_that_are_no_list_of_ids_are_refused(members: dict[str, Any], path: str) -> None:
    participant = RoomParticipant(room_id="r", id="p").model_copy(update=members)
    with pytest.raises(InvalidValueError) as refused:
        rooms.to_stored_participant(participant)
    assert refused.value.path == path


def test_a_key_of_two_parts_keeps_their_order() -> None:
    assert list(rooms.part_id("x", "y").items()) == [("a", "x"), ("b", "y")]


def test_no_organization_is_stored_as_an_empty_one() -> None:
    assert identities.organization_key(None) == ""
    assert identities.to_stored_identity(Identity(id="i"))["organization_id"] == ""


def test_an_address_has_one_key_within_an_organization() -> None:
    assert list(identities.address_id("sms", "1", None).items()) == [("t", "sms"), ("a", "1"), ("o", "")]
    assert identities.address_id("sms", "1", "o") != identities.address_id("sms", "1", None)


@pytest.mark.parametrize("addresses", [["a"], {"sms": "1"}, {"sms": [1]}, {1: ["a"]}], ids=repr)
def test_addresses_that_are_no_lists_by_channel_are_refused(addresses: Any) -> None:
    identity = Identity(id="i").model_copy(update={"addresses": addresses})
    with pytest.raises(InvalidValueError) as refused:
        identities.to_stored_identity(identity)
    assert refused.value.path == "addresses"
