"""What those who are in rooms, and notes about them, promise, on every engine, and what is stored of them."""

from __future__ import annotations

import pytest

from mongostore import AsyncMongoStore
from mongostore.testing.store import IdentitiesSuite, PeopleSuite
from mongostore.testing.store.people import PLACES
from tests.contract.furnishing import Stored, rows


class TestPeople(PeopleSuite):
    """What bindings, participants, tasks, observations, markers, deliveries and leases promise."""

    @pytest.mark.parametrize("kind", PLACES)
    async def test_concurrent_puts_all_land(self, store: AsyncMongoStore, kind: str) -> None:
        await super().test_concurrent_puts_all_land(store, kind)
        assert sorted(row["position"] for row in (await rows(store))[kind]) == [*range(100)]

    @pytest.mark.parametrize("kind", ["bindings", "participants"])
    async def test_nobody_enters_a_room_that_is_not_there(self, store: AsyncMongoStore, kind: str) -> None:
        await super().test_nobody_enters_a_room_that_is_not_there(store, kind)
        assert (await rows(store))[kind] == []


class TestIdentities(Stored, IdentitiesSuite):
    """What identities, their addresses and verifications promise."""

    async def test_one_of_many_concurrent_creates_with_one_address_wins(self, store: AsyncMongoStore) -> None:
        await super().test_one_of_many_concurrent_creates_with_one_address_wins(store)
        [winner] = (await store.identities.list()).items
        addresses = (await rows(store))["identity_addresses"]
        assert [row["identity_id"] for row in addresses] == [winner.id] * 2

    async def test_links_and_unlinks_at_once_leave_both_sides_agreed(self, store: AsyncMongoStore) -> None:
        await super().test_links_and_unlinks_at_once_leave_both_sides_agreed(store)
        held = (await store.identities.get("i")).addresses.get("sms", [])
        addresses = (await rows(store))["identity_addresses"]
        assert sorted(row["_id"]["a"] for row in addresses) == sorted(held)
