"""What rooms promise: their making, their changes and their end, on every engine."""

from __future__ import annotations

import asyncio
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    Binding,
    ConflictError,
    Event,
    Identity,
    MongoStoreError,
    NotFoundError,
    Observation,
    Room,
    RoomParticipant,
    RoomState,
    Task,
    Verification,
    VoiceDelivery,
)
from tests.contract.fixtures import T

MICROSECOND = timedelta(microseconds=1)


async def fill(store: AsyncMongoStore, room_id: str = "r") -> None:
    """Give a room one of all that can hang on it."""
    event = await store.rooms.events.append(room_id, Event(channel_id="c", idempotency_key="k"))
    await store.rooms.bindings.upsert(room_id, Binding(channel_id="c", participant_id="p"))
    await store.rooms.participants.upsert(room_id, RoomParticipant(id="p", channel_ids=["c"]))
    await store.rooms.tasks.create(room_id, Task())
    await store.rooms.observations.create(room_id, Observation())
    await store.rooms.read_markers.advance(room_id, "c", event.id)
    await store.rooms.voice_deliveries.claim(room_id, VoiceDelivery(key="k", content_hash="h"))
    await store.rooms.set_private(room_id, "secret", 1)


ODD_METADATA = {"a.b": 2, "$c": 3, "": 4, "0": [], "%2E;": 1, "nul\0": 1, "\ud800": 1, "__json__": "x"}

STATES = [RoomState("paused", T, T), RoomState("paused", None, T), RoomState("paused", T, None)]

PARTS = (
    *("events", "bindings", "participants", "tasks", "observations", "read_markers", "voice_deliveries"),
)


async def parts(store: AsyncMongoStore) -> dict[str, int]:
    # What is left of deleted events is empty, and expires.
    database = store.engine.database
    return {name: await database[name].count_documents({"emptied_at": None}) for name in PARTS}


class TestRooms:
    @pytest.mark.smoke
    async def test_create_returns_what_get_returns(self, store: AsyncMongoStore) -> None:
        sent = Room(
            id="r",
            organization_id="o",
            status="paused",
            created_at=T,
            updated_at=T + MICROSECOND,
            paused_at=T + 2 * MICROSECOND,
            closed_at=T + 3 * MICROSECOND,
            active_at=T + 4 * MICROSECOND,
            data={"a": [1]},
            metadata={"topic": "billing"},
            event_count=7,
            latest_index=6,
            delivered_index=5,
        )
        members: Any = sent.model_dump(exclude={"id"})
        assert await store.rooms.create("r", **members) == sent == await store.rooms.get("r")
        assert (await store.rooms.events.append("r", Event(channel_id="c"))).index == 7

    async def test_a_room_is_told_when_and_as_what_it_was_made(self, store: AsyncMongoStore) -> None:
        one, other = await store.rooms.create(), await store.rooms.create()
        assert one.id != other.id
        assert one == await store.rooms.get(one.id)
        assert one.created_at == one.updated_at
        assert one.created_at is not None
        assert abs(datetime.now(UTC) - one.created_at).total_seconds() < 60
        assert (one.event_count, one.latest_index, one.delivered_index) == (0, None, -1)

    async def test_a_taken_id_is_refused_and_its_room_left_as_it_is(self, store: AsyncMongoStore) -> None:
        first = await store.rooms.create("r", metadata={"n": 1})
        with pytest.raises(AlreadyExistsError) as caught:
            await store.rooms.create("r", metadata={"n": 2})
        assert (caught.value.kind, caught.value.id) == ("room", "r")
        assert await store.rooms.get("r") == first

    async def test_one_of_many_concurrent_creates_wins(self, store: AsyncMongoStore) -> None:
        outcomes = await asyncio.gather(
            *(store.rooms.create("r", metadata={"n": n}) for n in range(20)), return_exceptions=True
        )
        [winner] = [outcome for outcome in outcomes if isinstance(outcome, Room)]
        assert sum(isinstance(outcome, AlreadyExistsError) for outcome in outcomes) == 19
        assert await store.rooms.get("r") == winner

    async def test_unknown_rooms(self, store: AsyncMongoStore) -> None:
        rooms = store.rooms
        assert await rooms.find("x") is None
        assert not await rooms.exists("x")
        assert not await rooms.delete("x")
        assert not await rooms.advance_delivered_index("x", 0)
        assert await rooms.find_private("x", "k") is None
        for call in (
            rooms.get("x"),
            rooms.update("x", status="closed"),
            rooms.get_full("x"),
            rooms.update("x", metadata={"k": 1}, unset=[]),
            rooms.set_private("x", "k", 1),
            rooms.replace(Room(id="x")),
            rooms.replace(Room(id="x"), expected=RoomState("active", None, None)),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id) == ("room", "x")
        assert await store.rooms.count() == 0

    async def test_update_changes_the_given_members_only(self, store: AsyncMongoStore) -> None:
        before = await store.rooms.create("r", organization_id="o", data={"a": 1}, metadata={"k": 1})
        after = await store.rooms.update("r", status="closed", closed_at=T)
        assert after == await store.rooms.get("r")
        assert after == before.model_copy(
            update={"status": "closed", "closed_at": T, "updated_at": after.updated_at}
        )
        assert after.updated_at is not None
        assert before.updated_at is not None
        assert after.updated_at > before.updated_at
        after = await store.rooms.update("r", data={"b": 2}, closed_at=None, organization_id=None)
        assert (after.data, after.closed_at, after.organization_id) == ({"b": 2}, None, None)

    async def test_in_an_update_none_removes_any_key(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("r", metadata={"keep": {"deep": 1}, "drop": 1})
        room = await store.rooms.update("r", metadata={"drop": None, **ODD_METADATA})
        assert room.metadata == {"keep": {"deep": 1}, **ODD_METADATA}
        room = await store.rooms.update("r", metadata={"keep": {"other": 2}, **dict.fromkeys(ODD_METADATA)})
        assert room.metadata == {"keep": {"other": 2}}

    async def test_with_unset_none_is_a_value_and_any_key_can_be_unset(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("r", metadata={"keep": 1, "drop": 1, "both": 1, **ODD_METADATA})
        room = await store.rooms.update(
            "r",
            metadata={"none": None, "both": 2},
            unset=[f"metadata.{key}" for key in ("drop", "both", "unknown", *ODD_METADATA)],
        )
        assert room.metadata == {"keep": 1, "none": None, "both": 2}
        assert room == await store.rooms.get("r")

    async def test_concurrent_patches_of_different_keys_all_hold(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("r", metadata={f"old{n}": n for n in range(10)})
        await asyncio.gather(
            *(store.rooms.update("r", metadata={f"k{n}": n}, unset=[f"metadata.old{n}"]) for n in range(10)),
            *(store.rooms.update("r", metadata={f"u{n}": n}) for n in range(10)),
        )
        assert (await store.rooms.get("r")).metadata == {
            **{f"k{n}": n for n in range(10)},
            **{f"u{n}": n for n in range(10)},
        }

    @pytest.mark.smoke
    async def test_replace_keeps_counters_creation_and_what_is_private(self, store: AsyncMongoStore) -> None:
        created = await store.rooms.create("r", created_at=T, metadata={"old": 1})
        await store.rooms.set_private("r", "secret", 1)
        await store.rooms.events.append("r", Event(channel_id="c"))
        await store.rooms.advance_delivered_index("r", 0)
        stale = created.model_copy(
            update={
                "status": "closed",
                "closed_at": T,
                "updated_at": T,
                "metadata": {"new": 1},
                "created_at": None,
            }
        )
        await store.rooms.update("r", name="Named since")
        replaced = await store.rooms.replace(stale)
        assert replaced == await store.rooms.get("r")
        assert replaced == stale.model_copy(
            update={
                "name": "Named since",
                "created_at": T,
                "event_count": 1,
                "latest_index": 0,
                "delivered_index": 0,
            }
        )
        assert await store.rooms.find_private("r", "secret") == 1

    @pytest.mark.parametrize("state", STATES, ids=range(len(STATES)))
    async def test_a_guarded_replacement_compares_to_the_microsecond(
        self, store: AsyncMongoStore, state: RoomState
    ) -> None:
        room = await store.rooms.create(
            "r", status=state.status, paused_at=state.paused_at, active_at=state.active_at
        )
        for other in (
            RoomState("active", state.paused_at, state.active_at),
            RoomState(state.status, T + MICROSECOND, state.active_at),
            RoomState(state.status, None if state.paused_at else T, state.active_at),
            RoomState(state.status, state.paused_at, T - MICROSECOND),
            RoomState(state.status, state.paused_at, None if state.active_at else T),
        ):
            with pytest.raises(ConflictError):
                await store.rooms.replace(room.model_copy(update={"status": "closed"}), expected=other)
        assert await store.rooms.get("r") == room
        closed = await store.rooms.replace(room.model_copy(update={"status": "closed"}), expected=state)
        assert closed.status == "closed"

    async def test_one_of_many_guarded_replacements_wins(self, store: AsyncMongoStore) -> None:
        room = await store.rooms.create("r")
        state = RoomState("active", None, None)
        outcomes = await asyncio.gather(
            *(
                store.rooms.replace(room.model_copy(update={"status": f"s{n}"}), expected=state)
                for n in range(10)
            ),
            return_exceptions=True,
        )
        [winner] = [outcome for outcome in outcomes if isinstance(outcome, Room)]
        assert sum(isinstance(outcome, ConflictError) for outcome in outcomes) == 9
        assert await store.rooms.get("r") == winner

    async def test_the_delivered_index_moves_one_by_one_or_by_force_and_never_back(
        self,
        store: AsyncMongoStore,
    ) -> None:
        rooms = store.rooms
        await rooms.create("r")
        moves = [(1, False), (0, False), (0, False), (1, False), (5, False), (5, True), (5, True), (3, True)]
        moved = [await rooms.advance_delivered_index("r", index, force=force) for index, force in moves]
        assert moved == [False, True, False, True, False, True, False, False]
        assert (await rooms.get("r")).delivered_index == 5

    async def test_one_of_many_moves_the_delivered_index(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("r")
        for index in range(3):
            moves = [store.rooms.advance_delivered_index("r", index) for _ in range(10)]
            assert sum(await asyncio.gather(*moves)) == 1
        forced = [store.rooms.advance_delivered_index("r", 9, force=True) for _ in range(10)]
        assert sum(await asyncio.gather(*forced)) == 1

    async def test_what_is_private_is_apart_from_the_metadata(self, store: AsyncMongoStore) -> None:
        rooms = store.rooms
        await rooms.create("r", metadata={"k": "shown", "a.b": "shown", "other": 1})
        await rooms.set_private("r", "k", {"x": [1]})
        await rooms.set_private("r", "a.b", 2)
        room = await rooms.get("r")
        assert room.metadata == {"other": 1}
        assert "private" not in room.model_dump_json()
        assert [await rooms.find_private("r", key) for key in ("k", "a.b", "other")] == [{"x": [1]}, 2, None]
        await rooms.update("r", metadata={"k": "again"})
        assert await rooms.find_private("r", "k") == {"x": [1]}
        await rooms.set_private("r", "k", None)
        assert await rooms.find_private("r", "k") is None
        assert (await rooms.get("r")).metadata == {"other": 1}

    @pytest.mark.smoke
    async def test_a_context_is_the_room_with_all_who_are_in_it(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("other")
        await fill(store, "other")
        room = await store.rooms.create("r")
        context = await store.rooms.get_full("r")
        assert (context.room, context.bindings, context.participants) == (room, [], [])
        for name in "zay":
            await store.rooms.bindings.upsert("r", Binding(channel_id=name, data={"d": name}))
            await store.rooms.participants.upsert("r", RoomParticipant(id=name, data={"d": name}))
        context = await store.rooms.get_full("r")
        assert context.room == room
        assert context.bindings == (await store.rooms.bindings.list("r")).items
        assert context.participants == (await store.rooms.participants.list("r")).items
        assert [binding.channel_id for binding in context.bindings] == ["z", "a", "y"]

    @pytest.mark.smoke
    async def test_a_deletion_takes_all_that_hangs_on_a_room_and_nothing_else(
        self, store: AsyncMongoStore
    ) -> None:
        for name in ("r", "r2"):
            await store.rooms.create(name)
            await fill(store, name)
        await store.rooms.identities.create(Identity(id="i", addresses={"sms": ["1"]}))
        await store.rooms.verifications.upsert(Verification(identity_id="i", status="verified"))
        assert await store.leases.acquire("r", "owner", 60)
        assert await store.rooms.delete("r")
        assert not await store.rooms.exists("r")
        assert await store.rooms.identities.find_by_address("sms", "1") is not None
        assert await store.rooms.verifications.find("i") is not None
        assert await store.leases.acquire("r", "another", 60) is None
        assert not await store.rooms.delete("r")
        assert await parts(store) == dict.fromkeys(PARTS, 1)

    async def test_a_room_created_again_is_empty(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("r", metadata={"old": 1})
        await fill(store)
        await store.rooms.delete("r")
        room = await store.rooms.create("r")
        assert (room.metadata, room.event_count, room.latest_index, room.delivered_index) == ({}, 0, None, -1)
        assert await store.rooms.find_private("r", "secret") is None
        context = await store.rooms.get_full("r")
        assert (context.bindings, context.participants) == ([], [])
        assert [event async for event in store.rooms.events.iter("r")] == []
        event = await store.rooms.events.append("r", Event(channel_id="c", idempotency_key="k"))
        assert event.index == 0
        # The one event is that of the room that was made last.
        assert await parts(store) == {**dict.fromkeys(PARTS, 0), "events": 1}

    async def test_a_marker_of_a_former_room_never_touches_the_present_one(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        markers = type(store.engine.database["read_markers"])
        update = markers.update_one

        async def delete() -> None:
            await store.rooms.delete("r")
            if is_made_anew:
                await store.rooms.create("r")
                await store.rooms.events.append("r", Event(channel_id="c"))

        async def delete_first(*arguments: Any, **options: Any) -> Any:
            monkeypatch.undo()
            # As another caller does it.
            await asyncio.create_task(delete(), context=Context())
            return await update(*arguments, **options)

        for is_made_anew in (True, False):
            await store.rooms.ensure("r")
            for _ in range(5):
                await store.rooms.events.append("r", Event(channel_id="c"))
            monkeypatch.setattr(markers, "update_one", delete_first)
            assert not await store.rooms.read_markers.advance("r", "phone")
            assert await store.engine.database["read_markers"].count_documents({}) == 0
            assert await store.rooms.read_markers.find("r", "phone") is None
            if is_made_anew:
                assert await store.rooms.read_markers.count_unread("r", "phone") == 1

    async def test_a_room_made_anew_while_the_old_one_is_deleted_loses_nothing(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store.rooms.create("r")
        await fill(store)
        collections = type(store.engine.database["events"])
        update = collections.update_many

        async def make_anew() -> None:
            await store.rooms.create("r")
            await fill(store)

        async def make_anew_first(*arguments: Any, **options: Any) -> Any:
            monkeypatch.undo()
            # As another caller does it.
            await asyncio.create_task(make_anew(), context=Context())
            return await update(*arguments, **options)

        monkeypatch.setattr(collections, "update_many", make_anew_first)
        assert await store.rooms.delete("r")
        assert await parts(store) == dict.fromkeys(PARTS, 1)
        assert (await store.rooms.get("r")).event_count == 1

    async def test_ensure_creates_a_room_once_and_then_returns_it(self, store: AsyncMongoStore) -> None:
        made = await asyncio.gather(*(store.rooms.ensure("r", metadata={"n": n}) for n in range(10)))
        assert made == [made[0]] * 10
        assert await store.rooms.get("r") == made[0]
        await store.rooms.update("r", status="closed")
        assert (await store.rooms.ensure("r", status="new")).status == "closed"
        await store.rooms.delete("r")
        assert (await store.rooms.ensure("r", status="new")).status == "new"

    async def test_one_of_many_concurrent_deletes_did_it(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("r")
        await fill(store)
        assert sum(await asyncio.gather(*(store.rooms.delete("r") for _ in range(8)))) == 1
        assert not await store.rooms.exists("r")
        assert await parts(store) == dict.fromkeys(PARTS, 0)

    @pytest.mark.parametrize("finish", ["delete", "create"])
    async def test_a_deletion_that_was_cut_short_is_finished(
        self, store: AsyncMongoStore, finish: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rooms = store.engine.database["rooms"]
        await store.rooms.create("r")
        await fill(store)

        async def crash(*arguments: Any, **options: Any) -> None:
            raise PyMongoError("crashed")

        with monkeypatch.context() as broken:
            broken.setattr(type(rooms), "delete_many", crash)
            with pytest.raises(MongoStoreError):
                await store.rooms.delete("r")
        assert await rooms.count_documents({"state": "deleting"}) == 1
        assert await store.rooms.find("r") is None
        with pytest.raises(NotFoundError):
            await store.rooms.get_full("r")
        assert await store.rooms.count() == 0
        assert await store.rooms.find_by_participant("p") is None
        assert [*await store.rooms.list_by_channel("c")] == []
        with pytest.raises(NotFoundError):
            await store.rooms.events.append("r", Event(channel_id="c"))
        if finish == "delete":
            assert not await store.rooms.delete("r")
            assert await rooms.count_documents({}) == 0
        else:
            await store.rooms.create("r")
        assert await parts(store) == dict.fromkeys(PARTS, 0)
