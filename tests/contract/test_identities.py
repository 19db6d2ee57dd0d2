"""Whose an address is and who has proved to be whom, on every engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    ConflictError,
    Identity,
    InvalidDocumentError,
    NotFoundError,
    Verification,
    VerificationRequest,
)
from tests.contract.fixtures import T, rows


class TestIdentities:
    @pytest.mark.smoke
    async def test_an_identity_is_found_by_its_addresses(self, store: AsyncMongoStore) -> None:
        identity = Identity(
            id="i",
            addresses={"sms": ["1", "2", "1"], "e.mail": ["a@b"], "": [], "$x": ["1"]},
            data={"a.b": 1},
        )
        assert await store.rooms.identities.create(identity) == identity
        assert await store.rooms.identities.get("i") == identity == await store.rooms.identities.find("i")
        find = store.rooms.identities.find_by_address
        for channel_type, address in (("sms", "1"), ("sms", "2"), ("e.mail", "a@b"), ("$x", "1")):
            assert await find(channel_type, address) == identity
        for channel_type, address in (("sms", "a@b"), ("e", "1"), ("", ""), ("e.mail", "1")):
            assert await find(channel_type, address) is None
        assert await store.rooms.identities.find("unknown") is None
        with pytest.raises(NotFoundError):
            await store.rooms.identities.get("unknown")

    async def test_an_identity_is_created_with_all_its_addresses_or_not_at_all(
        self, store: AsyncMongoStore
    ) -> None:
        await store.rooms.identities.create(Identity(id="i", addresses={"sms": ["1"]}))
        before = await rows(store)
        with pytest.raises(ConflictError):
            await store.rooms.identities.create(
                Identity(id="j", addresses={"email": ["x"], "sms": ["2", "1"]})
            )
        assert await rows(store) == before
        assert await store.rooms.identities.find_by_address("email", "x") is None
        with pytest.raises(AlreadyExistsError):
            await store.rooms.identities.create(Identity(id="i", addresses={"sms": ["3"]}))
        assert await rows(store) == before

    async def test_one_of_many_concurrent_creates_with_one_address_wins(self, store: AsyncMongoStore) -> None:
        made = [Identity(id=f"i{n}", addresses={"email": [f"{n}"], "sms": ["1"]}) for n in range(10)]
        outcomes = await asyncio.gather(
            *(store.rooms.identities.create(identity) for identity in made), return_exceptions=True
        )
        [winner] = [outcome for outcome in outcomes if isinstance(outcome, Identity)]
        assert {type(outcome) for outcome in outcomes} == {Identity, ConflictError}
        assert (await store.rooms.identities.list()).items == [winner]
        find = store.rooms.identities.find_by_address
        assert [n for n in range(10) if await find("email", f"{n}")] == [made.index(winner)]
        [winner] = (await store.rooms.identities.list()).items
        addresses = (await rows(store))["identity_addresses"]
        assert [row["identity_id"] for row in addresses] == [winner.id] * 2

    @pytest.mark.smoke
    async def test_an_address_is_linked_to_one_identity(self, store: AsyncMongoStore) -> None:
        for name in ("i", "j"):
            await store.rooms.identities.create(Identity(id=name))
        link = store.rooms.identities.link_address
        for _ in range(2):
            await link("i", "sms", "1")
        linked = await link("i", "e.mail", "a@b")
        assert linked == await store.rooms.identities.get("i")
        assert (await store.rooms.identities.get("i")).addresses == {"sms": ["1"], "e.mail": ["a@b"]}
        before = await rows(store)
        with pytest.raises(ConflictError) as caught:
            await link("j", "sms", "1")
        assert "'1'" not in str(caught.value)
        for call in (link("unknown", "sms", "9"), link("i", "sms", "9", organization_id="o")):
            with pytest.raises(NotFoundError):
                await call
        assert await rows(store) == before

    async def test_an_identity_goes_with_its_addresses_and_its_verification(
        self, store: AsyncMongoStore
    ) -> None:
        identities, verifications = store.rooms.identities, store.rooms.verifications
        for name, organization_id in (("i", None), ("j", None), ("k", "o")):
            addresses = {"sms": [f"{name}1"], "e.mail": [name, f"{name}@{name}"]}
            await identities.create(Identity(id=name, organization_id=organization_id, addresses=addresses))
            proof = Verification(identity_id=name, organization_id=organization_id, status="verified")
            await verifications.upsert(proof)
        await identities.link_address("i", "x", "y")
        before = await rows(store)
        for name, organization_id in (("i", None), ("k", "o")):
            assert await identities.delete(name)
            assert await identities.find(name) is None
            found = await identities.find_by_address("sms", f"{name}1", organization_id=organization_id)
            assert found is None
            assert await verifications.find(name, organization_id=organization_id) is None
            assert not await identities.delete(name)
        after = await rows(store)
        assert all(row in before[kind] for kind in after for row in after[kind])
        assert {row["identity_id"] for row in after["identity_addresses"]} == {"j"}
        await identities.create(Identity(id="i", addresses={"x": ["y"]}))

    @pytest.mark.parametrize(
        "damage",
        [
            {"$set": {"addresses": 5}},
            {"$unset": {"organization_id": "", "op": ""}},
        ],
        ids=["damaged", "incomplete"],
    )
    async def test_an_identity_that_cannot_be_read_goes_with_its_addresses(
        self, store: AsyncMongoStore, damage: dict[str, Any]
    ) -> None:
        identities, verifications = store.rooms.identities, store.rooms.verifications
        await identities.create(Identity(id="i", addresses={"sms": ["1"]}))
        await verifications.upsert(Verification(identity_id="i", status="verified"))
        await store.engine.database["identities"].update_one({"_id": "i"}, damage)
        with pytest.raises(AlreadyExistsError):
            await identities.create(Identity(id="i"))
        assert await identities.delete("i")
        assert await verifications.find("i") is None
        await identities.create(Identity(id="j", addresses={"sms": ["1"]}))
        [address] = (await rows(store))["identity_addresses"]
        assert (address["_id"], address["identity_id"]) == ({"t": "sms", "a": "1", "o": ""}, "j")

    async def test_one_of_concurrent_links_of_one_address_wins(self, store: AsyncMongoStore) -> None:
        names = [f"i{n}" for n in range(10)]
        for name in names:
            await store.rooms.identities.create(Identity(id=name))
        links = [store.rooms.identities.link_address(name, "sms", "1") for name in names]
        outcomes = await asyncio.gather(*links, return_exceptions=True)
        [winner] = [outcome.id for outcome in outcomes if isinstance(outcome, Identity)]
        assert {type(outcome) for outcome in outcomes} == {Identity, ConflictError}
        held = [identity.id for identity in (await store.rooms.identities.list()).items if identity.addresses]
        assert held == [winner]
        found = await store.rooms.identities.find_by_address("sms", "1")
        assert found is not None
        assert found.id == winner

    async def test_concurrent_links_of_different_addresses_all_hold(self, store: AsyncMongoStore) -> None:
        await store.rooms.identities.create(Identity(id="i"))
        links = [store.rooms.identities.link_address("i", f"t{n % 2}", str(n)) for n in range(20)]
        await asyncio.gather(*links, *(store.rooms.identities.link_address("i", "t0", "0") for _ in range(5)))
        addresses = (await store.rooms.identities.get("i")).addresses
        assert sorted(int(address) for held in addresses.values() for address in held) == [*range(20)]
        for n in range(20):
            assert await store.rooms.identities.find_by_address(f"t{n % 2}", str(n))

    async def test_organizations_do_not_see_each_other(self, store: AsyncMongoStore) -> None:
        for organization_id in ("o", "p", None):
            await store.rooms.identities.create(
                Identity(id=f"i-{organization_id}", organization_id=organization_id, addresses={"sms": ["1"]})
            )
        for organization_id in ("o", "p", None):
            found = await store.rooms.identities.find_by_address("sms", "1", organization_id=organization_id)
            assert found is not None
            assert (found.id, found.organization_id) == (f"i-{organization_id}", organization_id)
            assert (await store.rooms.identities.list(organization_id=organization_id)).items == [found]
        assert await store.rooms.identities.find_by_address("sms", "1", organization_id="q") is None
        await store.rooms.identities.unlink_address("i-o", "sms", "1", organization_id="o")
        assert await store.rooms.identities.find_by_address("sms", "1", organization_id="o") is None
        assert await store.rooms.identities.find_by_address("sms", "1") is not None

    async def test_unlinking_takes_ones_own_address_and_the_empty_type(self, store: AsyncMongoStore) -> None:
        await store.rooms.identities.create(Identity(id="i", addresses={"sms": ["1", "2"], "e.mail": ["a"]}))
        await store.rooms.identities.create(Identity(id="j", addresses={"sms": ["3"]}))
        unlink = store.rooms.identities.unlink_address
        assert (await unlink("i", "sms", "1")).addresses == {"sms": ["2"], "e.mail": ["a"]}
        unlinked = await unlink("i", "e.mail", "a")
        assert unlinked.addresses == {"sms": ["2"]}
        assert unlinked == await store.rooms.identities.get("i")
        before = await rows(store)
        await unlink("i", "sms", "3")
        await unlink("i", "sms", "1")
        await unlink("i", "voice", "1")
        assert await rows(store) == before
        for call in (unlink("unknown", "sms", "2"), unlink("i", "sms", "2", organization_id="o")):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id[0]) in (("identity", "u"), ("identity", "i"))
        assert await store.rooms.identities.find_by_address("sms", "1") is None
        await store.rooms.identities.link_address("j", "sms", "1")
        assert (await store.rooms.identities.get("j")).addresses == {"sms": ["3", "1"]}

    async def test_links_and_unlinks_at_once_leave_both_sides_agreed(self, store: AsyncMongoStore) -> None:
        await store.rooms.identities.create(Identity(id="i", addresses={"sms": [str(n) for n in range(6)]}))
        identities = store.rooms.identities
        for n in range(6):
            await asyncio.gather(
                *(identities.unlink_address("i", "sms", str(n)) for _ in range(2)),
                *(identities.link_address("i", "sms", str(n)) for _ in range(2)),
            )
        held = (await identities.get("i")).addresses.get("sms", [])
        found = [str(n) for n in range(6) if await identities.find_by_address("sms", str(n))]
        assert found == sorted(held)
        held = (await store.rooms.identities.get("i")).addresses.get("sms", [])
        addresses = (await rows(store))["identity_addresses"]
        assert sorted(row["_id"]["a"] for row in addresses) == sorted(held)

    async def test_identities_are_listed_by_id_in_pages(self, store: AsyncMongoStore) -> None:
        names = sorted(["-a", "-B", "é", "10", "9", "z", "Z"])
        for name in reversed(names):
            await store.rooms.identities.create(Identity(id=name))
        await store.rooms.identities.create(Identity(id="m", organization_id="o"))
        seen, cursor = [], None
        while True:
            page = await store.rooms.identities.list(limit=2, cursor=cursor)
            seen += [identity.id for identity in page.items]
            if (cursor := page.next_cursor) is None:
                break
        assert seen == names
        page = await store.rooms.identities.list(newest=True, limit=4)
        last = await store.rooms.identities.list(newest=True, cursor=page.next_cursor)
        assert [identity.id for identity in (*page, *last)] == names[::-1]
        assert [identity.id async for identity in store.rooms.identities.iter()] == names
        await store.engine.database["identities"].update_one({"_id": names[1]}, {"$set": {"data": 7}})
        errors: list[InvalidDocumentError] = []
        walked = [identity.id async for identity in store.rooms.identities.iter(errors=errors)]
        assert (walked, len(errors)) == (names[:1] + names[2:], 1)
        with pytest.raises(InvalidDocumentError):
            [identity async for identity in store.rooms.identities.iter()]

    async def test_a_verification_is_replaced_within_its_organization(self, store: AsyncMongoStore) -> None:
        verifications = store.rooms.verifications
        made = [
            Verification(
                identity_id="i",
                organization_id=organization_id,
                status="verified",
                expires_at=T,
                data={"n": 1},
            )
            for organization_id in (None, "o")
        ]
        for verification in made:
            assert await verifications.upsert(verification) == verification
        assert await verifications.find("i") == made[0]
        assert await verifications.find("i", organization_id="o") == made[1]
        assert await verifications.find("i", organization_id="p") is None
        assert await verifications.find("j") is None
        revoked = Verification(identity_id="i", status="revoked")
        await asyncio.gather(*(verifications.upsert(revoked) for _ in range(8)))
        assert await verifications.find("i") == revoked
        assert await verifications.find("i", organization_id="o") == made[1]

    async def test_the_verifications_of_a_status_that_will_end_are_met(self, store: AsyncMongoStore) -> None:
        for n in range(520):
            await store.rooms.verifications.upsert(
                Verification(
                    identity_id=f"i{n:03}",
                    organization_id="o" if n % 2 else None,
                    status="revoked" if n % 26 == 5 else "verified",
                    expires_at=None if n % 26 == 6 else T,
                )
            )
        met = [found.identity_id async for found in store.rooms.verifications.iter_expiring("verified")]
        assert met == [f"i{n:03}" for n in range(520) if n % 26 not in (5, 6)]
        assert len([found async for found in store.rooms.verifications.iter_expiring("revoked")]) == 20

    async def test_requests_are_created_once_and_replaced(self, store: AsyncMongoStore) -> None:
        verifications, request = (
            store.rooms.verifications,
            VerificationRequest(id="q", identity_id="i", data={"n": 1}),
        )
        assert (
            await verifications.requests.create(request) == request == await verifications.requests.find("q")
        )
        changed = request.model_copy(update={"data": {"n": 2}})
        with pytest.raises(AlreadyExistsError):
            await verifications.requests.create(changed)
        assert await verifications.requests.find("q") == request
        assert (
            await verifications.requests.upsert(changed) == changed == await verifications.requests.find("q")
        )
        await verifications.requests.upsert(VerificationRequest(id="p", identity_id="i"))
        assert await verifications.requests.find("p") is not None
        assert await verifications.requests.find("unknown") is None
