"""That what began before a deletion stays deleted and what begins after it lives, on every engine."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mongostore import AsyncMongoStore, ConflictError, Element, Feedback, NotFoundError
from mongostore.repositories.threads import thread_writes


def now() -> datetime:
    return datetime.now(UTC)


async def texts(store: AsyncMongoStore) -> list[Any]:
    return [message.content async for message in store.threads.messages.iter("t")]


async def left(store: AsyncMongoStore) -> dict[str, int]:
    names = ("messages", "elements", "files.files", "files.chunks")
    return {name: await store.engine.database[name].count_documents({}) for name in names}


async def fill(store: AsyncMongoStore) -> None:
    await store.threads.messages.merge("t", "m", content="old", created_at=now())
    await store.threads.files.upload("f", b"x")
    await store.threads.elements.upsert("t", Element(id="e", message_id="m", file_key="f"))


async def mark_deleted(store: AsyncMongoStore) -> None:
    """Leave what a deletion leaves that is killed behind its first step."""
    deleted = {"state": "deleted", "delete_op": "killed", "deleted_at": int(now().timestamp() * 1_000_000)}
    await store.engine.database["threads"].update_one({"_id": "t"}, {"$set": deleted})


class TestThreadLives:
    async def test_only_what_begins_after_a_deletion_is_stored(self, store: AsyncMongoStore) -> None:
        before = now()
        await fill(store)
        await store.threads.delete("t")
        for late in (
            store.threads.messages.merge("t", "m", content="late", begun_at=before, created_at=before),
            store.threads.messages.merge("t", "n", content="late", created_at=now()),
            store.threads.merge("t", name="late", begun_at=before),
            store.threads.merge("t", name="late"),
            store.threads.elements.upsert("t", Element(id="e2", message_id="m")),
        ):
            with pytest.raises(NotFoundError):
                await late
        await store.threads.messages.merge("t", "n", content="new", begun_at=now(), created_at=now())
        await store.threads.merge("t", name="second", begun_at=now())
        for late in (
            store.threads.messages.merge("t", "m", content="late", begun_at=before, created_at=before),
            store.threads.messages.merge("t", "k", content="late", created_at=before),
            store.threads.merge("t", name="late", begun_at=before),
        ):
            with pytest.raises(NotFoundError):
                await late
        assert (await texts(store), (await store.threads.get("t")).name) == (["new"], "second")
        assert (await left(store))["elements"] == 0
        await store.threads.delete("t")
        assert await left(store) == dict.fromkeys(await left(store), 0)

    async def test_a_deletion_that_is_slow_spares_the_next_life(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await fill(store)
        finish, is_begun, may_go_on = thread_writes.finish_deletion, asyncio.Event(), asyncio.Event()

        async def slow(*arguments: Any) -> None:
            # The deletion alone, and not what meets it.
            if not is_begun.is_set():
                is_begun.set()
                await may_go_on.wait()
            await finish(*arguments)

        monkeypatch.setattr("mongostore.repositories.threads.thread_writes.finish_deletion", slow)
        deleting = asyncio.create_task(store.threads.delete("t"))
        await is_begun.wait()
        await store.threads.messages.merge("t", "n", content="new", begun_at=now())
        await store.threads.elements.upsert("t", Element(id="e2", message_id="n"))
        may_go_on.set()
        assert await deleting
        assert await texts(store) == ["new"]
        assert [element.id async for element in store.threads.elements.iter("t")] == ["e2"]

    @pytest.mark.parametrize("meeting", ["find", "delete", "merge", "begin"])
    async def test_a_deletion_cut_short_is_finished_by_the_next_verb(
        self, store: AsyncMongoStore, meeting: str
    ) -> None:
        await fill(store)
        await mark_deleted(store)
        match meeting:
            case "find":
                assert await store.threads.find("t") is None
            case "delete":
                assert not await store.threads.delete("t")
            case "merge":
                with pytest.raises(NotFoundError):
                    await store.threads.merge("t", name="late")
            case "begin":
                await store.threads.messages.merge("t", "n", content="new", begun_at=now())
                assert await texts(store) == ["new"]
                await store.threads.delete("t")
        assert await left(store) == dict.fromkeys(await left(store), 0)
        tombstone = await store.engine.database["threads"].find_one({"_id": "t"})
        assert tombstone is not None
        assert tombstone["expires_at"].replace(tzinfo=UTC) > now() + timedelta(days=29)

    async def test_a_tombstone_has_no_end_before_the_rest_is_gone(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*_: Any) -> None:
            raise RuntimeError

        await fill(store)
        monkeypatch.setattr(thread_writes, "delete_elements", fail)
        with pytest.raises(RuntimeError):
            await store.threads.delete("t")
        tombstone = await store.engine.database["threads"].find_one({"_id": "t"})
        assert tombstone is not None
        assert "expires_at" not in tombstone


class TestPartLives:
    async def test_a_deleted_message_comes_back_only_anew(self, store: AsyncMongoStore) -> None:
        before = now()
        await fill(store)
        assert await store.threads.messages.delete("t", "m")
        assert not await store.threads.messages.delete(None, "unknown")
        for id in ("m", "unknown"):
            for only_missing in (True, False):
                with pytest.raises(NotFoundError):
                    await store.threads.messages.merge(
                        "t", id, only_missing=only_missing, content="late", created_at=before
                    )
        assert await store.threads.messages.find_by_id("m") is None
        assert (await texts(store), await store.threads.messages.count("t")) == ([], 0)
        await store.threads.messages.merge("t", "m", content="new", created_at=now())
        assert await texts(store) == ["new"]

    async def test_a_deleted_element_comes_back_only_anew(self, store: AsyncMongoStore) -> None:
        before = now()
        await fill(store)
        assert await store.threads.elements.delete("t", "e")
        await store.threads.files.upload("late", b"x")
        late = Element(id="e", message_id="m", file_key="late")
        with pytest.raises(NotFoundError):
            await store.threads.elements.upsert("t", late, begun_at=before)
        assert await store.threads.files.find("late") is None
        assert await store.threads.elements.find_by_id("e") is None
        await store.threads.elements.upsert("t", Element(id="e", message_id="m"))
        assert [element.id async for element in store.threads.elements.iter("t")] == ["e"]

    async def test_elements_come_as_they_were_begun(self, store: AsyncMongoStore) -> None:
        times = {name: now() + timedelta(microseconds=path) for path, name in enumerate("abc")}
        for name in "cab":
            await store.threads.elements.upsert("t", Element(id=name, message_id="m"), begun_at=times[name])
        assert [element.id async for element in store.threads.elements.iter("t")] == ["a", "b", "c"]

    async def test_messages_of_one_time_come_as_they_arrived_on_every_page(
        self, store: AsyncMongoStore
    ) -> None:
        names = [f"{(number * 7) % 20:02}" for number in range(20)]
        moment = now()
        for name in names:
            await store.threads.messages.merge("t", name, created_at=moment)
        assert [message.id async for message in store.threads.messages.iter("t")] == names
        for newest in (False, True):
            seen: list[str] = []
            cursor = None
            while True:
                page = await store.threads.messages.list("t", newest=newest, limit=7, cursor=cursor)
                ids = [message.id for message in page.items]
                seen = [*ids, *seen] if newest else [*seen, *ids]
                if (cursor := page.next_cursor) is None:
                    break
            assert seen == names
        third = await store.threads.messages.get("t", names[2])
        page = await store.threads.messages.list("t", limit=3, cursor=store.threads.messages.cursor_of(third))
        assert [message.id for message in page.items] == names[3:6]

    async def test_feedback_waits_for_its_message(self, store: AsyncMongoStore) -> None:
        first = await store.threads.feedback.upsert(None, Feedback(message_id="m", value=0))
        second = await store.threads.feedback.upsert(None, Feedback(message_id="m", value=1))
        assert (second.id, second.value) == (first.id, 1)
        await store.threads.messages.merge("t", "m", only_missing=True, content="x", created_at=now())
        message = await store.threads.messages.get("t", "m")
        assert message.feedback is not None
        assert (message.content, message.feedback.value) == ("x", 1)
        assert [thread.id for thread in await store.threads.list(vote=1)] == ["t"]
        with pytest.raises(ConflictError):
            await store.threads.feedback.upsert(None, Feedback(message_id="m", value=0))
        await store.threads.messages.delete("t", "m")
        with pytest.raises(NotFoundError):
            await store.threads.feedback.upsert(None, Feedback(message_id="m", value=0))


class TestUploads:
    async def test_what_a_killed_upload_leaves_goes_with_the_next_of_its_key(
        self, store: AsyncMongoStore
    ) -> None:
        async def break_off() -> Any:
            for _ in range(6):
                yield b"x" * 1_000_000
            raise asyncio.CancelledError

        for end in ("upload", "delete"):
            with pytest.raises(asyncio.CancelledError):
                await store.threads.files.upload("k", break_off())
            assert (await left(store))["files.chunks"] > 0
            assert await store.threads.files.find("k") is None
            if end == "upload":
                await store.threads.files.upload("k", b"small")
                assert (await left(store))["files.chunks"] == 1
                assert await store.threads.files.delete("k")
            else:
                assert not await store.threads.files.delete("k")
            assert await left(store) == dict.fromkeys(await left(store), 0)

    async def test_an_upload_ends_before_the_deletion_that_meets_it(self, store: AsyncMongoStore) -> None:
        async def content() -> Any:
            for piece in range(7):
                if piece == 6:
                    assert not await store.threads.files.delete("k")
                yield b"x" * 1_000_000

        assert (await store.threads.files.upload("k", content())).size == 7_000_000
        assert await store.threads.files.find("k") is None
        assert await left(store) == dict.fromkeys(await left(store), 0)
