"""Users and threads of Chainlit's data layer, on each engine, far from UTC."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
from collections.abc import Awaitable, Callable
from copy import deepcopy
from typing import Any

import pytest

from mongostore import AsyncMongoStore, NotFoundError
from mongostore.sharing import _shared
from tests.adapters.chainlit_parts import (
    BEGIN,
    THREAD,
    BaseDataLayer,
    Feedback,
    MongoDataLayer,
    Pagination,
    Shelf,
    ThreadFilter,
    chainlit,
    claim,
    enter,
    listed,
    message,
    socket_session,
    step,
    steps_of,
    zones,
)

QUEUED = {"create_step", "update_step", "delete_step", "create_element", "delete_element"}
INHERITED: set[str] = set()


def test_every_method_of_the_base_class_is_overridden() -> None:
    methods = {name for name, _ in inspect.getmembers(BaseDataLayer, inspect.isfunction)}
    assert {name for name in methods if name not in MongoDataLayer.__dict__} == INHERITED


def test_every_method_takes_what_that_of_the_base_class_takes() -> None:
    for name, method in inspect.getmembers(BaseDataLayer, inspect.isfunction):
        theirs = inspect.signature(method).parameters
        ours = inspect.signature(getattr(MongoDataLayer, name)).parameters
        assert [*ours] == [*theirs]
        assert [one.default for one in ours.values()] == [one.default for one in theirs.values()]


async def test_exactly_five_methods_wait_for_the_first_message(layer: MongoDataLayer) -> None:
    enter(session := socket_session())
    image = chainlit.Image(name="i", content=b"i", for_id="m", thread_id=THREAD)
    calls: dict[str, tuple[Any, ...]] = {
        "get_user": ("ada",),
        "create_user": (chainlit.User(identifier="ada"),),
        "delete_feedback": ("f",),
        "get_element": (THREAD, "e"),
        "create_element": (image,),
        "delete_element": ("e",),
        "create_step": (message("m"),),
        "update_step": (message("m"),),
        "delete_step": ("other",),
        "get_thread_author": (THREAD,),
        "delete_thread": ("other",),
        "list_threads": (Pagination(first=1), ThreadFilter(userId="u")),
        "get_thread": (THREAD,),
        "update_thread": (THREAD,),
        "get_favorite_steps": ("u",),
        "build_debug_url": (),
        "close": (),
    }
    with pytest.raises(NotFoundError):
        await layer.upsert_feedback(Feedback(forId="m", value=1))
    for name, arguments in calls.items():
        await getattr(layer, name)(*arguments)
    assert {*session.thread_queues} == QUEUED
    assert {"upsert_feedback", "set_step_favorite", *calls} == {
        name for name, _ in inspect.getmembers(BaseDataLayer, inspect.isfunction)
    }


async def test_what_waited_is_stored_in_order_after_the_first_message(layer: MongoDataLayer) -> None:
    enter(session := socket_session())
    for number in range(3):
        await layer.create_step(step(f"s{number}", seconds=number))
        await layer.update_step(step(f"s{number}", f"out {number}", seconds=number))
    await layer.delete_step("s1")
    assert await layer.get_thread(THREAD) is None
    session.has_first_interaction = True
    await session.flush_method_queue()
    assert [(one["id"], one["output"]) for one in (await steps_of(layer)).values()] == [
        ("s0", "out 0"),
        ("s2", "out 2"),
    ]


async def test_nothing_is_connected_before_it_is_used_and_closing_twice_is_harmless(database: str) -> None:
    layer = MongoDataLayer("mongodb://nowhere.invalid:1/?serverSelectionTimeoutMS=100", database)
    await layer.close()
    await layer.close()
    used = MongoDataLayer("mongomock://chainlit-closing", database)
    await claim(used)
    assert _shared[asyncio.get_running_loop()]
    await used.close()
    assert not _shared[asyncio.get_running_loop()]
    await used.close()
    assert await used.get_user("ada") is not None
    await used.close()


async def test_many_first_calls_at_once_open_one_store(database: str) -> None:
    layer = MongoDataLayer("mongomock://chainlit-opening", database)
    await asyncio.gather(*(layer.get_user("ada") for _ in range(20)))
    assert len(_shared[asyncio.get_running_loop()]) == 1
    await layer.close()


async def test_closing_closes_the_storage_and_also_the_store_if_that_fails(database: str) -> None:
    shelf = Shelf()
    layer = MongoDataLayer("mongomock://chainlit-shelf", database, storage_provider=shelf)
    await layer.get_user("ada")
    shelf.fails = True
    with pytest.raises(OSError, match="does not close"):
        await layer.close()
    assert not _shared[asyncio.get_running_loop()]
    shelf.fails = False
    await layer.close()
    assert shelf.closed == 2


async def test_a_given_store_stays_open(store: AsyncMongoStore) -> None:
    await MongoDataLayer(store=store).close()
    assert await store.threads.find("t") is None


async def test_there_is_no_debug_url(layer: MongoDataLayer) -> None:
    assert await layer.build_debug_url() == ""


@zones
async def test_a_user_keeps_id_and_time_and_has_the_metadata_of_the_last_login(layer: MongoDataLayer) -> None:
    assert await layer.get_user("ada") is None
    metadata = {"role": "admin", "a.b": {"$x": 2**70}, "": 1, "_id": None, "provider": "credentials"}
    kept = deepcopy(metadata)
    first = await layer.create_user(chainlit.User(identifier="ada", metadata=metadata))
    second = await layer.create_user(chainlit.User(identifier="ada", metadata={"role": "guest"}))
    assert first is not None
    assert second is not None
    assert (first.id, first.createdAt, first.metadata) == (second.id, second.createdAt, kept)
    assert second.metadata == {"role": "guest"}
    assert await layer.get_user("ada") == second
    assert second.createdAt.endswith("Z")
    assert abs((BEGIN.fromisoformat(second.createdAt) - BEGIN.now().astimezone()).total_seconds()) < 300
    json.dumps(second.to_dict())


async def test_first_logins_at_once_make_one_user(layer: MongoDataLayer) -> None:
    users = await asyncio.gather(*(layer.create_user(chainlit.User(identifier="ada")) for _ in range(8)))
    assert len({user.id for user in users}) == 1


async def test_any_text_is_an_identifier(layer: MongoDataLayer) -> None:
    texts = ["Ada", "ada", "ada@example.com", "ädä 🙂", "$where", "a.b", "x\0y", " ", ""]
    users = [await layer.create_user(chainlit.User(identifier=text)) for text in texts]
    assert [await layer.get_user(text) for text in texts] == users
    assert len({user.id for user in users}) == len(texts)


@zones
async def test_a_thread_has_all_keys_and_its_author(layer: MongoDataLayer) -> None:
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


async def test_unknown_ids_are_quiet(layer: MongoDataLayer) -> None:
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


async def test_an_unknown_user_leaves_the_thread_alone(layer: MongoDataLayer) -> None:
    await claim(layer, THREAD)
    with pytest.raises(NotFoundError, match="user"):
        await layer.update_thread(THREAD, name="mine", user_id="nobody")
    thread = await layer.get_thread(THREAD)
    assert thread is not None
    assert (thread["name"], thread["userIdentifier"]) == (THREAD, "ada")


async def test_an_update_leaves_what_it_does_not_say(layer: MongoDataLayer) -> None:
    user_id = await claim(layer)
    await layer.update_thread(THREAD, "Hello", user_id, {"a": 1}, ["x"])
    before = await layer.get_thread(THREAD)
    await layer.update_thread(THREAD)
    assert await layer.get_thread(THREAD) == before
    await layer.update_thread(THREAD, tags=[])
    await layer.update_thread(THREAD, name="")
    after = await layer.get_thread(THREAD)
    assert after == {**before, "tags": [], "name": ""}  # type: ignore[dict-item]


async def test_a_name_is_cut_and_the_message_is_not(layer: MongoDataLayer) -> None:
    text = "ä🙂" * 300_000
    await asyncio.gather(layer.create_step(message("m", text)), layer.update_thread(THREAD, name=text))
    thread = await layer.get_thread(THREAD)
    assert thread is not None
    assert thread["name"] == text[:255]
    assert thread["steps"][0]["output"] == text


async def test_metadata_with_any_keys_is_merged_and_none_removes(layer: MongoDataLayer) -> None:
    odd = {"": 1, "_id": 2, "a.b": 3, "$set": 4, "$": 5, "x\0y": 6, "id": 2**80, "ü": {"": [{"$a.b": None}]}}
    kept = deepcopy(odd)
    await layer.update_thread(THREAD, metadata=odd)
    await layer.update_thread(THREAD, metadata={"more": True})
    thread = await layer.get_thread(THREAD)
    assert thread is not None
    assert thread["metadata"] == {**kept, "more": True}
    await layer.update_thread(THREAD, metadata={**dict.fromkeys(odd), "a": {"b": 1}, "unknown": None})
    await layer.update_thread(THREAD, metadata={"a": {"c": 1}})
    thread = await layer.get_thread(THREAD)
    assert thread is not None
    assert thread["metadata"] == {"more": True, "a": {"c": 1}}
    assert odd == kept


async def test_metadata_merged_at_once_is_all_there(layer: MongoDataLayer) -> None:
    await asyncio.gather(*(layer.update_thread(THREAD, metadata={f"k.{n}": n}) for n in range(12)))
    thread = await layer.get_thread(THREAD)
    assert thread is not None
    assert thread["metadata"] == {f"k.{n}": n for n in range(12)}


LATE: dict[str, Callable[[MongoDataLayer], Awaitable[Any]]] = {
    "metadata": lambda layer: layer.update_thread(THREAD, metadata={"late": True}),
    "name": lambda layer: layer.update_thread(THREAD, name="late"),
    "new step": lambda layer: layer.create_step(message("late")),
    "known step": lambda layer: layer.update_step(message("m", "late")),
    "element": lambda layer: layer.create_element(
        chainlit.Image(name="i", content=b"late", for_id="m", thread_id=THREAD)
    ),
}


async def test_a_deleted_thread_stays_deleted(layer: MongoDataLayer, store: AsyncMongoStore) -> None:
    user_id = await claim(layer, THREAD, "other")
    await layer.create_step(message("m", metadata={"favorite": True}))
    await layer.create_step(message("kept", threadId="other"))
    await layer.upsert_feedback(Feedback(forId="m", value=1))
    await layer.create_element(chainlit.Image(name="i", content=b"x", for_id="m", thread_id=THREAD))
    await layer.delete_thread(THREAD)
    await layer.delete_thread(THREAD)
    for late in LATE.values():
        await late(layer)
        assert await layer.get_thread(THREAD) is None
        assert await layer.get_thread_author(THREAD) == ""
        assert await layer.get_favorite_steps(user_id) == []
        assert await listed(layer, user_id) == ["other"]
        for name in ("elements", "files.files", "files.chunks"):
            assert await store.engine.database[name].count_documents({}) == 0
        assert await store.engine.database["messages"].count_documents({}) == 1
    assert [*await steps_of(layer, "other")] == ["kept"]


async def test_whatever_runs_beside_a_deletion_leaves_nothing(
    layer: MongoDataLayer, store: AsyncMongoStore
) -> None:
    await claim(layer, THREAD)
    await asyncio.gather(layer.delete_thread(THREAD), *(late(layer) for late in LATE.values()))
    assert await layer.get_thread(THREAD) is None
    for name in ("messages", "elements", "files.files", "files.chunks"):
        assert await store.engine.database[name].count_documents({}) == 0


async def test_the_first_calls_for_a_thread_may_come_in_any_order(layer: MongoDataLayer) -> None:
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


async def test_a_thread_that_nobody_has_claimed_has_no_author(layer: MongoDataLayer) -> None:
    await layer.create_step(message("m"))
    thread = await layer.get_thread(THREAD)
    assert thread is not None
    assert thread["userIdentifier"] is None
    assert await layer.get_thread_author(THREAD) == ""
