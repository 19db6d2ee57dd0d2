"""RoomKit's contract for a store."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from roomkit.core.exceptions import (
    AddressLinkedError,
    IdentityNotFoundError,
    RoomAlreadyExistsError,
    RoomNotFoundError,
)
from roomkit.models.delivery import DeliveryOutcome
from roomkit.models.identity import Identity
from roomkit.models.room import Room
from roomkit.store.base import ConversationStore

from mongostore.testing.roomkit.events import EventSuite
from mongostore.testing.roomkit.parts import delivery
from mongostore.testing.roomkit.rooms import RoomSuite
from mongostore.testing.roomkit.values import ValueSuite


def public(owner: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(owner, callable) if not name.startswith("_")}


class ConversationStoreSuite(ValueSuite, RoomSuite, EventSuite):
    """The contract of a `ConversationStore` beyond RoomKit's own tests of its stores.

    Fixtures:
        rooms: The store, an empty one for each test.
    """

    async def test_every_method_takes_what_the_interface_says(self, rooms: Any) -> None:
        for name in public(ConversationStore):
            declared = inspect.signature(getattr(ConversationStore, name)).parameters.values()
            taken = [*inspect.signature(getattr(type(rooms), name)).parameters.values()]
            assert [(one.name, one.kind, one.default) for one in taken[: len(declared)]] == [
                (one.name, one.kind, one.default) for one in declared
            ], name

    async def test_errors_are_those_of_roomkit(self, rooms: Any) -> None:
        with pytest.raises(RoomAlreadyExistsError):
            await rooms.create_room(Room(id="r", metadata={"x": 1}))
        with pytest.raises(RoomNotFoundError):
            await rooms.update_room(Room(id="nowhere"))
        with pytest.raises(ValueError, match="Room does not exist"):
            await rooms.claim_voice_delivery(delivery().model_copy(update={"room_id": "nowhere"}))
        with pytest.raises(ValueError, match="outcome"):
            await rooms.claim_voice_delivery(delivery(outcome=DeliveryOutcome(status="failed")))
        with pytest.raises(ValueError, match="outcome"):
            await rooms.complete_voice_delivery(delivery())
        for link in (rooms.link_address, rooms.unlink_address):
            with pytest.raises(IdentityNotFoundError):
                await link("nobody", "sms", "+1")
        await rooms.create_identity(Identity(id="i", channel_addresses={"sms": ["+1"]}))
        await rooms.create_identity(Identity(id="scoped", organization_id="o"))
        with pytest.raises(AddressLinkedError) as caught:
            await rooms.create_identity(Identity(id="j", channel_addresses={"email": ["e"], "sms": ["+1"]}))
        assert "+1" not in str(caught.value)
        assert await rooms.get_identity("j") is None
        assert await rooms.resolve_identity("email", "e") is None
        with pytest.raises(IdentityNotFoundError):
            await rooms.link_address("scoped", "sms", "+2")
        assert not await rooms.delete_room("nowhere")
        assert await rooms.delete_event("r", "nothing") == []
        assert await rooms.get_delivered_index("nowhere") == -1
        assert not await rooms.advance_delivered_index("nowhere", 0)
