"""What participants of sessions promise, on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    ConflictError,
    Message,
    MongoStore,
    NotFoundError,
    SessionParticipant,
)
from tests.contract.edge_cases import refused
from tests.contract.turns import contents, insights_of, new_turns, numbers

ODD_IDS = ["", "0", "10", "$x", "a.b", "a b", "é", "%2E;", "nul\0", "x" * 512, "messages.0"]


class TestParticipants:
    async def test_participants_are_bound_from_the_start_in_their_order(self, store: AsyncMongoStore) -> None:
        created = await store.sessions.create("s", participants=["b", "a", "c"])
        assert [one.id for one in created.participants] == ["b", "a", "c"]
        assert created == await store.sessions.get("s")
        assert created.participants[0] == SessionParticipant(id="b", bound_at=created.created_at)
        assert (await store.sessions.list()).items == [created]
        assert (await store.sessions.create("t")).participants == []
        for wrong in (["a", "a"], "ab", None, [1], ["x" * 513], {"a": 1}):
            await refused(store.sessions.create("u", participants=wrong))

    @pytest.mark.parametrize("odd", ODD_IDS)
    async def test_any_id_can_be_bound(self, store: AsyncMongoStore, odd: str) -> None:
        await store.sessions.create("s", participants=["plain"])
        assert await store.sessions.participants.ensure("s", odd)
        assert await numbers(store.sessions, odd, new_turns("one", "two")) == [1, 2]
        assert await contents(store, odd) == [(1, "one"), (2, "two")]
        integration = await store.sessions.turns.integrate("s", insights_of)
        assert integration.results[1].participant_id == odd
        assert integration.session.participants[1].insights == [f"{odd}: one", f"{odd}: two"]
        assert (await store.sessions.truncate("s")).participants[1].id == odd
        assert await numbers(store.sessions, odd, new_turns("anew")) == [1]
        assert await store.sessions.participants.delete("s", odd)
        assert [one.id for one in await store.sessions.participants.list("s")] == ["plain"]

    @pytest.mark.smoke
    async def test_binding_again_keeps_everything(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", participants=["z"])
        before = datetime.now(UTC) - timedelta(seconds=60)
        assert await store.sessions.participants.ensure("s", "a")
        await store.sessions.turns.append_many("s", "a", new_turns(1, 2))
        await store.sessions.turns.integrate("s", insights_of)
        bound = await store.sessions.participants.list("s")
        assert await store.sessions.participants.ensure("s", "a") == bound[1]
        with pytest.raises(AlreadyExistsError) as caught:
            await store.sessions.participants.create("s", "a")
        assert (caught.value.kind, caught.value.id) == ("participant", "a")
        assert await store.sessions.participants.list("s") == bound
        assert await store.sessions.participants.get("s", "a") == bound[1]
        assert await store.sessions.participants.find("s", "z") == bound[0]
        assert [one.id for one in bound] == ["z", "a"]
        assert (bound[1].turn_count, bound[1].insights, bound[1].integrated_until) == (
            2,
            ["a: 1", "a: 2"],
            2,
        )
        assert before < bound[1].bound_at < datetime.now(UTC) + timedelta(seconds=60)

    async def test_of_parallel_bindings_and_unbindings_one_did_it(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s")
        participants = store.sessions.participants
        bound = await asyncio.gather(
            *(participants.create("s", "a") for _ in range(10)), return_exceptions=True
        )
        assert sum(isinstance(one, AlreadyExistsError) for one in bound) == 9
        assert await participants.get("s", "a") in bound
        ensured = await asyncio.gather(*(participants.ensure("s", "a") for _ in range(10)))
        assert ensured == [await participants.get("s", "a")] * 10
        outcomes = await asyncio.gather(*(participants.delete("s", "a") for _ in range(10)))
        assert sorted(outcomes) == [False] * 9 + [True]
        ensured = await asyncio.gather(*(participants.ensure("s", "a") for _ in range(10)))
        assert ensured == [await participants.get("s", "a")] * 10
        assert await participants.delete("s", "a")
        await asyncio.gather(*(store.sessions.participants.ensure("s", f"p{n}") for n in range(20)))
        listed = await store.sessions.participants.list("s")
        assert {one.id for one in listed} == {f"p{n}" for n in range(20)}
        assert (await store.sessions.get("s")).revision == 24

    @pytest.mark.parametrize("count", [3, 200])
    @pytest.mark.smoke
    async def test_unbinding_takes_turns_insights_and_marker_and_nothing_else(
        self, store: AsyncMongoStore, count: int
    ) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a", "b"])
        for n in range(count):
            await sessions.turns.append_many("s", "a", new_turns(f"alpha {n}"))
            await sessions.turns.append_many("s", "b", new_turns(f"b{n}"))
            await sessions.messages.append("s", Message(role="user", conversation_id="a", content=f"m{n}"))
        await sessions.turns.append_many("s", "a", new_turns("x" * 2_000_000, *range(40)))
        await sessions.turns.integrate("s", insights_of)
        assert await sessions.participants.delete("s", "a")
        assert not await sessions.participants.delete("s", "a")
        session = await sessions.get("s")
        assert session.count == count
        assert session.last is not None
        assert session.last.text == f"m{count - 1}"
        [other] = session.participants
        assert (other.id, other.turn_count, len(other.insights)) == ("b", count, count)
        assert [one.content async for one in sessions.messages.iter("s")] == [f"m{n}" for n in range(count)]

        assert await sessions.participants.ensure("s", "a")
        anew = (await sessions.participants.list("s"))[1]
        assert (anew.id, anew.turn_count) == ("a", 0)
        assert (anew.insights, anew.integrated_until) == ([], None)
        assert await numbers(sessions, "a", new_turns("anew")) == [1]
        assert await contents(store, "a") == [(1, "anew")]
        assert await contents(store, "b") == [(n + 1, f"b{n}") for n in range(count)]
        for name in ("sessions", "session_turns", "session_insights"):
            stored = await store.engine.database[name].find({}).to_list()
            assert "alpha" not in str(stored)
        assert await store.engine.database["session_overflows"].count_documents({}) == 0

    async def test_a_truncation_and_what_binds_meanwhile_both_hold(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", participants=["a"])
        for n in range(10):
            await store.sessions.turns.append_many("s", "a", new_turns(n))
            await asyncio.gather(
                store.sessions.truncate("s"),
                store.sessions.participants.ensure("s", f"p{n}"),
                store.sessions.participants.delete("s", f"p{n - 5}"),
            )
            bound = [one.id for one in await store.sessions.participants.list("s")]
            assert bound == ["a", *(f"p{i}" for i in range(max(0, n - 4), n + 1))]

    async def test_truncate_clears_data_turns_insights_and_markers_alone(
        self, store: AsyncMongoStore
    ) -> None:
        sessions = store.sessions
        before = await sessions.create(
            "s", name="n", data={"a": 1}, metadata={"k": 1}, participants=["a", "b"]
        )
        for _ in range(2):
            for n in range(150):
                await sessions.turns.append_many("s", "a", new_turns(n))
            await sessions.turns.append_many("s", "b", new_turns("x" * 2_000_000))
            await sessions.turns.integrate("s", insights_of)
            seen = await sessions.get("s")
            after = await sessions.truncate("s")
            assert after.participants == before.participants
            assert after.data == {}
            assert (after.name, after.metadata, after.created_at) == ("n", {"k": 1}, before.created_at)
            assert (after.count, after.last, after.revision) == (0, None, seen.revision + 1)
            assert await contents(store, "a") == await contents(store, "b") == []
        assert await numbers(sessions, "a", new_turns("anew")) == [1]
        for name, count in (("session_turns", 1), ("session_insights", 0), ("session_overflows", 0)):
            assert await store.engine.database[name].count_documents({}) == count

    async def test_a_session_that_is_gone_or_deleted_has_no_participants(
        self, store: AsyncMongoStore
    ) -> None:
        sessions = store.sessions
        await sessions.create("deleted", participants=["a"])
        await sessions.turns.append_many("deleted", "a", new_turns("kept"))
        await sessions.turns.integrate("deleted", insights_of)
        before = await sessions.get("deleted")
        assert await sessions.soft_delete("deleted")
        for session_id in ("unknown", "deleted"):
            for call in (
                sessions.participants.ensure(session_id, "b"),
                sessions.participants.ensure(session_id, "a"),
                sessions.participants.create(session_id, "b"),
                sessions.participants.get(session_id, "a"),
                sessions.participants.list(session_id),
                sessions.turns.append_many(session_id, "a", new_turns(1)),
                sessions.turns.append_many(session_id, "a", []),
                sessions.turns.list(session_id, "a"),
                anext(aiter(sessions.turns.iter(session_id, "a"))),
                sessions.turns.integrate(session_id, insights_of),
                sessions.truncate(session_id),
            ):
                with pytest.raises(NotFoundError) as caught:
                    await call
                assert (caught.value.kind, caught.value.id) == ("session", session_id)
            assert not await sessions.participants.delete(session_id, "a")
            assert await sessions.participants.find(session_id, "a") is None
        [listed] = (await sessions.list(deleted=True)).items
        assert listed.participants == before.participants
        assert (await sessions.undelete("deleted")).participants == before.participants
        assert await contents(store, "a", "deleted") == [(1, "kept")]
        for call in (
            sessions.turns.append_many("deleted", "b", new_turns(1)),
            sessions.turns.append_many("deleted", "b", []),
            sessions.turns.list("deleted", "b"),
            anext(aiter(sessions.turns.iter("deleted", "b"))),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id) == ("participant", "b")
        assert not await sessions.participants.delete("deleted", "b")

    async def test_the_revision_grows_with_whatever_a_session_shows_beside_messages(
        self, store: AsyncMongoStore
    ) -> None:
        sessions = store.sessions
        await sessions.create("s")
        changes: list[Callable[[], Awaitable[object]]] = [
            lambda: sessions.participants.ensure("s", "a"),
            lambda: sessions.turns.append_many("s", "a", new_turns(1, 2)),
            lambda: sessions.turns.integrate("s", insights_of),
            lambda: sessions.update("s", name="n"),
            lambda: sessions.truncate("s"),
            lambda: sessions.participants.delete("s", "a"),
        ]
        for number, change in enumerate(changes, 1):
            seen = await sessions.get("s")
            await change()
            now = await sessions.get("s")
            assert now.revision == number
            assert now.active_at > seen.active_at
            with pytest.raises(ConflictError):
                await sessions.update("s", revision=seen.revision, name="too late")
        await sessions.soft_delete("s")
        assert (await sessions.undelete("s")).revision == 8
        for nothing in (
            sessions.messages.append("s", Message(role="user")),
            sessions.participants.delete("s", "a"),
            sessions.turns.integrate("s", insights_of),
        ):
            await nothing
            assert (await sessions.get("s")).revision == 8
        assert (await sessions.update("s", revision=8, name="in time")).name == "in time"

    async def test_purge_leaves_nothing_of_participants_behind(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", participants=["a"])
        await store.sessions.turns.append_many("s", "a", new_turns(*range(300), "x" * 2_000_000))
        await store.sessions.turns.integrate("s", lambda *_: ["insight"])
        await store.sessions.delete("s")
        with pytest.raises(NotFoundError):
            await store.sessions.turns.append_many("s", "a", new_turns(1))
        for name in ("session_turns", "session_insights", "session_overflows"):
            assert await store.engine.database[name].count_documents({}) == 0, name
        # For a while a retried creation finds that it was there.
        [tombstone] = await store.engine.database["sessions"].find({}).to_list()
        assert tombstone.keys() == {"_id", "create_op", "state", "expires_at", "schema_version"}

    async def test_numbers_begin_anew_for_those_too_who_knew_the_old_ones(
        self, store: AsyncMongoStore, store_uri: str, database: str
    ) -> None:
        await store.sessions.create("s", participants=["a"])
        async with AsyncMongoStore(store_uri, database) as other:
            for change in ("truncate", "unbind", "bind"):
                assert await numbers(other.sessions, "a", new_turns(1, 2)) == [1, 2]
                if change == "truncate":
                    await store.sessions.truncate("s")
                else:
                    assert await store.sessions.participants.delete("s", "a")
                    if change == "unbind":
                        with pytest.raises(NotFoundError) as caught:
                            await other.sessions.turns.append_many("s", "a", new_turns(1))
                        assert (caught.value.kind, caught.value.id) == ("participant", "a")
                    assert await store.sessions.participants.ensure("s", "a")
                assert await numbers(other.sessions, "a", new_turns("anew")) == [1]
                assert await contents(store, "a") == [(1, "anew")]
                await other.sessions.truncate("s")

    @pytest.mark.parametrize("finisher", ["unbind", "truncate", "delete", "mend"])
    async def test_an_unbinding_that_was_cut_short_is_finished(
        self, store: AsyncMongoStore, finisher: str
    ) -> None:
        sessions, database = store.sessions, store.engine.database
        await sessions.create("s", participants=["a", "b"])
        for name in "ab":
            await sessions.turns.append_many("s", name, new_turns(*range(20), "x" * 2_000_000))
        await sessions.turns.integrate("s", lambda *_: ["insight"])
        stored = await database["sessions"].find_one({})
        # As a process that dies right behind the first write leaves it.
        epoch = stored["participants"]["a"]["epoch"]
        await database["sessions"].update_one(
            {}, {"$push": {"unbound": epoch}, "$unset": {"participants.a": ""}}
        )
        assert await sessions.participants.ensure("s", "a")
        assert await contents(store, "a") == []
        assert (await sessions.participants.get("s", "a")).insights == []
        finish: dict[str, Callable[[], Awaitable[object]]] = {
            "unbind": lambda: sessions.participants.delete("s", "a"),
            "truncate": lambda: sessions.truncate("s"),
            "delete": lambda: sessions.delete("s"),
            "mend": lambda: store.mend_leftovers(grace=0),
        }
        await finish[finisher]()
        for name in ("session_turns", "session_insights", "session_overflows"):
            assert await database[name].count_documents({"epoch": epoch}) == 0
        if finisher in ("unbind", "mend"):
            assert len(await contents(store, "b")) == 21


def test_the_blocking_twin_does_the_same() -> None:
    with MongoStore("mongomock://") as store:
        sessions = store.sessions
        sessions.create("s", participants=["a"])
        assert sessions.participants.ensure("s", "b")
        appended = sessions.turns.append_many("s", "a", new_turns(*range(250)))
        assert [turn.number for turn in appended] == [*range(1, 251)]
        assert [turn.content for turn in sessions.turns.iter("s", "a")] == [*range(250)]
        # From the thread in which it runs, a blocking integrator may use the blocking store.
        integration = sessions.turns.integrate(
            "s", lambda name, _: [len(sessions.turns.list("s", name).items)]
        )
        assert [result.status for result in integration.results] == ["integrated", "nothing_new"]
        assert sessions.participants.list("s")[0].insights == [50]
        assert sessions.participants.delete("s", "a")
        assert [session.id for session in sessions.list(order="created", newest=False).items] == ["s"]
