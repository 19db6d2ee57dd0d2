"""What any sequence of changes leaves of participants, their chat turns and insights, on every engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mongostore import AsyncMongoStore, Message, NotFoundError, Turn
from tests.contract.turns import SMALL_TAILS, new_turns

STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["append", "say"]), st.sampled_from("ab"), st.integers(1, 9)),
        st.tuples(st.sampled_from(["bind", "unbind", "fail"]), st.sampled_from("ab"), st.just(0)),
        st.tuples(st.sampled_from(["integrate", "truncate", "empty"]), st.just(""), st.just(0)),
    ),
    max_size=40,
)


class Imagined:
    """A participant as it has to be."""

    def __init__(self) -> None:
        self.count = 0
        self.turns: dict[int, str] = {}
        self.insights: list[Any] = []
        self.marker: int | None = None


async def live_through(store: AsyncMongoStore, steps: list[tuple[str, str, int]]) -> None:
    """Carry out steps in the store and in the imagination, and compare the two."""
    sessions, texts, bound, plain = store.sessions, iter(range(10_000)), dict[str, Imagined](), 0
    session_id = (await sessions.create()).id

    async def integrate(failing: str) -> None:
        def integrator(participant: str, turns: Sequence[Turn]) -> list[Any]:
            if participant == failing:
                raise ValueError
            return [turn.content for turn in turns]

        await sessions.turns.integrate(session_id, integrator)
        for name, one in bound.items():
            new = {n: text for n, text in one.turns.items() if n > (one.marker or 0)}
            if new and name != failing:
                one.insights += new.values()
                one.marker = max(new)

    for verb, name, amount in steps:
        one = bound.get(name)
        match verb:
            case "append":
                new = [f"{name}{next(texts)}" for _ in range(amount)]
                if one is None:
                    with pytest.raises(NotFoundError):
                        await sessions.turns.append_many(session_id, name, new_turns(*new))
                    continue
                one.turns |= {one.count + i: text for i, text in enumerate(new, 1)}
                one.count += amount
                appended = await sessions.turns.append_many(session_id, name, new_turns(*new))
                assert appended[-1].number == one.count
            case "say":
                current_texts = [
                    Message(role="user", conversation_id=name, content="plain") for _ in range(amount)
                ]
                await sessions.messages.append_many(session_id, current_texts)
                plain += amount
            case "bind":
                participant = await sessions.participants.ensure(session_id, name)
                one = bound.setdefault(name, Imagined())
                assert participant.turn_count == one.count
            case "unbind":
                assert await sessions.participants.delete(session_id, name) is (one is not None)
                bound.pop(name, None)
            case "truncate":
                await sessions.truncate(session_id)
                bound, plain = {name: Imagined() for name in bound}, 0
            case "empty":
                await sessions.messages.truncate(session_id)
                plain = 0
            case "integrate" | "fail":
                await integrate(name)
        session = await sessions.get(session_id)
        assert [(p.id, p.turn_count, p.insights, p.integrated_until) for p in session.participants] == [
            (name, one.count, one.insights, one.marker) for name, one in bound.items()
        ]
        assert session.count == plain
        newest = (await sessions.messages.list(session_id, newest=True, limit=1)).items
        assert (session.last and session.last.id) == (newest[0].id if newest else None)
        for name, one in bound.items():
            turns = {turn.number: turn.content async for turn in sessions.turns.iter(session_id, name)}
            assert turns == one.turns
            page = await sessions.turns.list(session_id, name, after=3, limit=5)
            assert [turn.number for turn in page.items] == [n for n in one.turns if n > 3][:5]


@SMALL_TAILS
class TestIntegrationSteps:
    @pytest.mark.parametrize("store_uri", ["mongomock://steps"], ids=["embedded"])
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps=STEPS)
    async def test_any_sequence_of_changes_leaves_what_it_says(
        self, store: AsyncMongoStore, steps: list[tuple[str, str, int]]
    ) -> None:
        await live_through(store, [("bind", "a", 0), *steps])

    @pytest.mark.server
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps=STEPS)
    async def test_any_sequence_of_changes_leaves_the_same_on_a_server(
        self, server_store: AsyncMongoStore, steps: list[tuple[str, str, int]]
    ) -> None:
        await live_through(server_store, [("bind", "a", 0), *steps])
