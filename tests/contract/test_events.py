"""What events promise when they are committed, changed and deleted, on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    DocumentTooLargeError,
    Event,
    IdempotencyKeyError,
    InvalidDocumentError,
    InvalidValueError,
    MongoStoreError,
    NotFoundError,
)
from tests.contract.fixtures import T, rows


def new_event(event_id: str | None = None, **members: Any) -> Event:
    members = {"channel_id": "c", **members}
    return Event(**members) if event_id is None else Event(id=event_id, **members)


async def indexes(store: AsyncMongoStore, room_id: str = "r") -> dict[str, Any]:
    listed = store.rooms.events.iter(room_id, blocked=True)
    return {event.id: event.index async for event in listed}


class TestEvents:
    @pytest.fixture(autouse=True)
    async def _room(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("r")

    @pytest.mark.smoke
    async def test_a_commit_returns_what_get_returns(self, store: AsyncMongoStore) -> None:
        event = Event(
            id="e",
            room_id="r",
            index=99,
            type="tool",
            status="pending",
            visibility="internal",
            channel_id="c",
            channel_type="sms",
            participant_id="p",
            content=[1, {"a": None}],
            parent_event_id="root",
            responds_to="asked",
            correlation_id="run",
            idempotency_key="k",
            change="edit",
            target_event_id="t",
            created_at=T,
            data={"d": 1},
            metadata={"a.b": 1},
            delivery_results={"c.1": {"ok": True}},
        )
        committed = await store.rooms.events.append(event.room_id, event)
        assert committed == event.model_copy(update={"index": 0})
        assert committed == await store.rooms.events.get("r", "e") == await store.rooms.events.find("r", "e")

    async def test_a_minted_event_is_told_when_it_was_stored(self, store: AsyncMongoStore) -> None:
        one, other = (
            await store.rooms.events.append("r", new_event()),
            await store.rooms.events.append("r", new_event()),
        )
        assert one.id != other.id
        assert one.created_at
        assert abs(datetime.now(UTC) - one.created_at).total_seconds() < 60
        assert await store.rooms.events.find("r", "unknown") is None
        with pytest.raises(NotFoundError) as caught:
            await store.rooms.events.get("r", "unknown")
        assert (caught.value.kind, caught.value.id) == ("event", "unknown")

    async def test_commits_count_creates_do_not(self, store: AsyncMongoStore) -> None:
        for name, verb in zip("abcd", ("append", "create", "append", "create"), strict=True):
            await getattr(store.rooms.events, verb)("r", new_event(name))
        room = await store.rooms.get("r")
        assert (room.event_count, room.latest_index) == (2, 2)
        assert await indexes(store) == {"a": 0, "b": 1, "c": 2, "d": 3}

    async def test_an_activity_is_at_the_time_of_the_server(
        self, store: AsyncMongoStore, let_pass: Callable[[timedelta], None]
    ) -> None:
        let_pass(timedelta(days=2))
        event = await store.rooms.events.append("r", new_event())
        active_at = (await store.rooms.get("r")).active_at
        assert active_at
        assert event.created_at
        assert abs(active_at - event.created_at) < timedelta(days=1)

    async def test_concurrent_commits_of_several_rooms_get_dense_indexes(
        self, store: AsyncMongoStore
    ) -> None:
        for name in ("s", "t"):
            await store.rooms.create(name)
        commits = [store.rooms.events.append(name, new_event()) for _ in range(120) for name in "rst"]
        creates = [store.rooms.events.create(name, new_event()) for _ in range(15) for name in "rst"]
        committed = await asyncio.gather(*commits, *creates)
        for name in "rst":
            sent = [event.index for event in committed if event.room_id == name]
            assert sorted(sent) == [*range(135)]
            assert sorted((await indexes(store, name)).values()) == [*range(135)]
            room = await store.rooms.get(name)
            assert room.event_count == 120
            assert room.latest_index == max(
                event.index or 0 for event in committed[:360] if event.room_id == name
            )

    async def test_an_index_is_never_given_again(self, store: AsyncMongoStore) -> None:
        for name in "abc":
            await store.rooms.events.append("r", new_event(name))
        assert [event.id for event in await store.rooms.events.pop("r", "c")] == ["c"]
        assert (await store.rooms.get("r")).event_count == 3
        assert (await store.rooms.get("r")).latest_index == 2
        assert (await store.rooms.events.append("r", new_event("d"))).index == 3
        for name in "abd":
            await store.rooms.events.delete("r", name)
        assert (await store.rooms.events.create("r", new_event())).index == 4

    async def test_a_created_event_keeps_its_index_and_the_next_one_is_above(
        self, store: AsyncMongoStore
    ) -> None:
        before = await store.rooms.get("r")
        assert (await store.rooms.events.create("r", new_event("a", index=5))).index == 5
        assert (await store.rooms.events.create("r", new_event("b", index=2))).index == 2
        assert await store.rooms.get("r") == before
        assert (await store.rooms.events.append("r", new_event("c"))).index == 6
        for taken in (2, 5, 6):
            with pytest.raises(AlreadyExistsError):
                await store.rooms.events.create("r", new_event(index=taken))
        assert await indexes(store) == {"b": 2, "a": 5, "c": 6}

    async def test_activity_wakes_a_paused_room_and_no_other(self, store: AsyncMongoStore) -> None:
        for status in ("active", "paused", "closed"):
            await store.rooms.create(status, status=status, paused_at=T, updated_at=T)
            quiet = await store.rooms.get(status)
            await store.rooms.events.append(status, new_event(), activity=False)
            await store.rooms.events.create(status, new_event())
            room = await store.rooms.get(status)
            assert room == quiet.model_copy(update={"event_count": 1, "latest_index": 0})
            await store.rooms.events.append(status, new_event())
            room = await store.rooms.get(status)
            assert room.active_at
            assert abs(datetime.now(UTC) - room.active_at).total_seconds() < 60
            if status == "paused":
                assert (room.status, room.paused_at) == ("active", None)
                assert room.updated_at == room.active_at
            else:
                assert (room.status, room.paused_at, room.updated_at) == (status, T, T)

    @pytest.mark.smoke
    async def test_an_edit_rewrites_its_target_but_not_its_delivery(self, store: AsyncMongoStore) -> None:
        target = await store.rooms.events.append(
            "r", new_event("t", content="old", idempotency_key="k", created_at=T)
        )
        await store.rooms.events.update("r", "t", delivery_results={"c": "sent"})
        edited = target.model_copy(
            update={
                "content": "new",
                "index": 77,
                "created_at": T + timedelta(days=1),
                "metadata": {"edited": True},
                "correlation_id": "run",
                "idempotency_key": None,
                "delivery_results": {"c": "lost"},
            }
        )
        edit = await store.rooms.events.append(
            "r", new_event("e", type="edit", change="edit", target_event_id="t"), target=edited
        )
        assert edit.index == 1
        assert await store.rooms.events.get("r", "t") == edited.model_copy(
            update={"index": 0, "created_at": T, "delivery_results": {"c": "sent"}}
        )
        assert (await store.rooms.events.append("r", new_event("again", idempotency_key="k"))).index == 2

    async def test_a_delete_marks_the_edits_of_its_target_alone(self, store: AsyncMongoStore) -> None:
        target = await store.rooms.events.append("r", new_event("t"))
        other = await store.rooms.events.append("r", new_event("other"))
        for name, of in (("e1", target), ("e2", target), ("e3", other)):
            edit = new_event(name, type="edit", change="edit", target_event_id=of.id, metadata={"kept": 1})
            await store.rooms.events.append("r", edit, target=of)
        erased = target.model_copy(update={"content": None, "metadata": {"deleted": True}})
        delete = new_event("d", type="delete", change="delete", target_event_id="t")
        await store.rooms.events.append("r", delete, target=erased)
        records = {event.id: event.metadata async for event in store.rooms.events.iter("r")}
        assert records == {
            "t": {"deleted": True},
            "other": {},
            "e1": {"kept": 1, "deleted": True},
            "e2": {"kept": 1, "deleted": True},
            "e3": {"kept": 1},
            "d": {},
        }

    async def test_a_refused_event_leaves_everything_as_it_was(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("s", status="paused", paused_at=T)
        held = await store.rooms.events.append("r", new_event("held", idempotency_key="k", content="kept"))
        await store.rooms.events.append("s", new_event("elsewhere"), activity=False)
        await store.rooms.events.append("r", new_event("edit", change="edit", target_event_id="held"))
        before = await rows(store)
        changed = held.model_copy(update={"content": "changed", "room_id": None})
        away = new_event("elsewhere")
        big = new_event(content="x" * 17_000_000)
        for event, options, kind in (
            (new_event(room_id="unknown"), {}, "room"),
            (new_event(idempotency_key="k"), {}, "idempotency key"),
            (new_event(idempotency_key="k"), {"target": changed}, "idempotency key"),
            (new_event("held"), {}, "event"),
            (new_event("held", idempotency_key="k"), {"target": changed}, "event"),
            (new_event("elsewhere"), {}, "event"),
            (new_event("held", room_id="s"), {}, "event"),
            (new_event("held", room_id="r"), {}, "event"),
            (new_event(), {"target": new_event("unknown")}, "event"),
            (new_event(), {"target": away}, "event"),
            (new_event(room_id="s"), {"target": changed}, "event"),
            (
                new_event(type="delete", change="delete", target_event_id="nobody"),
                {"target": new_event("nobody")},
                "event",
            ),
            (new_event(idempotency_key="k"), None, "idempotency key"),
            (new_event("held"), None, "event"),
            (new_event(index=0), None, "event of the room with the index"),
            (new_event("held", index=50), None, "event"),
            (new_event(index=50, idempotency_key="k"), None, "idempotency key"),
            (new_event(index=50, room_id="unknown"), None, "room"),
            (new_event(room_id="unknown"), None, "room"),
        ):
            verb = (
                store.rooms.events.create(event.room_id or "r", event)
                if options is None
                else store.rooms.events.append(event.room_id or "r", event, **options)
            )
            with pytest.raises((AlreadyExistsError, NotFoundError)) as caught:
                await verb
            assert caught.value.kind == kind
            assert isinstance(caught.value, IdempotencyKeyError) == (kind == "idempotency key")
            assert await rows(store) == before
        for refused in (
            store.rooms.events.append("r", big),
            store.rooms.events.create("r", big),
            store.rooms.events.append("r", held, target=big),
        ):
            with pytest.raises(DocumentTooLargeError):
                await refused
        assert await rows(store) == before

    async def test_a_key_is_taken_in_its_room_and_channel_alone(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("s")
        for name, members in (
            ("a", {}),
            ("b", {"channel_id": "d"}),
            ("c", {"room_id": "s"}),
            ("d", {"idempotency_key": "other"}),
            ("e", {"idempotency_key": ""}),
            ("f", {"idempotency_key": None}),
            ("g", {"idempotency_key": None}),
        ):
            event = new_event(name, **{"idempotency_key": "k", **members})
            await store.rooms.events.append(event.room_id or "r", event)
        with pytest.raises(AlreadyExistsError):
            await store.rooms.events.append("r", new_event(idempotency_key=""))
        find = store.rooms.events.find_by_key

        async def found(*args: Any, **options: Any) -> Any:
            event = await find(*args, **options)
            return event and event.id

        assert await found("r", "k", channel_id="c") == "a"
        assert await found("r", "k", channel_id="d") == "b"
        assert await found("r", "k", channel_id="e") is None
        assert await found("r", "k") == "a"
        assert await found("s", "k") == "c"
        assert await found("r", "") == "e"
        assert await found("r", "free") is None
        assert await found("unknown", "k") is None
        await store.rooms.events.delete("r", "a")
        assert await found("r", "k") == "b"
        assert (await store.rooms.events.append("r", new_event("again", idempotency_key="k"))).index == 6
        await store.rooms.events.update("r", "again", status="blocked")
        assert await found("r", "k", channel_id="c") == "again"

    async def test_one_of_many_concurrent_commits_with_one_key_wins(self, store: AsyncMongoStore) -> None:
        commits = [store.rooms.events.append("r", new_event(f"e{n}", idempotency_key="k")) for n in range(20)]
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
        [winner] = [outcome for outcome in outcomes if isinstance(outcome, Event)]
        assert {type(outcome) for outcome in outcomes} == {Event, IdempotencyKeyError}
        assert await indexes(store) == {winner.id: 0}
        room = await store.rooms.get("r")
        assert (room.event_count, room.latest_index) == (1, 0)
        assert (await store.rooms.events.append("r", new_event())).index == 1

    @pytest.mark.smoke
    async def test_of_a_group_of_good_and_bad_commits_the_good_ones_land(
        self, store: AsyncMongoStore
    ) -> None:
        target = await store.rooms.events.append("r", new_event("held", idempotency_key="k"))
        bad: list[Any] = [
            store.rooms.events.append("r", new_event("held")),
            store.rooms.events.append("r", new_event("b1", idempotency_key="k")),
            store.rooms.events.append("r", new_event("b2"), target=new_event("unknown")),
            store.rooms.events.append("r", new_event("b3", content="x" * 17_000_000)),
            store.rooms.events.append("r", new_event("b4", content=object())),
            store.rooms.events.append("r", {"id": "b5"}),  # type: ignore[arg-type],
        ]
        good = [store.rooms.events.append("r", new_event(f"g{n}")) for n in range(12)]
        good.append(
            store.rooms.events.append(
                "r", new_event("edit"), target=target.model_copy(update={"content": "new"})
            )
        )
        mixed = [call for pair in zip(good, bad, strict=False) for call in pair]
        outcomes = await asyncio.gather(*mixed, *good[len(bad) :], return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, MongoStoreError)]
        landed = [outcome for outcome in outcomes if isinstance(outcome, Event)]
        assert (len(refused), len(landed)) == (len(bad), len(good))
        stored = await indexes(store)
        assert stored == {"held": 0, **{event.id: event.index for event in landed}}
        assert sorted(stored.values()) == [*range(14)]
        assert (await store.rooms.get("r")).event_count == 14
        assert (await store.rooms.events.get("r", "held")).content == "new"

    async def test_an_append_creates_a_room_that_is_not_there(self, store: AsyncMongoStore) -> None:
        events = store.rooms.events
        with pytest.raises(NotFoundError):
            await events.append("new", new_event("x"))
        first = await events.append("new", new_event("a"), create={"name": "n", "metadata": {"k": 1}})
        more = [
            await events.append("new", new_event("b"), create={"name": "other"}),
            await events.append("new", new_event("c"), create=True),
        ]
        assert [event.index for event in (first, *more)] == [0, 1, 2]
        room = await store.rooms.get("new")
        assert (room.name, room.metadata, room.event_count) == ("n", {"k": 1}, 3)
        assert (await events.append("plain", new_event("d"), create=True)).index == 0
        assert (await store.rooms.get("plain")).status == "active"

    async def test_an_append_that_is_refused_creates_no_room(self, store: AsyncMongoStore) -> None:
        events = store.rooms.events
        for create in ("yes", None, 1, {"nmae": "n"}, {"name": 1}, {"expires_at": "soon"}):
            for room_id in ("r", "new"):
                with pytest.raises(InvalidValueError):
                    await events.append(room_id, new_event("x"), create=create)  # type: ignore[arg-type]
        # A target cannot be in a room that is not there.
        for room_id, kind in (("r", "event"), ("new", "room")):
            with pytest.raises(NotFoundError) as caught:
                await events.append(room_id, new_event("x"), create=True, target=new_event("none"))
            assert caught.value.kind == kind
        assert not await store.rooms.exists("new")
        assert not await events.find_by_id("x")

    async def test_appends_at_once_create_their_room_once(self, store: AsyncMongoStore) -> None:
        appends = (
            store.rooms.events.append("new", new_event(f"e{n}"), create={"data": {"by": n}})
            for n in range(20)
        )
        appended = await asyncio.gather(*appends)
        assert sorted(event.index for event in appended if event.index is not None) == [*range(20)]
        assert (await store.rooms.get("new")).event_count == 20

    async def test_update_changes_the_given_members_only(self, store: AsyncMongoStore) -> None:
        before = await store.rooms.events.append(
            "r",
            new_event("e", content="old", data={"a": 1}, metadata={"k": 1, "a.b": 1, "keep": {"deep": 1}}),
        )
        after = await store.rooms.events.update(
            "r", "e", status="blocked", metadata={"k": None, "a.b": 2, "": 3}
        )
        assert after == before.model_copy(
            update={"status": "blocked", "metadata": {"a.b": 2, "": 3, "keep": {"deep": 1}}}
        )
        assert after == await store.rooms.events.get("r", "e")
        after = await store.rooms.events.update("r", "e", content=None, data={"b": 2}, visibility="internal")
        assert (after.content, after.data, after.visibility) == (None, {"b": 2}, "internal")
        with pytest.raises(NotFoundError):
            await store.rooms.events.update("r", "unknown", status="blocked")

    async def test_update_with_unset_takes_none_for_a_value(self, store: AsyncMongoStore) -> None:
        odd = {"a.b": 1, "$c": 1, "": 1, "nul\0": 1, "\ud800": 1}
        events = store.rooms.events
        await events.append("r", new_event("e", metadata={"keep": 1, "drop": 1, "both": 1, **odd}))
        unset = [f"metadata.{key}" for key in ("drop", "both", "unknown", *odd)]
        after = await events.update("r", "e", metadata={"none": None, "both": 2}, unset=unset)
        assert after.metadata == {"keep": 1, "none": None, "both": 2}
        after = await events.update("r", "e", metadata={"more": None}, unset=[])
        assert after.metadata == {"keep": 1, "none": None, "both": 2, "more": None}
        assert await events.get("r", "e") == after
        for bad in ("metadata.k", ["k"], ["data.k"], ["metadata"], [None], []):
            with pytest.raises(InvalidValueError, match="unset" if bad else "nothing to change"):
                await events.update("r", "e", unset=bad)  # type: ignore[arg-type]

    async def test_a_replacement_keeps_place_birth_and_delivery(self, store: AsyncMongoStore) -> None:
        before = await store.rooms.events.append(
            "r", new_event("e", content="old", responds_to="x", data={"a": 1})
        )
        await store.rooms.events.append("r", new_event("edit", change="edit", target_event_id="e"))
        await store.rooms.events.update("r", "e", delivery_results={"c": 1})
        replaced = await store.rooms.events.replace(
            "r", new_event("e", index=50, created_at=T, content="new", delivery_results={"c": 2})
        )
        remaining = {"index": 0, "created_at": before.created_at, "delivery_results": {"c": 1}}
        expected = new_event("e", room_id="r", content="new", **remaining)
        assert await store.rooms.events.get("r", "e") == expected == replaced
        assert (await store.rooms.events.get("r", "edit")).metadata == {}
        replaced = await store.rooms.events.replace(
            "r", new_event("e", metadata={"deleted": True}), erase_edits=True
        )
        assert await store.rooms.events.get("r", "e") == replaced
        assert (await store.rooms.events.get("r", "edit")).metadata == {"deleted": True}
        await store.rooms.events.append("r", new_event("held", idempotency_key="k"))
        for erase in (False, True):
            with pytest.raises(AlreadyExistsError):
                await store.rooms.events.replace("r", new_event("e", idempotency_key="k"), erase_edits=erase)
            with pytest.raises(NotFoundError):
                await store.rooms.events.replace("s", new_event("e"), erase_edits=erase)
            with pytest.raises(NotFoundError):
                await store.rooms.events.replace("r", new_event("unknown"), erase_edits=erase)
        assert (await store.rooms.events.get("r", "e")).idempotency_key is None

    async def test_delivery_is_noted_without_undoing_an_edit(self, store: AsyncMongoStore) -> None:
        await store.rooms.events.append("r", new_event("e", delivery_results={"a": 1}))
        await asyncio.gather(
            store.rooms.events.update("r", "e", content="new"),
            store.rooms.events.update("r", "e", delivery_results={"c.d": {"$ok": True}}),
        )
        event = await store.rooms.events.get("r", "e")
        assert (event.content, event.delivery_results) == ("new", {"c.d": {"$ok": True}})
        for path in (("s", "e"), ("r", "unknown")):
            with pytest.raises(NotFoundError):
                await store.rooms.events.update(*path, delivery_results={})
        assert await store.rooms.events.get("r", "e") == event
        assert (await store.rooms.events.update("r", "e", delivery_results={})).delivery_results == {}
        assert (await store.rooms.events.get("r", "e")).delivery_results == {}

    @pytest.mark.smoke
    async def test_a_deletion_takes_replies_and_all_changes_of_them(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("s")
        for name, members in (
            ("root", {"idempotency_key": "k"}),
            ("edit-of-root", {"change": "edit", "target_event_id": "root"}),
            ("reply1", {"parent_event_id": "root"}),
            ("other", {}),
            ("delete-of-reply1", {"change": "delete", "target_event_id": "reply1"}),
            ("edit-of-other", {"change": "edit", "target_event_id": "other"}),
            ("reply2", {"parent_event_id": "root", "status": "blocked"}),
            ("reply-of-reply", {"parent_event_id": "reply1"}),
            ("reply-elsewhere", {"parent_event_id": "root", "room_id": "s"}),
        ):
            event = new_event(name, **members)
            await store.rooms.events.append(event.room_id or "r", event)
        assert await store.rooms.events.pop("s", "root") == []
        assert await store.rooms.events.pop("r", "unknown") == []
        before = {event.id: event async for event in store.rooms.events.iter("r", blocked=True)}
        gone = await store.rooms.events.pop("r", "root")
        assert [event.id for event in gone] == [
            "root",
            "reply1",
            "reply2",
            "edit-of-root",
            "delete-of-reply1",
        ]
        assert gone == [before[event.id] for event in gone]
        assert [*await indexes(store)] == ["other", "edit-of-other", "reply-of-reply"]
        assert [*await indexes(store, "s")] == ["reply-elsewhere"]
        assert await store.rooms.events.pop("r", "root") == []
        assert (await store.rooms.events.append("r", new_event(idempotency_key="k"))).index == 8

    async def test_a_deletion_can_leave_the_replies(self, store: AsyncMongoStore) -> None:
        await store.rooms.events.append("r", new_event("root"))
        await store.rooms.events.append("r", new_event("reply", parent_event_id="root"))
        await store.rooms.events.append(
            "r", new_event("edit-of-reply", change="edit", target_event_id="reply")
        )
        await store.rooms.events.append("r", new_event("edit", change="edit", target_event_id="root"))
        gone = await store.rooms.events.pop("r", "root", replies=False)
        assert [event.id for event in gone] == ["root", "edit"]
        assert [*await indexes(store)] == ["reply", "edit-of-reply"]

    async def test_one_of_many_concurrent_deletions_did_it(self, store: AsyncMongoStore) -> None:
        await store.rooms.events.append("r", new_event("e"))
        await store.rooms.events.append("r", new_event("reply", parent_event_id="e"))
        gone = await asyncio.gather(*(store.rooms.events.pop("r", "e") for _ in range(8)))
        assert sorted(len(events) for events in gone) == [0] * 7 + [2]
        await store.rooms.events.append("r", new_event("e"))
        assert sum(await asyncio.gather(*(store.rooms.events.delete("r", "e") for _ in range(8)))) == 1

    async def test_delete_removes_unreadable_events_and_pop_refuses_them(
        self, store: AsyncMongoStore
    ) -> None:
        for name in ("root", "reply"):
            await store.rooms.events.append(
                "r", new_event(name, parent_event_id=None if name == "root" else "root")
            )
        await store.engine.database["events"].update_one({"_id": "reply"}, {"$set": {"type": 5}})
        before = await rows(store)
        with pytest.raises(InvalidDocumentError):
            await store.rooms.events.pop("r", "root")
        assert await rows(store) == before
        assert not await store.rooms.events.delete("s", "root")
        assert await store.rooms.events.delete("r", "root")
        assert not await store.rooms.events.delete("r", "root")
        assert (await rows(store))["events"] == []

    async def test_an_event_is_found_in_its_room_or_by_its_id_alone(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("s")
        event, events = await store.rooms.events.append("r", new_event("e")), store.rooms.events
        assert await events.find("r", "e") == event == await events.find_by_id("e")
        assert await events.find("s", "e") is None is await events.find_by_id("unknown")
        assert [await events.exists(room, "e") for room in "rs"] == [True, False]
        with pytest.raises(NotFoundError):
            await events.get("s", "e")
        with pytest.raises(NotFoundError):
            await events.update("s", "e", status="read")
        assert await events.get("r", "e") == event

    async def test_an_event_of_another_room_is_refused(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("s")
        event = await store.rooms.events.append("r", new_event("e"))
        before = await rows(store)
        for call in (
            store.rooms.events.append("s", event),
            store.rooms.events.append("s", new_event(), target=event),
            store.rooms.events.create("s", event),
            store.rooms.events.replace("s", event),
        ):
            with pytest.raises(InvalidValueError) as caught:
                await call
            assert caught.value.path == "room_id"
        assert await rows(store) == before

    async def test_what_another_store_changes_is_heeded_by_the_next_commit(
        self, store: AsyncMongoStore, store_uri: str, database: str
    ) -> None:
        async with AsyncMongoStore(store_uri, database) as other:
            assert (await store.rooms.events.append("r", new_event("a"))).index == 0
            await other.rooms.update("r", status="paused")
            assert (await store.rooms.events.append("r", new_event("b"))).index == 1
            assert (await other.rooms.get("r")).status == "active"
            assert await other.rooms.events.delete("r", "b")
            assert (await store.rooms.events.append("r", new_event("c"))).index == 2
            assert (await other.rooms.get("r")).event_count == 3
            assert await other.rooms.delete("r")
            with pytest.raises(NotFoundError):
                await store.rooms.events.append("r", new_event("d"))
            await other.rooms.create("r")
            assert (await store.rooms.events.append("r", new_event("e"))).index == 0

    async def test_a_deleted_event_is_found_by_no_verb(self, store: AsyncMongoStore) -> None:
        events = store.rooms.events
        await events.append("r", new_event("e"))
        assert await events.delete("r", "e")
        assert await events.find("r", "e") is None is await events.find_by_id("e")
        assert not await events.exists("r", "e")
        assert not await store.rooms.read_markers.advance("r", "c", "e")
        assert await store.rooms.read_markers.count_unread("r", "c") == 0
        with pytest.raises(NotFoundError):
            await events.update("r", "e", status="read")
