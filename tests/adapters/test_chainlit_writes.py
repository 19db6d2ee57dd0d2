"""Which writes of Chainlit's count: their order, their lives, and whose they are."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from mongostore import AccessDeniedError, AsyncMongoStore
from tests.adapters.chainlit_parts import (
    THREAD,
    Feedback,
    MongoDataLayer,
    Pagination,
    ThreadFilter,
    chainlit,
    claim,
    enter,
    message,
    socket_session,
    steps_of,
)


def now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat() + "Z"


def begun(id: str, **members: Any) -> Any:
    return {**message(id), "createdAt": now(), **members}


def file(id: str | None = None, content: bytes | None = b"x") -> Any:
    return chainlit.File(id=id or str(uuid4()), name="a.txt", content=content, for_id="m", thread_id=THREAD)


async def elements_of(layer: MongoDataLayer) -> dict[str, Any]:
    thread = await layer.get_thread(THREAD)
    assert thread is not None
    return {element["id"]: element for element in thread["elements"] or []}


class TestOrder:
    async def test_tasks_of_a_step_run_in_the_order_of_their_calls(
        self, layer: MongoDataLayer, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        merge = store.threads.messages.merge

        async def slow_start(*ids: str, only_missing: bool, **members: Any) -> None:
            await asyncio.sleep(0.2 if only_missing else 0)
            await merge(*ids, only_missing=only_missing, **members)

        monkeypatch.setattr(store.threads.messages, "merge", slow_start)
        creating = asyncio.create_task(layer.create_step(begun("m")))
        await layer.delete_step("m")
        await creating
        await asyncio.gather(
            asyncio.create_task(layer.create_step(begun("n", output="first"))),
            asyncio.create_task(layer.update_step(begun("n", output="second"))),
        )
        assert {name: step["output"] for name, step in (await steps_of(layer)).items()} == {"n": "second"}

    async def test_a_removed_element_does_not_come_back_with_its_upload(
        self, layer: MongoDataLayer, store: AsyncMongoStore
    ) -> None:
        await layer.create_step(begun("m"))
        one, other = file(), file()
        tasks = [asyncio.create_task(layer.create_element(each)) for each in (one, other)]
        await layer.delete_element(one.id, THREAD)
        await layer.delete_step("m")
        await asyncio.gather(*tasks)
        assert await elements_of(layer) == {}
        assert [found async for found in store.threads.files.iter()] == []

    async def test_calls_that_wait_for_the_first_message_keep_their_order(
        self, layer: MongoDataLayer
    ) -> None:
        enter(session := socket_session())
        await layer.delete_step("other")
        await layer.create_step(begun("gone"))
        await layer.create_step(begun("m", output="hello"))
        await layer.delete_step("gone")
        session.has_first_interaction = True
        await session.flush_method_queue()
        assert [*await steps_of(layer)] == ["m"]

    async def test_a_write_that_is_never_run_holds_up_no_other(self, layer: MongoDataLayer) -> None:
        dropped = layer.create_step(begun("m", output="dropped"))
        await layer.update_step(begun("m", output="kept"))
        dropped.close()
        assert (await steps_of(layer))["m"]["output"] == "kept"


class TestLives:
    async def test_a_removed_step_comes_back_by_no_late_write(self, layer: MongoDataLayer) -> None:
        old = begun("m", output="old")
        await layer.create_step(old)
        await layer.delete_step("m")
        await layer.create_step(old)
        await layer.update_step({**old, "output": "older"})
        await layer.delete_step("unknown")
        assert await steps_of(layer) == {}
        await layer.create_step(begun("m", output="new"))
        assert (await steps_of(layer))["m"]["output"] == "new"

    async def test_a_talk_under_a_deleted_threads_id_is_a_new_one(
        self, layer: MongoDataLayer, store: AsyncMongoStore
    ) -> None:
        user_id = await claim(layer, THREAD)
        old = begun("m", output="old")
        await layer.create_step(old)
        await layer.create_element(file())
        await layer.delete_thread(THREAD)
        late = file()
        await layer.update_step(old)
        await layer.update_thread(THREAD, metadata={"late": True})
        await layer.create_element(late)
        assert await layer.get_thread(THREAD) is None
        await layer.update_thread(THREAD, name="second", user_id=user_id)
        await layer.create_step(begun("n", output="new"))
        await layer.update_step(old)
        await layer.update_thread(THREAD, metadata={"count": 1})
        assert {name: step["output"] for name, step in (await steps_of(layer)).items()} == {"n": "new"}
        page = await layer.list_threads(Pagination(first=5), ThreadFilter(userId=user_id))
        assert [(row["name"], row["metadata"]) for row in page.data] == [("second", {"count": 1})]
        assert [found async for found in store.threads.files.iter()] == []

    async def test_a_feedback_joins_the_message_that_comes_after_it(self, layer: MongoDataLayer) -> None:
        user_id = await claim(layer, THREAD)
        id = await layer.upsert_feedback(Feedback(forId="m", value=0, threadId=THREAD))
        assert await layer.upsert_feedback(Feedback(forId="m", value=1, threadId=THREAD)) == id
        await layer.create_step(begun("m"))
        found = (await steps_of(layer))["m"]["feedback"]
        assert (found["id"], found["value"]) == (id, 1)
        page = await layer.list_threads(Pagination(first=5), ThreadFilter(userId=user_id, feedback=1))
        assert [row["id"] for row in page.data] == [THREAD]


class TestElements:
    async def test_elements_come_in_the_order_of_their_calls(self, layer: MongoDataLayer) -> None:
        sent = [file(content=b"x" * size) for size in (3_000_000, 1_000_000, 10, 5)]
        await asyncio.gather(*(asyncio.create_task(layer.create_element(each)) for each in sent))
        await layer.create_step(begun("m"))
        assert [*await elements_of(layer)] == [each.id for each in sent]

    async def test_an_element_that_is_sent_again_keeps_its_file(
        self, layer: MongoDataLayer, store: AsyncMongoStore
    ) -> None:
        await layer.create_step(begun("m"))
        await layer.create_element(added := file(content=b"picture"))
        found = (await elements_of(layer))[added.id]
        again = chainlit.element.Element.from_dict(found)
        again.thread_id = THREAD
        await layer.create_element(again)
        remaining = await store.threads.elements.get(THREAD, added.id)
        assert remaining.file_key is not None
        assert await store.threads.files.read(remaining.file_key) == b"picture"
        # But the file of another element it does not get.
        await layer.create_element(other := file(content=b"other"))
        stranger = chainlit.element.Element.from_dict({**found, "id": other.id})
        stranger.thread_id = THREAD
        await layer.create_element(stranger)
        assert (await store.threads.elements.get(THREAD, other.id)).file_key is None


class TestOwners:
    async def test_only_a_threads_user_replaces_what_is_in_it(self, layer: MongoDataLayer) -> None:
        await claim(layer, THREAD)
        ada = await layer.get_user("ada")
        mallory = await layer.create_user(chainlit.User(identifier="mallory"))
        await layer.create_step(begun("m"))
        await layer.create_element(added := file())
        await layer.upsert_feedback(Feedback(forId="m", value=1, threadId=THREAD))

        def custom(id: str) -> Any:
            return chainlit.CustomElement(
                id=id, name="n", props={"a": 1}, thread_id=THREAD, for_id="m", display="inline"
            )

        enter(session := socket_session())
        session.has_first_interaction, session.user = True, mallory
        for id in (added.id, "new"):
            with pytest.raises(AccessDeniedError):
                await layer.create_element(custom(id))
        await layer.delete_element(added.id, THREAD)
        with pytest.raises(AccessDeniedError):
            await layer.upsert_feedback(Feedback(forId="m", value=0, threadId=THREAD))
        session.user = ada
        with pytest.raises(AccessDeniedError):
            # A custom element never takes the place of another type.
            await layer.create_element(custom(added.id))
        with pytest.raises(AccessDeniedError):
            await layer.upsert_feedback(Feedback(forId="m", value=0, threadId="another"))
        await layer.create_element(custom("own"))
        found = await elements_of(layer)
        assert {id: element["type"] for id, element in found.items()} == {added.id: "file", "own": "custom"}
        assert (await steps_of(layer))["m"]["feedback"]["value"] == 1
        await layer.delete_element("own", "another")
        assert "own" in await elements_of(layer)
        await layer.delete_element("own", THREAD)
        assert "own" not in await elements_of(layer)

    async def test_no_id_forges_a_line_of_the_log(
        self, layer: MongoDataLayer, caplog: pytest.LogCaptureFixture
    ) -> None:
        forged = "x\n2026-01-01 CRITICAL approved\x1b[2J" + "z" * 100_000
        with caplog.at_level(logging.DEBUG, "mongostore"), pytest.raises(ValueError, match="bytes"):
            await layer.create_element(file(id=forged))
        assert caplog.messages
        assert all(line.isprintable() and len(line) < 400 for line in caplog.messages)


class TestThreads:
    async def test_a_thread_that_is_unshared_stays_so_when_its_author_leaves(
        self, layer: MongoDataLayer
    ) -> None:
        async def shared() -> Any:
            thread = await layer.get_thread(THREAD)
            assert thread is not None
            return (thread["metadata"] or {}).get("is_shared")

        await claim(layer, THREAD)
        await layer.update_thread(THREAD, metadata={"is_shared": True, "shared_at": now()})
        thread = await layer.get_thread(THREAD)
        assert thread is not None
        resumed: dict[str, Any] = {**(thread["metadata"] or {}), "chat_profile": "p"}
        await layer.update_thread(THREAD, metadata={"is_shared": False})
        await layer.update_thread(THREAD, metadata=resumed)
        assert not await shared()
        thread = await layer.get_thread(THREAD)
        assert thread is not None
        resumed = {**(thread["metadata"] or {})}
        assert resumed["chat_profile"] == "p"
        await layer.update_thread(THREAD, metadata={"is_shared": True, "shared_at": now()})
        await layer.update_thread(THREAD, metadata=resumed)
        assert await shared()

    async def test_a_user_session_is_forgotten(self, layer: MongoDataLayer) -> None:
        await claim(layer, THREAD)
        remaining = {"is_shared": True, "shared_at": now()}
        await layer.update_thread(THREAD, metadata={"id": "session", "secret": 1, **remaining})
        assert await layer.delete_user_session("session")
        assert not await layer.delete_user_session("session")
        thread = await layer.get_thread(THREAD)
        assert thread is not None
        assert thread["metadata"] == remaining


class TestBesideOthers:
    """What comes into its thread, or goes, between two steps of a call."""

    @staticmethod
    def join_between(store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        """Have the step `m` come into its thread behind the next look of the layer."""
        find = getattr(owner, name)

        async def find_and_lag(*arguments: Any) -> Any:
            monkeypatch.setattr(owner, name, find)
            found = await find(*arguments)
            began = datetime.now(UTC)
            await store.threads.messages.merge(THREAD, "m", content="x", begun_at=began, created_at=began)
            return found

        monkeypatch.setattr(owner, name, find_and_lag)

    async def test_a_vote_on_a_step_that_comes_meanwhile_is_kept(
        self, layer: MongoDataLayer, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.join_between(store, monkeypatch, store.threads.messages, "find_by_id")
        id = await layer.upsert_feedback(Feedback(forId="m", value=1, threadId=THREAD))
        found = await store.threads.feedback.find(THREAD, "m")
        assert found is not None
        assert (found.id, found.value) == (id, 1)

    async def test_a_vote_on_a_step_that_comes_meanwhile_is_taken_back(
        self, layer: MongoDataLayer, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        id = await layer.upsert_feedback(Feedback(forId="m", value=1))
        self.join_between(store, monkeypatch, store.threads.feedback, "find_by_id")
        assert await layer.delete_feedback(id)
        assert await store.threads.feedback.find(THREAD, "m") is None
        assert await store.threads.messages.exists(THREAD, "m")

    async def test_a_step_that_comes_meanwhile_is_deleted(
        self, layer: MongoDataLayer, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.join_between(store, monkeypatch, store.threads.messages, "find_by_id")
        await layer.delete_step("m")
        assert not await store.threads.messages.exists(THREAD, "m")

    async def test_a_user_session_is_forgotten_though_a_thread_of_it_is_deleted_meanwhile(
        self, layer: MongoDataLayer, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("first", "second"):
            await layer.update_thread(name, metadata={"id": "session", "kept": True})
        walk = store.threads.iter

        async def walk_and_delete(**where: Any) -> Any:
            async for thread in walk(**where):
                yield thread
            await store.threads.delete("first")

        monkeypatch.setattr(store.threads, "iter", walk_and_delete)
        assert await layer.delete_user_session("session")
        assert (await store.threads.get("second")).metadata == {}
