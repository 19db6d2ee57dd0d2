"""What the integration of a session's chat turns promises, on every engine."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mongostore import AsyncMongoStore, Message, NotFoundError, ParticipantIntegration, Turn
from mongostore.repositories import current_operation
from tests.contract.edge_cases import NASTY, same
from tests.contract.integrating import FAILED, INTEGRATED, NOTHING_NEW, Integrator, contents_of, insights_of
from tests.contract.turns import new_turns


async def coroutine_in_disguise() -> list[Any]:
    return ["disguise"]


class TestIntegration:
    @pytest.mark.smoke
    async def test_what_is_new_of_each_participant_is_integrated_once(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["b", "a", "silent"])
        await sessions.turns.append_many("s", "a", new_turns("a1"))
        await sessions.turns.append_many("s", "b", new_turns("b1", "b2"))
        await sessions.messages.append("s", Message(role="user", conversation_id="a", content="no turn"))
        integrator = Integrator()
        integration = await sessions.turns.integrate("s", integrator)
        assert integration.results == [
            ParticipantIntegration(
                participant_id="b",
                status=INTEGRATED,
                turns_integrated=2,
                insights_added=2,
                integrated_until=2,
            ),
            ParticipantIntegration(
                participant_id="a",
                status=INTEGRATED,
                turns_integrated=1,
                insights_added=1,
                integrated_until=1,
            ),
            ParticipantIntegration(participant_id="silent", status=NOTHING_NEW),
        ]
        assert integration.session == await sessions.get("s")
        assert insights_of(integration.session) == [["b1", "b2"], ["a1"], []]

        await sessions.turns.append_many("s", "a", new_turns("a2", "a3"))
        before = await sessions.get("s")
        integration = await sessions.turns.integrate("s", integrator)
        assert [(one.status, one.integrated_until) for one in integration.results] == [
            (NOTHING_NEW, 2),
            (INTEGRATED, 3),
            (NOTHING_NEW, None),
        ]
        assert insights_of(integration.session) == [["b1", "b2"], ["a1", "a2", "a3"], []]
        assert integration.session.revision == before.revision + 1
        again = await sessions.turns.integrate("s", integrator)
        assert {one.status for one in again.results} == {NOTHING_NEW}
        assert again.session == integration.session
        assert integrator.handed == [("b", [1, 2]), ("a", [1]), ("a", [2, 3])]

    async def test_an_integration_without_insights_moves_the_marker(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", participants=["a"])
        await store.sessions.turns.append_many("s", "a", new_turns(1))
        [result] = (await store.sessions.turns.integrate("s", lambda *_: ())).results
        assert (result.status, result.turns_integrated, result.insights_added) == (INTEGRATED, 1, 0)
        [result] = (await store.sessions.turns.integrate("s", contents_of)).results
        assert result.status is NOTHING_NEW

    async def test_every_kind_of_callable_is_an_integrator(self, store: AsyncMongoStore) -> None:
        async def coroutine(prefix: str, participant: str, turns: Sequence[Turn]) -> list[Any]:
            assert threading.current_thread() is threading.main_thread()
            return [prefix]

        def blocking(prefix: str, participant: str, turns: Sequence[Turn]) -> tuple[Any, ...]:
            assert threading.current_thread() is not threading.main_thread()
            return (threading.current_thread().name.partition("_")[0],)

        await store.sessions.create("s", participants=["a"])
        with ThreadPoolExecutor(thread_name_prefix="own") as executor:
            for integrator, where, expected in (
                (functools.partial(coroutine, "partial"), None, ["partial"]),
                (lambda name, turns: coroutine_in_disguise(), None, ["disguise"]),
                (functools.partial(blocking, "x"), executor, ["own"]),
                (functools.partial(blocking, "x"), None, ["mongostore-job"]),
                (Integrator(), executor, [4]),
            ):
                await store.sessions.turns.append_many("s", "a", new_turns(4))
                integration = await store.sessions.turns.integrate("s", integrator, executor=where)
                assert integration.results[0].error is None
                assert integration.session.participants[0].insights[-1:] == expected

    @pytest.mark.parametrize("kind", ["coroutine", "blocking"])
    async def test_a_failing_integrator_leaves_its_participant_alone_and_the_others_go_on(
        self, store: AsyncMongoStore, kind: str
    ) -> None:
        wrong: dict[str, Any] = {
            "raises": ValueError("secret words"),
            "stops": StopIteration("secret"),
            "misses": NotFoundError("thing", "of its own"),
            "text": "no list",
            "none": None,
            "dict": {"a": 1},
            "no json": [1, {1: 2}],
            "too deep": [object()],
        }

        def blocking(participant: str, turns: Sequence[Turn]) -> Any:
            sent = wrong.get(participant, [participant])
            if isinstance(sent, Exception):
                raise sent
            return sent

        async def coroutine(participant: str, turns: Sequence[Turn]) -> Any:
            return blocking(participant, turns)

        names = ["first", *wrong, "last"]
        await store.sessions.create("s", participants=names)
        for name in names:
            await store.sessions.turns.append_many("s", name, new_turns(1, 2))
        integration = await store.sessions.turns.integrate(
            "s", coroutine if kind == "coroutine" else blocking
        )
        results = {result.participant_id: result for result in integration.results}
        assert [*results] == names
        for name in ("first", "last"):
            assert (results[name].status, results[name].error) == (INTEGRATED, None)
        errors = {name: results[name].error for name in wrong}
        stopped = "RuntimeError" if kind == "coroutine" else "StopIteration"
        assert errors == {
            **dict.fromkeys(wrong, "InvalidValueError"),
            "raises": "ValueError",
            "stops": stopped,
            "misses": "NotFoundError",
        }
        for bound in integration.session.participants:
            expected = ([bound.id], 2) if bound.id in ("first", "last") else ([], None)
            assert (bound.insights, bound.integrated_until) == expected
        assert "secret" not in integration.model_dump_json()
        integration = await store.sessions.turns.integrate("s", contents_of)
        assert [result.turns_integrated for result in integration.results] == [0, *[2] * len(wrong), 0]

    async def test_insights_of_any_shape_come_back_equal(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", participants=["a"])
        await store.sessions.turns.append_many("s", "a", new_turns(1))
        await store.sessions.turns.integrate("s", lambda *_: NASTY)
        assert same((await store.sessions.participants.list("s"))[0].insights, NASTY)
        assert same((await store.sessions.list()).items[0].participants[0].insights, NASTY)

    async def test_thousands_of_turns_are_handed_out_together(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", participants=["a"])
        for start in range(0, 3000, 1000):
            await store.sessions.turns.append_many("s", "a", new_turns(*range(start + 1, start + 1001)))
        integrator = Integrator()
        [result] = (await store.sessions.turns.integrate("s", integrator)).results
        assert result.turns_integrated == 3000
        assert integrator.handed == [("a", [*range(1, 3001)])]

    async def test_insights_that_no_document_can_hold_fail_their_participant_alone(
        self, store: AsyncMongoStore
    ) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a", "b"])
        part = "x" * 300_000
        for n in range(3):
            await sessions.turns.append_many("s", "a", new_turns(n))
            await sessions.turns.integrate("s", lambda *_: [part])
        before = await sessions.get("s")
        await sessions.turns.append_many("s", "a", new_turns(3))
        await sessions.turns.append_many("s", "b", new_turns(1))
        for insights in ([part], ["x" * 17_000_000]):

            def large_of_a(participant: str, _: object, insights: list[str] = insights) -> list[str]:
                return insights if participant == "a" else ["small"]

            integration = await sessions.turns.integrate("s", large_of_a)
            first, second = integration.results
            assert (first.status, first.error) == (FAILED, "DocumentTooLargeError")
            assert (first.turns_integrated, first.integrated_until) == (0, 3)
            assert (second.status, second.integrated_until) != (FAILED, None)
        after = await sessions.get("s")
        assert after.participants[0].insights == before.participants[0].insights == [part] * 3
        assert [one.integrated_until for one in after.participants] == [3, 1]
        integration = await sessions.turns.integrate("s", lambda *_: ["small"])
        assert [one.turns_integrated for one in integration.results] == [1, 0]

    async def test_a_cancelled_integration_leaves_what_it_has_not_done(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", participants=["a", "b"])
        for name in "ab":
            await store.sessions.turns.append_many("s", name, new_turns(1))
        waiting = asyncio.Event()

        async def wait_at_b(participant: str, turns: Sequence[Turn]) -> list[Any]:
            if participant == "b":
                waiting.set()
                await asyncio.Event().wait()
            return [participant]

        task = asyncio.create_task(store.sessions.turns.integrate("s", wait_at_b))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert insights_of(await store.sessions.get("s")) == [["a"], []]
        integration = await store.sessions.turns.integrate("s", contents_of)
        assert [one.status for one in integration.results] == [NOTHING_NEW, INTEGRATED]


async def test_an_integrator_takes_longer_than_any_call_may(
    store_uri: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGOSTORE_TIMEOUT", "3")
    async with AsyncMongoStore(store_uri, database) as store:
        await store.sessions.create("s", participants=["a"])
        await store.sessions.turns.append_many("s", "a", new_turns(1))

        async def slow(participant: str, turns: Sequence[Turn]) -> list[Any]:
            with pytest.raises(AssertionError):
                current_operation()
            await asyncio.sleep(3.5)
            # And it may use the store, each call with its own time.
            return [len((await store.sessions.turns.list("s", participant)).items)]

        integration = await store.sessions.turns.integrate("s", slow)
        assert insights_of(integration.session) == [[1]]
        await store.engine.database.client.drop_database(database)
