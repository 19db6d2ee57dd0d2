"""What participants of sessions promise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mongostore import (
    ConflictError,
    Message,
    NotFoundError,
    SessionParticipant,
)
from mongostore.testing.store.chat_turns import contents, insights_of, said
from mongostore.testing.store.oddities import refused

ODD_IDS = ["", "0", "10", "$x", "a.b", "a b", "é", "%2E;", "nul\0", "x" * 512, "messages.0"]


class ParticipantsSuite:
    """What the participants of a session have to do: be bound and unbound with all they have.

    Fixtures:
        store: An open one, empty for each test.
    """

    pytestmark = pytest.mark.asyncio

    async def test_participants_are_bound_from_the_start_in_their_order(self, store: Any) -> None:
        created = await store.sessions.create("s", participants=["b", "a", "c"])
        assert [one.participant for one in created.participants] == ["b", "a", "c"]
        assert created == await store.sessions.get("s")
        assert created.participants[0] == SessionParticipant(participant="b", bound_at=created.created_at)
        assert (await store.sessions.list()).items == [created]
        assert (await store.sessions.create("t")).participants == []
        for wrong in (["a", "a"], "ab", None, [1], ["x" * 513], {"a": 1}):
            await refused(store.sessions.create("u", participants=wrong))

    @pytest.mark.parametrize("odd", ODD_IDS)
    async def test_any_id_can_be_bound(self, store: Any, odd: str) -> None:
        await store.sessions.create("s", participants=["plain"])
        assert await store.sessions.bind_participant("s", odd)
        assert await store.sessions.append_chat_turns("s", odd, said("one", "two")) == 2
        assert await contents(store, odd) == [(1, "one"), (2, "two")]
        integration = await store.sessions.integrate("s", insights_of)
        assert integration.results[1].participant == odd
        assert integration.session.participants[1].insights == [f"{odd}: one", f"{odd}: two"]
        assert (await store.sessions.truncate("s")).participants[1].participant == odd
        assert await store.sessions.append_chat_turns("s", odd, said("anew")) == 1
        assert await store.sessions.unbind_participant("s", odd)
        assert [one.participant for one in await store.sessions.list_participants("s")] == ["plain"]

    async def test_binding_again_keeps_everything(self, store: Any) -> None:
        await store.sessions.create("s", participants=["z"])
        before = datetime.now(UTC) - timedelta(seconds=60)
        assert await store.sessions.bind_participant("s", "a")
        await store.sessions.append_chat_turns("s", "a", said(1, 2))
        await store.sessions.integrate("s", insights_of)
        bound = await store.sessions.list_participants("s")
        assert not await store.sessions.bind_participant("s", "a")
        assert await store.sessions.list_participants("s") == bound
        assert [one.participant for one in bound] == ["z", "a"]
        assert (bound[1].chat_turn_count, bound[1].insights, bound[1].last_integration_turn) == (
            2,
            ["a: 1", "a: 2"],
            2,
        )
        assert before < bound[1].bound_at < datetime.now(UTC) + timedelta(seconds=60)

    async def test_of_parallel_bindings_and_unbindings_one_did_it(self, store: Any) -> None:
        await store.sessions.create("s")
        for verb in (store.sessions.bind_participant, store.sessions.unbind_participant):
            outcomes = await asyncio.gather(*(verb("s", "a") for _ in range(10)))
            assert sorted(outcomes) == [False] * 9 + [True]
        await asyncio.gather(*(store.sessions.bind_participant("s", f"p{n}") for n in range(20)))
        bound = await store.sessions.list_participants("s")
        assert {one.participant for one in bound} == {f"p{n}" for n in range(20)}
        assert (await store.sessions.get("s")).revision == 22

    @pytest.mark.parametrize("count", [3, 200])
    async def test_unbinding_takes_turns_insights_and_marker_and_nothing_else(
        self, store: Any, count: int
    ) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a", "b"])
        for n in range(count):
            await sessions.append_chat_turns("s", "a", said(f"alpha {n}"))
            await sessions.append_chat_turns("s", "b", said(f"b{n}"))
            await sessions.append_message("s", Message(role="user", conversation_id="a", content=f"m{n}"))
        await sessions.append_chat_turns("s", "a", said("x" * 2_000_000, *range(40)))
        await sessions.integrate("s", insights_of)
        positions = {one.content: one.position async for one in sessions.iter_messages("s")}
        assert await sessions.unbind_participant("s", "a")
        assert not await sessions.unbind_participant("s", "a")
        session = await sessions.get("s")
        assert session.count == 2 * count
        assert session.last is not None
        assert session.last.text == f"m{count - 1}"
        [other] = session.participants
        assert (other.participant, other.chat_turn_count, len(other.insights)) == ("b", count, count)
        kept = {one.content: one.position async for one in sessions.iter_messages("s")}
        assert kept == {text: place for text, place in positions.items() if str(text)[0] in "bm"}

        assert await sessions.bind_participant("s", "a")
        anew = (await sessions.list_participants("s"))[1]
        assert (anew.participant, anew.chat_turn_count) == ("a", 0)
        assert (anew.insights, anew.last_integration_turn) == ([], None)
        assert await sessions.append_chat_turns("s", "a", said("anew")) == 1
        assert await contents(store, "a") == [(1, "anew")]
        assert await contents(store, "b") == [(n + 1, f"b{n}") for n in range(count)]

    async def test_a_truncation_and_what_binds_meanwhile_both_hold(self, store: Any) -> None:
        await store.sessions.create("s", participants=["a"])
        for n in range(10):
            await store.sessions.append_chat_turns("s", "a", said(n))
            await asyncio.gather(
                store.sessions.truncate("s"),
                store.sessions.bind_participant("s", f"p{n}"),
                store.sessions.unbind_participant("s", f"p{n - 5}"),
            )
            bound = [one.participant for one in await store.sessions.list_participants("s")]
            assert bound == ["a", *(f"p{i}" for i in range(max(0, n - 4), n + 1))]

    async def test_truncate_clears_data_turns_insights_and_markers_alone(self, store: Any) -> None:
        sessions = store.sessions
        before = await sessions.create(
            "s", name="n", data={"a": 1}, metadata={"k": 1}, participants=["a", "b"]
        )
        for _ in range(2):
            for n in range(150):
                await sessions.append_chat_turns("s", "a", said(n))
            await sessions.append_chat_turns("s", "b", said("x" * 2_000_000))
            await sessions.integrate("s", insights_of)
            seen = await sessions.get("s")
            after = await sessions.truncate("s")
            assert after.participants == before.participants
            assert after.data == {}
            assert (after.name, after.metadata, after.created_at) == ("n", {"k": 1}, before.created_at)
            assert (after.count, after.last, after.revision) == (0, None, seen.revision + 1)
            assert await contents(store, "a") == await contents(store, "b") == []
        assert await sessions.append_chat_turns("s", "a", said("anew")) == 1

    async def test_a_session_that_is_gone_or_deleted_has_no_participants(self, store: Any) -> None:
        sessions = store.sessions
        await sessions.create("deleted", participants=["a"])
        await sessions.append_chat_turns("deleted", "a", said("kept"))
        await sessions.integrate("deleted", insights_of)
        before = await sessions.get("deleted")
        assert await sessions.delete("deleted")
        for session_id in ("unknown", "deleted"):
            for call in (
                sessions.bind_participant(session_id, "b"),
                sessions.bind_participant(session_id, "a"),
                sessions.unbind_participant(session_id, "a"),
                sessions.list_participants(session_id),
                sessions.append_chat_turns(session_id, "a", said(1)),
                sessions.append_chat_turns(session_id, "a", []),
                sessions.list_chat_turns(session_id, "a"),
                anext(aiter(sessions.iter_chat_turns(session_id, "a"))),
                sessions.integrate(session_id, insights_of),
                sessions.truncate(session_id),
            ):
                with pytest.raises(NotFoundError) as caught:
                    await call
                assert (caught.value.kind, caught.value.id) == ("session", session_id)
        [listed] = (await sessions.list(deleted=True)).items
        assert listed.participants == before.participants
        assert (await sessions.restore("deleted")).participants == before.participants
        assert await contents(store, "a", "deleted") == [(1, "kept")]
        for call in (
            sessions.append_chat_turns("deleted", "b", said(1)),
            sessions.append_chat_turns("deleted", "b", []),
            sessions.list_chat_turns("deleted", "b"),
            anext(aiter(sessions.iter_chat_turns("deleted", "b"))),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id) == ("participant", "b")
        assert not await sessions.unbind_participant("deleted", "b")

    async def test_the_revision_grows_with_whatever_a_session_shows_beside_messages(self, store: Any) -> None:
        sessions = store.sessions
        await sessions.create("s")
        changes: list[Callable[[], Awaitable[object]]] = [
            lambda: sessions.bind_participant("s", "a"),
            lambda: sessions.append_chat_turns("s", "a", said(1, 2)),
            lambda: sessions.integrate("s", insights_of),
            lambda: sessions.update("s", name="n"),
            lambda: sessions.truncate("s"),
            lambda: sessions.unbind_participant("s", "a"),
        ]
        for number, change in enumerate(changes, 1):
            seen = await sessions.get("s")
            await change()
            now = await sessions.get("s")
            assert now.revision == number
            assert now.updated_at > seen.updated_at
            with pytest.raises(ConflictError):
                await sessions.update("s", revision=seen.revision, name="too late")
        await sessions.delete("s")
        assert (await sessions.restore("s")).revision == 8
        for nothing in (
            sessions.append_message("s", Message(role="user")),
            sessions.unbind_participant("s", "a"),
            sessions.integrate("s", insights_of),
        ):
            await nothing
            assert (await sessions.get("s")).revision == 8
        assert (await sessions.update("s", revision=8, name="in time")).name == "in time"

    async def test_purge_leaves_nothing_of_participants_behind(self, store: Any) -> None:
        await store.sessions.create("s", participants=["a"])
        await store.sessions.append_chat_turns("s", "a", said(*range(300), "x" * 2_000_000))
        await store.sessions.purge("s")
        with pytest.raises(NotFoundError):
            await store.sessions.append_chat_turns("s", "a", said(1))
