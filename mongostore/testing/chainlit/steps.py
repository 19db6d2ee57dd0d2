"""Chainlit's contract for a data layer: steps."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import chainlit
from chainlit.types import Feedback

from mongostore.testing.chainlit.parts import (
    ODD,
    THREAD,
    at,
    claim,
    element,
    message,
    received,
    step,
    steps_of,
)
from mongostore.testing.chainlit.session import InSession, zones

CREATED = step("s", input="", seconds=1, parentId="m", tags=["x"])
RUNNING: dict[str, Any] = {**CREATED, "input": "in", "start": at(2)}
ENDED: dict[str, Any] = {
    **RUNNING,
    "output": "out",
    "end": at(3),
    "metadata": {"a": 1},
    "isError": True,
    "showInput": "json",
}


def is_placeable(found: dict[str, Any]) -> bool:
    seen: set[str | None] = {None}
    for one in found.values():
        if one.get("parentId") in found and one["parentId"] not in seen:
            return False
        seen.add(one["id"])
    return True


class StepSuite(InSession):
    """Steps, and messages, which are steps, too."""

    async def test_a_message_and_a_step_come_back_as_they_were(self, layer: Any) -> None:
        sent_message = message(
            "m", "Hi", command="search", modes={"model": "large"}, tags=["x"], metadata=ODD
        )
        done = step(
            "s",
            "found",
            1,
            parentId="m",
            input='{"q": 1}',
            end=at(2),
            generation={"prompt": ODD, "tokens": 2**70},
            metadata=ODD,
            defaultOpen=True,
            autoCollapse=True,
            language="json",
            icon="search",
        )
        remaining = deepcopy([sent_message, done])
        await layer.create_step(sent_message)
        await layer.create_step(done)
        assert [sent_message, done] == remaining
        assert [*(await steps_of(layer)).values()] == [received(one) for one in remaining]

    async def test_keys_that_nobody_knows_yet_are_kept(self, layer: Any) -> None:
        new: dict[str, Any] = {"newIn3": {"a.b": ODD}, "$new": [1.5, None], "new.too": False}
        await layer.create_step(step("s", **new))
        await layer.update_step(step("s", later=[1]))
        assert {**(await steps_of(layer))["s"], **new, "later": [1]} == (await steps_of(layer))["s"]

    async def test_whether_the_input_is_shown_comes_back_as_it_was(self, layer: Any) -> None:
        for output in (False, True, "json", "python", None):
            id = f"s-{output}"
            await layer.create_step(step(id, showInput=output))
            await layer.update_step(step(id, "done", showInput=output))
            found = (await steps_of(layer))[id].get("showInput")
            assert (found, type(found)) == (output, type(output))

    async def test_absent_and_none_keep_and_empty_clears(self, layer: Any) -> None:
        members: dict[str, Any] = {"metadata": {"a": 1}, "language": "json", "end": at(3), "tags": ["x"]}
        await layer.create_step(step("s", "out", input="in", parentId="m", **members))
        before = (await steps_of(layer))["s"]
        await layer.update_step({"id": "s", "threadId": THREAD})
        await layer.update_step(dict.fromkeys(before) | {"id": "s", "threadId": THREAD})
        assert (await steps_of(layer))["s"] == before
        changes = {"output": "", "input": "", "metadata": {"b": 2}}
        await layer.update_step({"id": "s", "threadId": THREAD, **changes})
        assert (await steps_of(layer))["s"] == {**before, **changes}
        await layer.update_step({"id": "s", "threadId": THREAD, "metadata": {}, "tags": []})
        assert (await steps_of(layer))["s"]["metadata"] == {}

    async def test_a_create_that_comes_after_its_updates_erases_nothing(self, layer: Any) -> None:
        for order in itertools.permutations(("create", "run", "end")):
            id = "-".join(order)
            calls = {
                "create": layer.create_step({**CREATED, "id": id}),
                "run": layer.update_step({**RUNNING, "id": id}),
                "end": layer.update_step({**ENDED, "id": id}),
            }
            for name in order:
                await calls[name]
            found = (await steps_of(layer))[id]
            expected = {**ENDED, "id": id}
            if order.index("run") > order.index("end"):
                # Which of two updates is the newer one nothing but their order says.
                expected |= {key: RUNNING[key] for key in ("output", "metadata", "isError", "showInput")}
            assert found == received(expected)

    async def test_a_create_beside_its_update_erases_nothing(self, layer: Any) -> None:
        dice = random.Random(7)
        ids = [f"s{number}" for number in range(40)]
        calls = [layer.create_step({**CREATED, "id": id}) for id in ids]
        calls += [layer.update_step({**ENDED, "id": id}) for id in ids]
        dice.shuffle(calls)
        await asyncio.gather(*calls)
        found = await steps_of(layer)
        assert found == {id: received({**ENDED, "id": id}) for id in ids}

    async def test_a_create_fills_what_an_update_left_open(self, layer: Any) -> None:
        await layer.update_step({"id": "s", "threadId": THREAD, "output": "out", "showInput": False})
        await layer.create_step(
            step("s", "", 5, input="in", parentId="m", showInput="json", metadata={"a": 1})
        )
        found = (await steps_of(layer))["s"]
        assert (found["output"], found["input"], found["parentId"]) == ("out", "in", "m")
        assert (found["showInput"], found["metadata"], found["createdAt"]) == (False, {"a": 1}, at(5))

    async def test_an_update_after_a_late_create_still_counts(self, layer: Any) -> None:
        await layer.update_step(step("s", "first"))
        await layer.create_step(step("s", "begun"))
        await layer.update_step(step("s", ""))
        assert (await steps_of(layer))["s"]["output"] == ""

    async def test_an_update_of_an_unknown_step_stores_it_and_its_thread(self, layer: Any) -> None:
        await layer.update_step(step("s", "out"))
        assert (await steps_of(layer))["s"]["output"] == "out"

    @zones
    async def test_times_order_steps_and_come_back_as_they_were(self, layer: Any) -> None:
        texts = [
            "2026-01-01T10:00:00Z",
            "2026-01-01T10:00:00.5Z",
            "2026-01-01T10:00:00.500001Z",
            "2026-01-01T12:00:01+02:00",
            "2026-01-01T10:00:02",
            "2026-10-25T02:30:00.000Z",
        ]
        for number in (3, 0, 5, 2, 4, 1):
            await layer.create_step(step(f"s{number}", createdAt=texts[number]))
        assert [one["createdAt"] for one in (await steps_of(layer)).values()] == texts

    async def test_a_step_without_a_time_has_one(self, layer: Any) -> None:
        for number, text in enumerate((None, "")):
            await layer.create_step(step(f"s{number}", createdAt=text))
        await layer.update_step({"id": "t", "threadId": THREAD})
        for one in (await steps_of(layer)).values():
            assert one["createdAt"].endswith("Z")
            assert abs(datetime.fromisoformat(one["createdAt"]) - datetime.now(UTC)) < timedelta(minutes=5)

    async def test_parents_come_first_at_equal_times_and_in_deep_trees(self, layer: Any) -> None:
        dice = random.Random(3)
        steps = [step("s000", parentId=None)]
        steps += [step(f"s{n:03}", parentId=f"s{dice.randrange(n):03}") for n in range(1, 60)]
        steps += [step(f"z{n:03}", parentId=f"z{n + 1:03}", seconds=n / 10) for n in range(60)]
        dice.shuffle(steps)
        for one in steps:
            await layer.create_step(one)
        found = await steps_of(layer)
        assert len(found) == 120
        assert is_placeable(found)

    async def test_steps_stay_where_their_times_put_them_unless_a_parent_is_later(self, layer: Any) -> None:
        await layer.create_step(message("m1", "a", 0))
        await layer.create_step(step("run", "", 3, parentId="m1", type="run"))
        await layer.create_step(step("tool", "", 2, parentId="run"))
        await layer.create_step(message("answer", "b", 4, parentId="run", type="assistant_message"))
        await layer.create_step(message("m2", "c", 1))
        assert [*await steps_of(layer)] == ["m1", "m2", "run", "tool", "answer"]

    async def test_missing_parents_and_cycles_lose_nothing(self, layer: Any) -> None:
        for id, parent in {"a": "gone", "b": "c", "c": "d", "d": "b", "e": "e", "f": "b", "g": ""}.items():
            await layer.create_step(step(id, parentId=parent))
        assert {*await steps_of(layer)} == {*"abcdefg"}

    async def test_deleting_a_step_takes_its_own_and_leaves_its_children(self, layer: Any) -> None:
        await layer.create_step(message("m"))
        await layer.create_step(step("s", parentId="m"))
        await layer.create_step(step("child", parentId="s"))
        sent = await layer.upsert_feedback(Feedback(forId="s", value=1))
        for id, of in (("e1", "s"), ("e2", "m")):
            await layer.create_element(element(id=id, content=b"\x89", for_id=of))
        await layer.delete_step("s")
        assert {*await steps_of(layer)} == {"m", "child"}
        assert await layer.get_element(THREAD, "e1") is None
        assert await layer.get_element(THREAD, "e2") is not None
        await layer.delete_feedback(sent)

    async def test_a_thread_of_20_mb_is_whole(self, layer: Any) -> None:
        text = "ä" * 500_000
        for number in range(20):
            await layer.create_step(message(f"m{number}", text, number))
        found = await steps_of(layer)
        assert [*found] == [f"m{number}" for number in range(20)]
        assert {one["output"] for one in found.values()} == {text}

    async def test_all_that_is_returned_is_strict_json_in_utf_8(self, layer: Any) -> None:
        user_id = await claim(layer, THREAD)
        odd = {"nan": [float("nan"), float("inf")], "half": "\ud83d!", "\udc00": 2**80, "nul": "\0"}
        await layer.create_user(chainlit.User(identifier="ada", metadata=odd))
        await layer.update_thread(THREAD, metadata=odd)
        await layer.create_step(message("m", "half \ud83d", metadata={**odd, "favorite": True}, new=odd))
        await layer.create_element(element("CustomElement", props=odd))
        user = await layer.get_user("ada")
        assert user is not None
        for value in (
            await layer.get_thread(THREAD),
            await layer.get_favorite_steps(user_id),
            user.to_dict(),
        ):
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()

    async def test_nobody_streams_a_step_that_is_read(self, layer: Any) -> None:
        await layer.create_step(message("m", streaming=True))
        assert (await steps_of(layer))["m"]["streaming"] is False
