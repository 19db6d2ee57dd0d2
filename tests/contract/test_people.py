"""What bindings, participants and all notes about rooms promise, on every engine."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.errors import DuplicateKeyError

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    Binding,
    ConflictError,
    Event,
    Identity,
    InvalidDocumentError,
    InvalidValueError,
    Lease,
    MongoStore,
    NotFoundError,
    Observation,
    ReadMarker,
    RoomParticipant,
    Task,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)
from mongostore.repositories.server_clock import ServerClock
from mongostore.repositories.store_collection import StoreCollection
from tests.contract.edge_cases import CURSORS, NASTY, refused, same
from tests.contract.fixtures import rows

PARTS: dict[str, Callable[[int], Any]] = {
    "bindings": lambda n: Binding(
        room_id="r",
        channel_id=f"{9 - n}",
        channel_type="sms",
        participant_id="p" if n % 2 else None,
        group=n % 3 == 0,
        data={"n": n},
        metadata={"a.b": n},
    ),
    "participants": lambda n: RoomParticipant(
        room_id="r", id=f"{9 - n}", identity_id="i" if n % 2 else None, channel_ids=["c"] * n, data={"n": n}
    ),
    "tasks": lambda n: Task(room_id="r", id=f"{9 - n}", status=("pending", "done")[n % 2], data={"n": n}),
    "observations": lambda n: Observation(room_id="r", id=f"{9 - n}", data={"n": n}),
}


async def put(store: AsyncMongoStore, kind: str, value: Any) -> Any:
    repository = getattr(store.rooms, kind)
    verb = repository.create if kind == "observations" else repository.upsert
    return await verb(value.room_id or "r", value)


def renamed(kind: str, n: int) -> dict[str, Any]:
    return {"channel_id" if kind == "bindings" else "id": f"n{n}", "data": {"n": n}}


async def append_events(store: AsyncMongoStore, *names: str) -> None:
    for name in names:
        await store.rooms.events.append("r", Event(id=name, channel_id="c"))


async def by_channel(store: AsyncMongoStore, room_id: str) -> dict[str, int]:
    return {marker.channel_id: marker.index async for marker in store.rooms.read_markers.iter(room_id)}


def claim(attempt_id: str, **members: Any) -> VoiceDelivery:
    return VoiceDelivery(room_id="r", key="k", content_hash="h", attempt_id=attempt_id).model_copy(
        update=members
    )


class TestPeople:
    @pytest.fixture(autouse=True)
    async def _rooms(self, store: AsyncMongoStore) -> None:
        for name in ("r", "s"):
            await store.rooms.create(name)

    @pytest.mark.parametrize("kind", PARTS)
    async def test_things_are_listed_in_the_order_in_which_they_came(
        self, store: AsyncMongoStore, kind: str
    ) -> None:
        repository, made = getattr(store.rooms, kind), [PARTS[kind](n) for n in range(9)]
        for value in made:
            assert await put(store, kind, value) == value
            if kind in ("bindings", "participants"):
                await put(store, kind, value.model_copy(update={"room_id": "s"}))
        assert (await repository.list("r")).items == made
        assert [value async for value in repository.iter("r")] == made
        seen: list[Any] = []
        page = await repository.list("r", limit=2)
        while page.next_cursor is not None:
            seen += page.items
            page = await repository.list("r", limit=2, cursor=page.next_cursor)
        assert seen + page.items == made
        assert (await repository.list("unknown")).items == []
        page = await repository.list("r", newest=True, limit=4)
        assert [*page] == made[:4:-1]
        assert [*await repository.list("r", newest=True, cursor=page.next_cursor)] == made[4::-1]
        assert [value async for value in repository.iter("r", newest=True)] == made[::-1]

    @pytest.mark.parametrize("kind", PARTS)
    async def test_a_part_takes_the_room_that_the_verb_names(self, store: AsyncMongoStore, kind: str) -> None:
        repository, value = getattr(store.rooms, kind), PARTS[kind](1)
        verb = repository.create if kind == "observations" else repository.upsert
        before = await rows(store)
        with pytest.raises(InvalidValueError) as caught:
            await verb("s", value)
        assert caught.value.path == "room_id"
        assert await rows(store) == before
        assert await verb("s", value.model_copy(update={"room_id": None})) == value.model_copy(
            update={"room_id": "s"}
        )

    @pytest.mark.parametrize("kind", ["tasks", "observations"])
    async def test_notes_are_deleted_in_their_room_alone(self, store: AsyncMongoStore, kind: str) -> None:
        repository, made = getattr(store.rooms, kind), [PARTS[kind](n) for n in range(2)]
        for value in made:
            await put(store, kind, value)
        assert not await repository.delete("s", "9")
        assert await repository.delete("r", "9")
        assert not await repository.delete("r", "9")
        assert [*await repository.list("r")] == made[1:]

    @pytest.mark.parametrize("kind", PARTS)
    async def test_iter_raises_what_cannot_be_read_or_collects_it(
        self, store: AsyncMongoStore, kind: str
    ) -> None:
        repository, made = getattr(store.rooms, kind), [PARTS[kind](n) for n in range(3)]
        for value in made:
            await put(store, kind, value)
        await store.engine.database[kind].update_one({"position": 1}, {"$set": {"data": 7}})
        errors: list[InvalidDocumentError] = []
        assert [value async for value in repository.iter("r", errors=errors)] == [made[0], made[2]]
        assert len(errors) == 1
        walk = repository.iter("r")
        assert await anext(walk) == made[0]
        with pytest.raises(InvalidDocumentError):
            await anext(walk)

    @pytest.mark.parametrize("kind", ["bindings", "participants", "tasks"])
    async def test_what_is_put_again_keeps_its_place(self, store: AsyncMongoStore, kind: str) -> None:
        repository, made = getattr(store.rooms, kind), [PARTS[kind](n) for n in range(4)]
        for value in made:
            await put(store, kind, value)
        made[1] = made[1].model_copy(update={"data": {"again": True}})
        await put(store, kind, made[1])
        assert (await repository.list("r")).items == made
        await asyncio.gather(*(put(store, kind, made[2]) for _ in range(10)))
        assert (await repository.list("r")).items == made

    @pytest.mark.parametrize("kind", PARTS)
    async def test_concurrent_puts_all_land(self, store: AsyncMongoStore, kind: str) -> None:
        made = [PARTS[kind](1).model_copy(update=renamed(kind, n)) for n in range(100)]
        await asyncio.gather(*(put(store, kind, value) for value in made))
        listed = (await getattr(store.rooms, kind).list("r", limit=1000)).items
        assert sorted(value.data["n"] for value in listed) == [*range(100)]
        assert sorted(row["position"] for row in (await rows(store))[kind]) == [*range(100)]

    @pytest.mark.parametrize("kind", ["bindings", "participants"])
    async def test_nobody_enters_a_room_that_is_not_there(self, store: AsyncMongoStore, kind: str) -> None:
        with pytest.raises(NotFoundError) as caught:
            await put(store, kind, PARTS[kind](1).model_copy(update={"room_id": "unknown"}))
        assert caught.value.kind == "room"
        assert (await getattr(store.rooms, kind).list("unknown")).items == []
        assert (await rows(store))[kind] == []

    @pytest.mark.parametrize("kind", ["bindings", "participants"])
    @pytest.mark.smoke
    async def test_who_is_in_a_room_is_found_and_removed_there(
        self, store: AsyncMongoStore, kind: str
    ) -> None:
        repository, value = getattr(store.rooms, kind), PARTS[kind](1)
        await put(store, kind, value)
        await put(store, kind, other := value.model_copy(update={"room_id": "s"}))
        assert await repository.get("r", "8") == value == await repository.find("r", "8")
        assert await repository.delete("r", "8")
        assert not await repository.delete("r", "8")
        assert await repository.find("r", "8") is None
        with pytest.raises(NotFoundError):
            await repository.get("r", "8")
        assert await repository.get("s", "8") == other
        assert [await repository.exists(room, "8") for room in "rs"] == [False, True]
        await put(store, kind, PARTS[kind](0))
        await put(store, kind, value)
        assert [found.data["n"] for found in (await repository.list("r")).items] == [0, 1]

    @pytest.mark.parametrize("kind", ["tasks", "observations"])
    async def test_notes_are_created_once_in_any_room(self, store: AsyncMongoStore, kind: str) -> None:
        repository, value = getattr(store.rooms, kind), PARTS[kind](1)
        outcomes = await asyncio.gather(
            *(repository.create("r", value) for _ in range(8)), return_exceptions=True
        )
        assert sum(isinstance(outcome, AlreadyExistsError) for outcome in outcomes) == 7
        with pytest.raises(AlreadyExistsError):
            await repository.create("s", value.model_copy(update={"room_id": "s"}))
        orphan = value.model_copy(update={"id": "orphan", "room_id": "unknown"})
        assert await repository.create("unknown", orphan) == orphan
        assert (await repository.list("unknown")).items == [orphan]
        assert (await repository.list("r")).items == [value]

    @pytest.mark.smoke
    async def test_tasks_are_found_replaced_and_listed_by_status(self, store: AsyncMongoStore) -> None:
        made = [PARTS["tasks"](n) for n in range(6)]
        for task in made:
            await store.rooms.tasks.create("r", task)
        assert await store.rooms.tasks.get("r", "9") == made[0] == await store.rooms.tasks.find("r", "9")
        assert (await store.rooms.tasks.list("r", status="done")).items == made[1::2]
        page = await store.rooms.tasks.list("r", status="done", limit=2)
        assert (await store.rooms.tasks.list("r", status="done", cursor=page.next_cursor)).items == made[5::2]
        await store.rooms.tasks.upsert("r", made[0].model_copy(update={"status": "done"}))
        assert [task.id for task in (await store.rooms.tasks.list("r", status="done")).items] == [
            "9",
            "8",
            "6",
            "4",
        ]
        done = [task async for task in store.rooms.tasks.iter("r", status="done", newest=True)]
        assert [task.id for task in done] == ["4", "6", "8", "9"]
        assert await store.rooms.tasks.find("r", "unknown") is None
        assert await store.rooms.tasks.find("s", "9") is None is await store.rooms.tasks.find_by_id("unknown")
        assert await store.rooms.tasks.find_by_id("8") == made[1]
        with pytest.raises(NotFoundError):
            await store.rooms.tasks.get("r", "unknown")

    @pytest.mark.parametrize("kind", PARTS)
    @pytest.mark.parametrize("bad", CURSORS, ids=range(len(CURSORS)))
    async def test_cursors_of_others_are_refused(self, store: AsyncMongoStore, kind: str, bad: Any) -> None:
        calls = [getattr(store.rooms, kind).list("r", cursor=bad), store.rooms.identities.list(cursor=bad)]
        assert {error.path for error in await refused(*calls)} == {"cursor"}

    @pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
    async def test_odd_values_come_back_equal(self, store: AsyncMongoStore, value: Any) -> None:
        odd: dict[str, Any] = {"k": value}
        await store.rooms.bindings.upsert("r", Binding(channel_id="c", data=odd, metadata=odd))
        await store.rooms.participants.upsert("r", RoomParticipant(id="p", data=odd))
        await store.rooms.identities.create(Identity(id="i", data=odd))
        await store.rooms.verifications.upsert(Verification(identity_id="i", status="x", data=odd))
        await store.rooms.verifications.requests.create(
            VerificationRequest(id="q", identity_id="i", data=odd)
        )
        await store.rooms.tasks.create("r", Task(id="t", data=odd))
        await store.rooms.observations.create("r", Observation(data=odd))
        delivery = VoiceDelivery(room_id="r", key="k", content_hash="h", data=odd)
        await store.rooms.voice_deliveries.claim("r", delivery)
        await store.rooms.voice_deliveries.complete("r", delivery.model_copy(update={"outcome": odd}))
        held = await store.rooms.voice_deliveries.find("r", "k")
        assert held is not None
        binding = await store.rooms.bindings.get("r", "c")
        for stored in (
            *(binding.data, binding.metadata, held.data, held.outcome),
            (await store.rooms.participants.get("r", "p")).data,
            (await store.rooms.identities.get("i")).data,
            (await store.rooms.verifications.find("i")).data,
            (await store.rooms.verifications.requests.find("q")).data,
            (await store.rooms.tasks.get("r", "t")).data,
            (await store.rooms.observations.list("r")).items[0].data,
        ):
            assert same(stored, odd)

    async def test_a_read_marker_only_rises(self, store: AsyncMongoStore) -> None:
        markers = store.rooms.read_markers
        assert not await markers.advance("r", "c")
        assert await by_channel(store, "r") == {}
        assert await markers.count_unread("r", "c") == 0
        await append_events(store, *"abcde")
        assert await markers.count_unread("r", "c") == 5
        assert await markers.advance("r", "c", "c")
        assert await markers.advance("r", "c", "a")
        assert await by_channel(store, "r") == {"c": 2}
        assert await markers.count_unread("r", "c") == 2
        assert await markers.count_unread("r", "d") == 5
        assert not await markers.advance("r", "c", "unknown")
        assert not await markers.advance("s", "c", "a")
        await store.rooms.events.delete("r", "e")
        assert await markers.count_unread("r", "c") == 1
        assert await markers.advance("r", "d")
        await store.rooms.events.delete("r", "a")
        assert await by_channel(store, "r") == {"c": 2, "d": 3}
        assert await by_channel(store, "s") == {}
        assert await markers.count_unread("r", "d") == 0

    async def test_read_markers_are_found_and_listed_by_channel(self, store: AsyncMongoStore) -> None:
        await append_events(store, "e")
        made = [ReadMarker("r", f"c{n}", 0) for n in range(5)]
        markers = store.rooms.read_markers
        for marker in made[::-1]:
            await markers.advance("r", marker.channel_id)
        assert await markers.find("r", "c3") == made[3]
        assert await markers.find("r", "other") is None is await markers.find("s", "c3")
        for newest, expected in ((False, made), (True, made[::-1])):
            page = await markers.list("r", newest=newest, limit=2)
            assert [*page] == expected[:2]
            assert [*await markers.list("r", newest=newest, cursor=page.next_cursor)] == expected[2:]
            assert [marker async for marker in markers.iter("r", newest=newest)] == expected
        assert await markers.count_unread("r", "new", limit=1) == 1

    async def test_the_highest_of_concurrent_marks_holds(self, store: AsyncMongoStore) -> None:
        await append_events(store, *(f"e{n}" for n in range(20)))
        await asyncio.gather(*(store.rooms.read_markers.advance("r", "c", f"e{n}") for n in range(20)))
        assert await by_channel(store, "r") == {"c": 19}

    async def test_of_many_claims_one_may_speak(self, store: AsyncMongoStore) -> None:
        claims = [claim(f"a{n}", data={"n": n}) for n in range(24)]
        held = await asyncio.gather(
            *(store.rooms.voice_deliveries.claim("r", delivery) for delivery in claims)
        )
        [winner] = {delivery.attempt_id for delivery in held}
        assert await store.rooms.voice_deliveries.find("r", "k") == held[0]
        assert held[0] == claims[int(winner[1:])]
        assert await store.rooms.voice_deliveries.find("r", "other") is None
        assert await store.rooms.voice_deliveries.find("s", "k") is None

    async def test_a_failed_delivery_may_be_tried_again_with_the_same_words(
        self, store: AsyncMongoStore
    ) -> None:
        deliveries = store.rooms.voice_deliveries
        await deliveries.claim("r", claim("a"))
        failed = claim("a", outcome={"ok": False}, retryable=True)
        assert await deliveries.complete("r", failed)
        assert await deliveries.claim("r", claim("b", content_hash="other")) == failed
        retries = [deliveries.claim("r", claim(f"c{n}")) for n in range(10)]
        [owner] = {held.attempt_id for held in await asyncio.gather(*retries)}
        assert owner[0] == "c"
        assert not await deliveries.complete("r", failed)
        done = claim(owner, outcome={"ok": True})
        assert await deliveries.complete("r", done)
        assert await deliveries.claim("r", claim("d")) == done == await deliveries.find("r", "k")

    async def test_an_outcome_is_noted_once(self, store: AsyncMongoStore) -> None:
        deliveries = store.rooms.voice_deliveries
        assert not await deliveries.complete("r", claim("a", outcome={"ok": True}))
        await deliveries.claim("r", claim("a"))
        assert not await deliveries.complete("r", claim("b", outcome={"ok": True}))
        assert await deliveries.complete("r", claim("a", outcome={"ok": True}))
        assert await deliveries.complete("r", claim("a", outcome={"ok": True}))
        assert not await deliveries.complete("r", claim("a", outcome={"ok": False}))
        for call in (deliveries.complete("r", claim("a")), deliveries.claim("r", claim("a", outcome={}))):
            with pytest.raises(InvalidValueError) as caught:
                await call
            assert caught.value.path == "outcome"
        with pytest.raises(NotFoundError):
            await deliveries.claim("unknown", claim("a", room_id=None))
        assert await deliveries.find("r", "k") == claim("a", outcome={"ok": True})

    @pytest.mark.smoke
    async def test_a_lease_is_exclusive_until_it_is_released(self, store: AsyncMongoStore) -> None:
        leases = store.leases
        taken = await asyncio.gather(*(leases.acquire("l", f"o{n}", 60) for n in range(20)))
        [lease] = [one for one in taken if one]
        assert await leases.acquire("other", "o", 60)
        again = await leases.acquire("l", lease.owner, 60)
        assert again == lease
        assert await leases.acquire("l", "another", 60) is None
        assert not await leases.release(dataclasses.replace(lease, owner="another"))
        assert await leases.renew(lease, 70)
        assert await leases.release(lease)
        assert not await leases.release(lease)
        assert not await leases.renew(lease)
        after = await leases.acquire("l", "another", 60)
        assert after is not None
        assert after.token > lease.token
        assert not await leases.renew(lease)
        assert not await leases.release(lease)

    async def test_an_owner_who_asks_twice_at_once_gets_one_lease(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        update, first = StoreCollection.find_one_and_update, [True]

        async def race(self: StoreCollection, *arguments: Any, **options: Any) -> Any:
            updated = await update(self, *arguments, **options)
            if first:
                first.clear()
                raise DuplicateKeyError("the other one was first", 11000, {"keyPattern": {"_id": 1}})
            return updated

        monkeypatch.setattr(StoreCollection, "find_one_and_update", race)
        lease = await store.leases.acquire("l", "o", 60)
        assert lease is not None
        assert await store.leases.acquire("l", "o", 60) == lease
        assert await store.leases.acquire("l", "another", 60) is None

    async def test_a_lease_is_renewed_however_soon_and_by_nothing_but_a_lease(
        self, store: AsyncMongoStore
    ) -> None:
        lease = await store.leases.acquire("l", "o", 60)
        assert lease is not None
        assert all(await asyncio.gather(*(store.leases.renew(lease) for _ in range(20))))
        operators: list[Any] = [{"$ne": None}, {"$ne": None}, {"$gt": 0}, 1.0]
        for bad in (Lease(*operators), None, vars):
            with pytest.raises(InvalidValueError):
                await store.leases.renew(bad)

    async def test_a_lease_ends_by_itself(self, store: AsyncMongoStore) -> None:
        lease = await store.leases.acquire("l", "a", 0.001)
        assert lease is not None
        async with asyncio.timeout(20):
            while (after := await store.leases.acquire("l", "b", 60)) is None:
                await asyncio.sleep(0.01)
        assert after.token > lease.token
        assert not await store.leases.renew(lease)
        assert await store.leases.acquire("l", "a", 60) is None

    @pytest.mark.parametrize("step", [60, -60])
    async def test_a_lease_outlives_a_step_of_the_servers_clock(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, step: int
    ) -> None:
        lease = await store.leases.acquire("l", "a", 1)
        assert lease is not None
        if step > 0:
            # Set forward: what the store knows of it is behind.
            monkeypatch.setattr(ServerClock, "from_host", lambda _, micros: micros - step * 1_000_000)
            await asyncio.sleep(1.05)
        else:
            ends = {"$set": {"expires_at": datetime.now(UTC) + timedelta(seconds=-step)}}
            await store.engine.database["leases"].update_one({"_id": "l"}, ends)
        assert await store.leases.acquire("l", "b", 60) is None
        await asyncio.sleep(0.15)
        assert await store.leases.acquire("l", "b", 60) is None
        # One that nobody renews is left by its owner, whatever the clock.
        async with asyncio.timeout(20):
            while (after := await store.leases.acquire("l", "b", 60)) is None:
                await asyncio.sleep(0.05)
        assert after.token > lease.token

    async def test_a_lease_lasts_a_time_that_makes_sense(self, store: AsyncMongoStore) -> None:
        bad: list[Any] = [0, -1, 86_401, float("nan"), float("inf"), True, "60", None, timedelta(seconds=1)]
        assert len(await refused(*(store.leases.acquire("l", "a", seconds) for seconds in bad))) == len(bad)
        assert len(await refused(store.leases.acquire("l", "", 1))) == 1
        assert await store.leases.acquire("l", "b", 1)

    async def test_a_held_lease_is_renewed_while_its_block_runs_and_then_given_back(
        self, store: AsyncMongoStore
    ) -> None:
        async with store.leases.hold("l", seconds=1.5) as lease:
            assert isinstance(lease, Lease)
            await asyncio.sleep(2)
            assert await store.leases.acquire("l", "another", 60) is None
        assert await store.leases.acquire("l", "another", 60)

    async def test_hold_waits_for_as_long_as_it_is_told_to(self, store: AsyncMongoStore) -> None:
        held = await store.leases.acquire("l", "another", 60)
        assert held
        began = time.monotonic()
        for wait in (0, 0.3):
            with pytest.raises(ConflictError, match="another owner"):
                async with store.leases.hold("l", wait=wait):
                    raise AssertionError
        assert time.monotonic() - began >= 0.3
        asyncio.get_running_loop().call_later(
            0.3, lambda: releases.append(asyncio.ensure_future(store.leases.release(held)))
        )
        releases: list[asyncio.Future[bool]] = []
        async with store.leases.hold("l", wait=20) as lease:
            assert lease.token == held.token + 1
        assert releases[0].result()

    async def test_a_block_whose_lease_is_lost_is_cancelled(self, store: AsyncMongoStore) -> None:
        cancelled = False

        async def hold() -> None:
            nonlocal cancelled
            async with store.leases.hold("l", seconds=0.5):
                await store.engine.database["leases"].update_one({"_id": "l"}, {"$set": {"owner": "another"}})
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cancelled = True
                    raise

        with pytest.raises(ConflictError, match="ended before its block"):
            await asyncio.wait_for(hold(), 30)
        assert cancelled

    async def test_an_error_of_a_block_comes_through_and_its_lease_is_given_back(
        self, store: AsyncMongoStore
    ) -> None:
        with pytest.raises(KeyError):
            async with store.leases.hold("l"):
                raise KeyError
        assert await store.leases.acquire("l", "another", 60)

    async def test_hold_refuses_times_that_are_none(self, store: AsyncMongoStore) -> None:
        for options in ({"seconds": 0}, {"seconds": "1"}, {"wait": -1}, {"wait": None}, {"wait": math.nan}):
            with pytest.raises(InvalidValueError):
                async with store.leases.hold("l", **options):  # type: ignore[arg-type]
                    raise AssertionError
        assert await store.leases.acquire("l", "another", 60)


def test_blocking_code_holds_a_lease_while_it_works() -> None:
    with MongoStore("mongomock://") as store:
        with store.leases.hold("l", seconds=1.5):
            time.sleep(2)
            assert store.leases.acquire("l", "another", 60) is None
            with pytest.raises(ConflictError, match="another owner"), store.leases.hold("l"):
                raise AssertionError
        assert store.leases.acquire("l", "another", 60)
