"""Chainlit's contract for a data layer: feedback and favourites."""

from __future__ import annotations

import asyncio
import json
from copy import deepcopy
from typing import Any

from chainlit.types import Feedback

from mongostore.testing.chainlit.parts import THREAD, claim, listed, message, received, steps_of
from mongostore.testing.chainlit.session import InSession


class FeedbackSuite(InSession):
    """Feedback on steps, and steps that users keep as favourites."""

    async def test_a_feedback_shows_on_its_step_and_is_the_only_one(self, layer: Any) -> None:
        await layer.create_step(message("m"))
        ids = {
            await layer.upsert_feedback(Feedback(forId="m", value=0, threadId=THREAD)),
            await layer.upsert_feedback(Feedback(forId="m", value=1, comment="good")),
        }
        assert len(ids) == 1
        [id] = ids
        found = (await steps_of(layer))["m"]["feedback"]
        assert found == {"id": id, "forId": "m", "value": 1, "comment": "good"}
        assert await layer.upsert_feedback(Feedback(forId="m", value=0, id=id)) == id
        found = (await steps_of(layer))["m"]["feedback"]
        assert received(found) == {"id": id, "forId": "m", "value": 0}
        assert type(found["value"]) is int
        await layer.update_step(message("m", "edited", feedback={"value": 1}))
        assert (await steps_of(layer))["m"]["feedback"] == found
        await layer.delete_feedback(id)
        assert "feedback" not in (await steps_of(layer))["m"]

    async def test_thumbs_at_once_are_one_feedback(self, layer: Any) -> None:
        user_id = await claim(layer, THREAD)
        await layer.create_step(message("m"))
        sent = [Feedback(forId="m", value=1 if number % 2 else 0) for number in range(6)]
        ids = await asyncio.gather(*(layer.upsert_feedback(feedback) for feedback in sent))
        found = (await steps_of(layer))["m"]["feedback"]
        assert {*ids} == {found["id"]}
        assert await listed(layer, user_id, feedback=found["value"]) == [THREAD]
        assert await listed(layer, user_id, feedback=1 - found["value"]) == []

    async def test_favourites_are_the_users_own_newest_first_and_whole(self, layer: Any) -> None:
        user_id = await claim(layer, THREAD, "other")
        await claim(layer, "theirs", identifier="bob")
        texts = [message(f"m{n}", f"text {n}", n, metadata={"a": n}) for n in range(3)]
        for one in texts:
            await layer.create_step(one)
        await layer.create_step(message("theirs", threadId="theirs", metadata={"favorite": True}))
        await layer.create_step(message("deep", metadata={"x": {"favorite": True}}))
        await layer.create_step(message("no", metadata={"favorite": "yes"}))
        remaining = deepcopy(texts)
        for number in (0, 2):
            changed = await layer.set_step_favorite(texts[number], True)
            assert changed == {**remaining[number], "metadata": {"a": number, "favorite": True}}
        await layer.create_step(message("elsewhere", "", 1, threadId="other", metadata={"favorite": True}))
        found = await layer.get_favorite_steps(user_id)
        assert [one["id"] for one in found] == ["m2", "elsewhere", "m0"]
        assert received(found[0]) == received({**remaining[2], "metadata": {"a": 2, "favorite": True}})
        json.dumps(found)
        changed = await layer.set_step_favorite(found[0], False)
        assert changed["metadata"] == {"a": 2, "favorite": False}
        assert [one["id"] for one in await layer.get_favorite_steps(user_id)] == ["elsewhere", "m0"]
        assert (await steps_of(layer))["m2"] == received({**remaining[2], "metadata": changed["metadata"]})

    async def test_a_favourite_before_its_thread_is_claimed_is_found(self, layer: Any) -> None:
        await layer.create_step(message("m", metadata={"favorite": True}))
        user_id = await claim(layer, THREAD)
        assert [one["id"] for one in await layer.get_favorite_steps(user_id)] == ["m"]
        await layer.update_step({"id": "m", "threadId": THREAD, "output": "edited", "metadata": None})
        assert [one["output"] for one in await layer.get_favorite_steps(user_id)] == ["edited"]
        await layer.update_step({"id": "m", "threadId": THREAD, "metadata": {}})
        assert await layer.get_favorite_steps(user_id) == []
