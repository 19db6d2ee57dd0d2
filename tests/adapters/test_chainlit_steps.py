"""Steps, feedback and favourites of Chainlit's data layer, on each engine, far from UTC."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mongostore import AsyncMongoStore, ConflictError, DocumentTooLargeError, InvalidValueError, NotFoundError
from tests.adapters.chainlit_parts import (
    THREAD,
    Feedback,
    MongoDataLayer,
    at,
    chainlit,
    claim,
    listed,
    message,
    parents_first,
    step,
    steps_of,
    zones,
)

ODD: dict[str, Any] = {"a.b": 1, "$x": {"": [None, 2**80]}, "": True, "_id": "mine", "x\0": "\0", "ü": "🙂"}


async def test_a_message_and_a_step_come_back_as_they_were(layer: MongoDataLayer) -> None:
    said = message("m", "Hi", command="search", modes={"model": "large"}, tags=["x"], metadata=ODD)
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
    kept = deepcopy([said, done])
    await layer.create_step(said)
    await layer.create_step(done)
    assert [said, done] == kept
    assert [*(await steps_of(layer)).values()] == [{**one, "feedback": None} for one in kept]


async def test_keys_that_nobody_knows_yet_are_kept(layer: MongoDataLayer) -> None:
    new = {"newIn3": {"a.b": ODD}, "$new": [1.5, None], "new.too": False, "none": None}
    await layer.create_step(step("s", **new))
    await layer.update_step(step("s", later=[1]))
    assert {**(await steps_of(layer))["s"], **new, "later": [1]} == (await steps_of(layer))["s"]


async def test_whether_the_input_is_shown_comes_back_as_it_was(layer: MongoDataLayer) -> None:
    for shown in (False, True, "json", "python", None):
        id = f"s-{shown}"
        await layer.create_step(step(id, showInput=shown))
        await layer.update_step(step(id, "done", showInput=shown))
        found = (await steps_of(layer))[id]["showInput"]
        assert (found, type(found)) == (shown, type(shown))


async def test_absent_and_none_keep_and_empty_clears(layer: MongoDataLayer) -> None:
    await layer.create_step(
        step("s", "out", input="in", parentId="m", metadata={"a": 1}, language="json", end=at(3), tags=["x"])
    )
    before = (await steps_of(layer))["s"]
    await layer.update_step({"id": "s", "threadId": THREAD})
    await layer.update_step(dict.fromkeys(before) | {"id": "s", "threadId": THREAD})
    assert (await steps_of(layer))["s"] == before
    await layer.update_step({"id": "s", "threadId": THREAD, "output": "", "input": "", "metadata": {"b": 2}})
    assert (await steps_of(layer))["s"] == {**before, "output": "", "input": "", "metadata": {"b": 2}}
    await layer.update_step({"id": "s", "threadId": THREAD, "metadata": {}, "tags": []})
    assert (await steps_of(layer))["s"]["metadata"] == {}


CREATED = step("s", input="", seconds=1, parentId="m", tags=["x"])
RUNNING = {**CREATED, "input": "in", "start": at(2)}
ENDED = {**RUNNING, "output": "out", "end": at(3), "metadata": {"a": 1}, "isError": True, "showInput": "json"}


async def test_a_create_that_comes_after_its_updates_erases_nothing(layer: MongoDataLayer) -> None:
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
        expected = {**ENDED, "id": id, "feedback": None}
        if order.index("run") > order.index("end"):
            # Which of two updates is the newer one nothing but their order says.
            expected |= {key: RUNNING[key] for key in ("output", "metadata", "isError", "showInput")}
        assert found == expected


async def test_a_create_beside_its_update_erases_nothing(layer: MongoDataLayer) -> None:
    dice = random.Random(7)
    ids = [f"s{number}" for number in range(40)]
    calls = [layer.create_step({**CREATED, "id": id}) for id in ids]
    calls += [layer.update_step({**ENDED, "id": id}) for id in ids]
    dice.shuffle(calls)
    await asyncio.gather(*calls)
    found = await steps_of(layer)
    assert found == {id: {**ENDED, "id": id, "feedback": None} for id in ids}


async def test_a_create_fills_what_an_update_left_open(layer: MongoDataLayer) -> None:
    await layer.update_step({"id": "s", "threadId": THREAD, "output": "out", "showInput": False})
    await layer.create_step(step("s", "", 5, input="in", parentId="m", showInput="json", metadata={"a": 1}))
    found = (await steps_of(layer))["s"]
    assert (found["output"], found["input"], found["parentId"]) == ("out", "in", "m")
    assert (found["showInput"], found["metadata"], found["createdAt"]) == (False, {"a": 1}, at(5))


async def test_an_update_after_a_late_create_still_counts(layer: MongoDataLayer) -> None:
    await layer.update_step(step("s", "first"))
    await layer.create_step(step("s", "begun"))
    await layer.update_step(step("s", ""))
    assert (await steps_of(layer))["s"]["output"] == ""


async def test_an_update_of_an_unknown_step_stores_it_and_its_thread(layer: MongoDataLayer) -> None:
    await layer.update_step(step("s", "out"))
    assert (await steps_of(layer))["s"]["output"] == "out"


async def test_a_step_belongs_to_one_thread(layer: MongoDataLayer, caplog: pytest.LogCaptureFixture) -> None:
    await layer.create_step(step("s", "mine"))
    with pytest.raises(ConflictError):
        await layer.update_step(step("s", "theirs", threadId="other"))
    assert (await steps_of(layer))["s"]["output"] == "mine"
    assert "step s is not stored" in caplog.text


@zones
async def test_times_order_steps_and_come_back_as_they_were(layer: MongoDataLayer) -> None:
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


async def test_a_step_without_a_time_has_one(layer: MongoDataLayer) -> None:
    for number, text in enumerate((None, "")):
        await layer.create_step(step(f"s{number}", createdAt=text))
    await layer.update_step({"id": "t", "threadId": THREAD})
    await layer.create_step(step("u", createdAt="yesterday"))
    found = await steps_of(layer)
    assert found.pop("u")["createdAt"] == "yesterday"
    for one in found.values():
        assert one["createdAt"].endswith("Z")
        assert abs(datetime.fromisoformat(one["createdAt"]) - datetime.now(UTC)) < timedelta(minutes=5)


def is_placeable(found: dict[str, Any]) -> bool:
    seen: set[str | None] = {None}
    for one in found.values():
        if one["parentId"] in found and one["parentId"] not in seen:
            return False
        seen.add(one["id"])
    return True


async def test_parents_come_first_at_equal_times_and_in_deep_trees(layer: MongoDataLayer) -> None:
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


async def test_steps_stay_where_their_times_put_them_unless_a_parent_is_later(layer: MongoDataLayer) -> None:
    await layer.create_step(message("m1", "a", 0))
    await layer.create_step(step("run", "", 3, parentId="m1", type="run"))
    await layer.create_step(step("tool", "", 2, parentId="run"))
    await layer.create_step(message("answer", "b", 4, parentId="run", type="assistant_message"))
    await layer.create_step(message("m2", "c", 1))
    assert [*await steps_of(layer)] == ["m1", "m2", "run", "tool", "answer"]


async def test_missing_parents_and_cycles_lose_nothing(layer: MongoDataLayer) -> None:
    for id, parent in {"a": "gone", "b": "c", "c": "d", "d": "b", "e": "e", "f": "b", "g": ""}.items():
        await layer.create_step(step(id, parentId=parent))
    assert {*await steps_of(layer)} == {*"abcdefg"}


async def test_a_chain_of_thousands_in_reverse_is_put_right(layer: MongoDataLayer) -> None:
    chain: Any = [step(f"s{n}", parentId=f"s{n + 1}", metadata={"same": "x" * 50}) for n in range(5000)]
    assert [one["id"] for one in parents_first(chain)] == [f"s{n}" for n in reversed(range(5000))]


async def test_deleting_a_step_takes_its_own_and_leaves_its_children(
    layer: MongoDataLayer, store: AsyncMongoStore
) -> None:
    await layer.create_step(message("m"))
    await layer.create_step(step("s", parentId="m"))
    await layer.create_step(step("child", parentId="s"))
    given = await layer.upsert_feedback(Feedback(forId="s", value=1))
    for id, of in (("e1", "s"), ("e2", "m")):
        await layer.create_element(
            chainlit.Image(id=id, name=id, content=b"\x89", for_id=of, thread_id=THREAD)
        )
    await layer.delete_step("s")
    assert {*await steps_of(layer)} == {"m", "child"}
    assert await layer.get_element(THREAD, "e1") is None
    assert await layer.get_element(THREAD, "e2") is not None
    assert await store.engine.database["files.files"].count_documents({}) == 1
    await layer.delete_feedback(given)
    with pytest.raises(NotFoundError):
        await layer.upsert_feedback(Feedback(forId="s", value=1))


async def test_a_feedback_shows_on_its_step_and_is_the_only_one(layer: MongoDataLayer) -> None:
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
    assert found == {"id": id, "forId": "m", "value": 0, "comment": None}
    assert type(found["value"]) is int
    await layer.update_step(message("m", "edited", feedback={"value": 1}))
    assert (await steps_of(layer))["m"]["feedback"] == found
    await layer.delete_feedback(id)
    assert (await steps_of(layer))["m"]["feedback"] is None


async def test_thumbs_at_once_are_one_feedback(layer: MongoDataLayer) -> None:
    user_id = await claim(layer, THREAD)
    await layer.create_step(message("m"))
    given = [Feedback(forId="m", value=number % 2) for number in range(6)]
    ids = await asyncio.gather(*(layer.upsert_feedback(feedback) for feedback in given))
    found = (await steps_of(layer))["m"]["feedback"]
    assert {*ids} == {found["id"]}
    assert [feedback.id for feedback in given] == [None] * 6
    assert await listed(layer, user_id, feedback=found["value"]) == [THREAD]
    assert await listed(layer, user_id, feedback=1 - found["value"]) == []


async def test_favourites_are_the_users_own_newest_first_and_whole(layer: MongoDataLayer) -> None:
    user_id = await claim(layer, THREAD, "other")
    await claim(layer, "theirs", identifier="bob")
    said = [message(f"m{number}", f"text {number}", number, metadata={"a": number}) for number in range(3)]
    for one in said:
        await layer.create_step(one)
    await layer.create_step(message("theirs", threadId="theirs", metadata={"favorite": True}))
    await layer.create_step(message("deep", metadata={"x": {"favorite": True}}))
    await layer.create_step(message("no", metadata={"favorite": "yes"}))
    kept = deepcopy(said)
    for number in (0, 2):
        changed = await layer.set_step_favorite(said[number], True)
        assert changed == {**kept[number], "metadata": {"a": number, "favorite": True}}
    await layer.create_step(message("elsewhere", "", 1, threadId="other", metadata={"favorite": True}))
    assert said == kept
    found = await layer.get_favorite_steps(user_id)
    assert [one["id"] for one in found] == ["m2", "elsewhere", "m0"]
    assert found[0] == {**kept[2], "metadata": {"a": 2, "favorite": True}, "feedback": None}
    json.dumps(found)
    changed = await layer.set_step_favorite(found[0], False)
    assert changed["metadata"] == {"a": 2, "favorite": False}
    assert [one["id"] for one in await layer.get_favorite_steps(user_id)] == ["elsewhere", "m0"]
    assert (await steps_of(layer))["m2"] == {**kept[2], "metadata": changed["metadata"], "feedback": None}


async def test_a_favourite_before_its_thread_is_claimed_is_found(layer: MongoDataLayer) -> None:
    await layer.create_step(message("m", metadata={"favorite": True}))
    user_id = await claim(layer, THREAD)
    assert [one["id"] for one in await layer.get_favorite_steps(user_id)] == ["m"]
    await layer.update_step({"id": "m", "threadId": THREAD, "output": "edited", "metadata": None})
    assert [one["output"] for one in await layer.get_favorite_steps(user_id)] == ["edited"]
    await layer.update_step({"id": "m", "threadId": THREAD, "metadata": {}})
    assert await layer.get_favorite_steps(user_id) == []


async def test_a_thread_of_20_mb_is_whole(layer: MongoDataLayer) -> None:
    text = "ä" * 500_000
    for number in range(20):
        await layer.create_step(message(f"m{number}", text, number))
    found = await steps_of(layer)
    assert [*found] == [f"m{number}" for number in range(20)]
    assert {one["output"] for one in found.values()} == {text}


async def test_a_step_of_15_mb_is_whole_and_one_of_17_is_an_error_that_names_it(
    layer: MongoDataLayer, caplog: pytest.LogCaptureFixture
) -> None:
    await layer.create_step(message("m"))
    await layer.update_step(message("m", "x" * 15_000_000))
    with pytest.raises(DocumentTooLargeError):
        await layer.update_step(message("m", "y" * 17_000_000))
    assert [record.levelno for record in caplog.records if "step m is not stored" in record.message] == [
        logging.ERROR
    ]
    assert (await steps_of(layer))["m"]["output"] == "x" * 15_000_000


async def test_what_is_no_json_is_an_error_that_names_the_step(
    layer: MongoDataLayer, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidValueError, match="metadata"):
        await layer.create_step(message("m", metadata={"a": object()}))
    assert "step m is not stored" in caplog.text
    assert await layer.get_thread(THREAD) is None


async def test_all_that_is_returned_is_strict_json_in_utf_8(layer: MongoDataLayer) -> None:
    user_id = await claim(layer, THREAD)
    odd = {"nan": [float("nan"), float("inf")], "half": "\ud83d!", "\udc00": 2**80, "nul": "\0"}
    await layer.create_user(chainlit.User(identifier="ada", metadata=odd))
    await layer.update_thread(THREAD, metadata=odd)
    await layer.create_step(message("m", "half \ud83d", metadata={**odd, "favorite": True}, new=odd))
    await layer.create_element(chainlit.CustomElement(name="c", props=odd, for_id="m", thread_id=THREAD))
    user = await layer.get_user("ada")
    assert user is not None
    for value in (await layer.get_thread(THREAD), await layer.get_favorite_steps(user_id), user.to_dict()):
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    found = (await steps_of(layer))["m"]
    assert found["output"] == "half ?"
    assert found["new"] == {"nan": [None, None], "half": "?!", "?": 2**80, "nul": "\0"}


async def test_nobody_streams_a_step_that_is_read(layer: MongoDataLayer) -> None:
    await layer.create_step(message("m", streaming=True))
    assert (await steps_of(layer))["m"]["streaming"] is False
