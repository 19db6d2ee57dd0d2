"""Chainlit's contract for a data layer: its users and threads."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import chainlit
import pytest
from chainlit.types import Feedback

from mongostore.testing.chainlit.parts import THREAD, claim, element, listed, message, steps_of
from mongostore.testing.chainlit.session import InSession, zones

LATE: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "metadata": lambda layer: layer.update_thread(THREAD, metadata={"late": True}),
    "name": lambda layer: layer.update_thread(THREAD, name="late"),
    "new step": lambda layer: layer.create_step(message("late")),
    "known step": lambda layer: layer.update_step(message("m", "late")),
    "element": lambda layer: layer.create_element(element(content=b"late")),
}


class ThreadSuite(InSession):
    """Users, and threads one by one."""

    @zones
    async def test_a_user_keeps_id_and_time_and_has_the_metadata_of_the_last_login(self, layer: Any) -> None:
        assert await layer.get_user("ada") is None
        metadata = {"role": "admin", "a.b": {"$x": 2**70}, "": 1, "_id": None, "provider": "credentials"}
        remaining = deepcopy(metadata)
        first = await layer.create_user(chainlit.User(identifier="ada", metadata=metadata))
        second = await layer.create_user(chainlit.User(identifier="ada", metadata={"role": "guest"}))
        assert first is not None
        assert second is not None
        assert (first.id, first.createdAt, first.metadata) == (second.id, second.createdAt, remaining)
        assert second.metadata == {"role": "guest"}
        assert await layer.get_user("ada") == second
        assert second.createdAt.endswith("Z")
        assert abs(datetime.fromisoformat(second.createdAt) - datetime.now(UTC)) < timedelta(minutes=5)
        json.dumps(second.to_dict())

    async def test_first_logins_at_once_make_one_user(self, layer: Any) -> None:
        users = await asyncio.gather(*(layer.create_user(chainlit.User(identifier="ada")) for _ in range(8)))
        assert len({user.id for user in users}) == 1

    async def test_any_text_is_an_identifier(self, layer: Any) -> None:
        texts = ["Ada", "ada", "ada@example.com", "ädä 🙂", "$where", "a.b", "x\0y", " ", ""]
        users = [await layer.create_user(chainlit.User(identifier=text)) for text in texts]
        assert [await layer.get_user(text) for text in texts] == users
        assert len({user.id for user in users}) == len(texts)

    @zones
    async def test_a_thread_has_all_keys_and_its_author(self, layer: Any) -> None:
        user_id = await claim(layer)
        await layer.update_thread(THREAD, name="Hello", user_id=user_id, metadata={"a": 1}, tags=["p"])
        thread = await layer.get_thread(THREAD)
        assert thread is not None
        created_at = thread.pop("createdAt")
        assert created_at.endswith("Z")
        assert thread == {
            "id": THREAD,
            "name": "Hello",
            "userId": user_id,
            "userIdentifier": "ada",
            "tags": ["p"],
            "metadata": {"a": 1},
            "steps": [],
            "elements": [],
        }
        assert await layer.get_thread_author(THREAD) == "ada"

    async def test_unknown_ids_are_quiet(self, layer: Any) -> None:
        for id in ("", "nope", "x" * 2000, "\0", "$ne", "ä" * 300, "\ud800"):
            assert await layer.get_thread(id) is None
            assert await layer.get_thread_author(id) == ""
            assert await layer.delete_feedback(id) in (True, False)
        for id in ("", "nope", "\0", "$ne"):
            assert await layer.get_element(THREAD, id) is None
            assert await layer.get_favorite_steps(id) == []
            await layer.delete_step(id)
            await layer.delete_element(id)
            await layer.delete_element(id, THREAD)
            await layer.delete_thread(id)

    async def test_an_unknown_user_leaves_the_thread_alone(self, layer: Any) -> None:
        await claim(layer, THREAD)
        with pytest.raises(Exception):  # noqa: B017, PT011  # Chainlit has no error of its own for it
            await layer.update_thread(THREAD, name="mine", user_id="nobody")
        thread = await layer.get_thread(THREAD)
        assert thread is not None
        assert (thread["name"], thread["userIdentifier"]) == (THREAD, "ada")

    async def test_an_update_leaves_what_it_does_not_say(self, layer: Any) -> None:
        user_id = await claim(layer)
        await layer.update_thread(THREAD, "Hello", user_id, {"a": 1}, ["x"])
        before = await layer.get_thread(THREAD)
        await layer.update_thread(THREAD)
        assert await layer.get_thread(THREAD) == before
        await layer.update_thread(THREAD, tags=[])
        await layer.update_thread(THREAD, name="")
        after = await layer.get_thread(THREAD)
        assert after == {**before, "tags": [], "name": ""}

    async def test_a_name_may_be_cut_and_the_message_may_not(self, layer: Any) -> None:
        text = "ä🙂" * 300_000
        await asyncio.gather(layer.create_step(message("m", text)), layer.update_thread(THREAD, name=text))
        thread = await layer.get_thread(THREAD)
        assert thread is not None
        assert thread["name"]
        assert text.startswith(thread["name"])
        assert thread["steps"][0]["output"] == text

    async def test_metadata_with_any_keys_is_merged_and_none_removes(self, layer: Any) -> None:
        odd = {
            "": 1,
            "_id": 2,
            "a.b": 3,
            "$set": 4,
            "$": 5,
            "x\0y": 6,
            "id": 2**80,
            "ü": {"": [{"$a.b": None}]},
        }
        remaining = deepcopy(odd)
        await layer.update_thread(THREAD, metadata=odd)
        await layer.update_thread(THREAD, metadata={"more": True})
        thread = await layer.get_thread(THREAD)
        assert thread is not None
        assert thread["metadata"] == {**remaining, "more": True}
        await layer.update_thread(THREAD, metadata={**dict.fromkeys(odd), "a": {"b": 1}, "unknown": None})
        await layer.update_thread(THREAD, metadata={"a": {"c": 1}})
        thread = await layer.get_thread(THREAD)
        assert thread is not None
        assert thread["metadata"] == {"more": True, "a": {"c": 1}}
        assert odd == remaining

    async def test_metadata_merged_at_once_is_all_there(self, layer: Any) -> None:
        await asyncio.gather(*(layer.update_thread(THREAD, metadata={f"k.{n}": n}) for n in range(12)))
        thread = await layer.get_thread(THREAD)
        assert thread is not None
        assert thread["metadata"] == {f"k.{n}": n for n in range(12)}

    async def test_a_deleted_thread_stays_deleted(self, layer: Any) -> None:
        user_id = await claim(layer, THREAD, "other")
        await layer.create_step(message("m", metadata={"favorite": True}))
        await layer.create_step(message("kept", threadId="other"))
        await layer.upsert_feedback(Feedback(forId="m", value=1))
        await layer.create_element(element(content=b"x"))
        await layer.delete_thread(THREAD)
        await layer.delete_thread(THREAD)
        for late in LATE.values():
            await late(layer)
            assert await layer.get_thread(THREAD) is None
            assert await layer.get_thread_author(THREAD) == ""
            assert await layer.get_favorite_steps(user_id) == []
            assert await listed(layer, user_id) == ["other"]
        assert [*await steps_of(layer, "other")] == ["kept"]

    async def test_whatever_runs_beside_a_deletion_leaves_nothing(self, layer: Any) -> None:
        await claim(layer, THREAD)
        await asyncio.gather(layer.delete_thread(THREAD), *(late(layer) for late in LATE.values()))
        assert await layer.get_thread(THREAD) is None

    async def test_the_first_calls_for_a_thread_may_come_in_any_order(self, layer: Any) -> None:
        user_id = await claim(layer)
        calls: list[Callable[[str], Awaitable[Any]]] = [
            lambda id: layer.create_step(message(f"m-{id}", "Hi", threadId=id)),
            lambda id: layer.update_thread(id, name="Hi", user_id=user_id, tags=["x"]),
            lambda id: layer.update_thread(id, metadata={"a": 1}),
        ]
        orders = [*itertools.permutations(calls)]
        for number, order in enumerate(orders):
            for call in order:
                await call(f"t{number}")
        await asyncio.gather(*(call("at-once") for call in calls))
        for id in [*(f"t{number}" for number in range(len(orders))), "at-once"]:
            thread = await layer.get_thread(id)
            assert thread is not None
            assert (thread["name"], thread["userIdentifier"], thread["tags"]) == ("Hi", "ada", ["x"])
            assert (thread["metadata"], [one["output"] for one in thread["steps"]]) == ({"a": 1}, ["Hi"])

    async def test_a_thread_that_nobody_has_claimed_has_no_author(self, layer: Any) -> None:
        await layer.create_step(message("m"))
        thread = await layer.get_thread(THREAD)
        assert thread is not None
        assert thread["userIdentifier"] is None
        assert await layer.get_thread_author(THREAD) == ""
