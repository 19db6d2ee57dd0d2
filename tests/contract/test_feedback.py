"""What the feedback of messages promises, on every engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mongostore import AlreadyExistsError, AsyncMongoStore, Feedback
from tests.contract.edge_cases import refused
from tests.contract.threads import at, user_id


class TestFeedback:
    async def test_a_message_has_one_feedback_that_keeps_its_id(self, store: AsyncMongoStore) -> None:
        await store.threads.messages.merge("t", "m", only_missing=True)
        first = Feedback(id="f", thread_id="t", message_id="m", value=1, comment="good")
        assert await store.threads.feedback.upsert("t", first) == first
        assert (await store.threads.messages.get("t", "m")).feedback == first
        expected = Feedback(id="f", thread_id="t", message_id="m", value=0)
        assert await store.threads.feedback.upsert("t", Feedback(message_id="m", value=0)) == expected
        [message] = (await store.threads.messages.list("t")).items
        assert message.feedback == expected
        assert type(expected.value) is int
        await store.threads.messages.merge("t", "m", content="more")
        assert (await store.threads.messages.get("t", "m")).feedback == expected
        assert await store.threads.feedback.delete("t", "m")
        assert not await store.threads.feedback.delete("t", "m")
        assert (await store.threads.messages.get("t", "m")).feedback is None

    async def test_feedback_of_all_threads_is_one_list(self, store: AsyncMongoStore) -> None:
        for n in range(9):
            await store.threads.messages.merge(f"t{n % 3}", f"m{n}", created_at=at(n))
            if n != 4:
                feedback = Feedback(message_id=f"m{n}", value=n % 2, comment=f"c{n}")
                await store.threads.feedback.upsert(f"t{n % 3}", feedback)
        feedback = store.threads.feedback
        found = []
        cursor = None
        while len(found) < 8:
            page = await feedback.list(limit=3, cursor=cursor)
            found += page.items
            cursor = page.next_cursor
        assert cursor is None
        assert [one.message_id for one in found] == [f"m{n}" for n in (8, 7, 6, 5, 3, 2, 1, 0)]
        assert (found[0].thread_id, found[0].comment) == ("t2", "c8")
        assert [one.message_id for one in await feedback.list(value=0, newest=False)] == [
            "m0",
            "m2",
            "m6",
            "m8",
        ]
        await feedback.delete("t0", "m6")
        await store.threads.delete("t2")
        assert [one.message_id for one in await feedback.list()] == ["m7", "m3", "m1", "m0"]
        assert (await feedback.list(value=9)).items == []
        await refused(feedback.list(value="1"), feedback.list(cursor="x"), feedback.list(limit=0))  # type: ignore[arg-type]

    async def test_a_feedback_id_is_of_one_message(self, store: AsyncMongoStore) -> None:
        for name in "mn":
            await store.threads.messages.merge("t", name, only_missing=True)
        await store.threads.feedback.upsert("t", Feedback(id="f", message_id="m", value=1))
        with pytest.raises(AlreadyExistsError) as caught:
            await store.threads.feedback.upsert("t", Feedback(id="f", message_id="n", value=1))
        assert (caught.value.kind, caught.value.id) == ("feedback", "f")
        assert (await store.threads.messages.get("t", "n")).feedback is None

    async def test_of_parallel_feedbacks_one_is_left(self, store: AsyncMongoStore) -> None:
        ada = await user_id(store)
        await store.threads.create("t", user_id=ada)
        for name in ("m", "n"):
            await store.threads.messages.merge("t", name, only_missing=True)
        sent = await asyncio.gather(
            *(store.threads.feedback.upsert("t", Feedback(message_id="m", value=n)) for n in range(5)),
            *(store.threads.feedback.upsert("t", Feedback(message_id="n", value=n)) for n in range(5)),
        )
        for name, feedbacks in (("m", sent[:5]), ("n", sent[5:])):
            assert len({feedback.id for feedback in feedbacks}) == 1
            assert (await store.threads.messages.get("t", name)).feedback in feedbacks
        left = {(await store.threads.messages.get("t", name)).feedback.value for name in "mn"}
        found = {value for value in range(5) if (await store.threads.list(user_id=ada, vote=value)).items}
        assert found == left

    async def test_a_feedback_and_the_deletion_of_its_message_leave_no_vote(
        self, store: AsyncMongoStore
    ) -> None:
        ada = await user_id(store)
        await store.threads.create("t", user_id=ada)
        for number in range(10):
            await store.threads.messages.merge("t", "m", only_missing=True)
            await asyncio.gather(
                store.threads.feedback.upsert("t", Feedback(message_id="m", value=number)),
                store.threads.messages.delete("t", "m"),
                store.threads.feedback.upsert("t", Feedback(message_id="m", value=number)),
                return_exceptions=True,
            )
            assert await store.threads.messages.find("t", "m") is None
            assert (await store.threads.list(user_id=ada, vote=number)).items == []

    @pytest.mark.parametrize(
        ("path", "members"),
        [
            *(("value", {"value": value}) for value in (None, True, 1.0, "1", 2**63, {"$gt": 0})),
            *(("comment", {"comment": comment}) for comment in (5, "\ud800", {"k": 1}, b"x")),
            *(("id", {"id": bad}) for bad in (None, 5, "x" * 513)),
        ],
        ids=lambda value: repr(value)[:40],
    )
    async def test_bad_feedback_is_refused_by_its_path(
        self, store: AsyncMongoStore, path: str, members: Any
    ) -> None:
        await store.threads.messages.merge("t", "m", only_missing=True)
        feedback = Feedback.model_construct(
            **{"id": "f", "message_id": "m", "value": 1, "comment": None, **members}
        )
        [error] = await refused(store.threads.feedback.upsert("t", feedback))
        assert error.path == path
        [error] = await refused(store.threads.feedback.upsert("t", {"message_id": "m"}))
        assert error.path == "feedback"
        assert (await store.threads.messages.get("t", "m")).feedback is None
