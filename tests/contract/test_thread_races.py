"""What another caller does between two steps of a verb of threads, on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from mongostore import AsyncMongoStore, Element, Feedback, NotFoundError, ThreadMessage
from mongostore.repositories.leftovers import Leftover
from mongostore.repositories.store_collection import StoreCollection
from mongostore.repositories.threads import (
    bulk,
    elements,
    feedback,
    message_writer,
    messages,
    thread_writes,
)
from mongostore.repositories.threads.bulk import ThreadMessageBatches
from tests.contract.interleaving import act_before, run_apart


def now() -> datetime:
    return datetime.now(UTC)


def element(file_key: str | None = "f") -> Element:
    return Element(id="e", message_id="m", file_key=file_key)


async def ids(store: AsyncMongoStore) -> list[str]:
    return [message.id for message in await store.threads.messages.list("t")]


async def element_ids(store: AsyncMongoStore) -> list[str]:
    return [one.id for one in await store.threads.elements.list("t")]


async def votes(store: AsyncMongoStore) -> list[int]:
    thread = await store.engine.database["threads"].find_one({"_id": "t"})
    return [vote["value"] for vote in (thread or {})["votes"]]


async def begin_anew(store: AsyncMongoStore, *ids: str, **members: Any) -> None:
    """Delete the thread, and begin it anew with messages."""
    await store.threads.delete("t")
    await store.threads.merge("t", name="anew", begun_at=now())
    for id in ids:
        await store.threads.messages.merge("t", id, begun_at=now(), created_at=now(), **members)


class Killed(Exception):
    """What stands for the end of a process."""


def kill_before(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """Have the next call of a function never come."""

    async def die() -> None:
        raise Killed

    act_before(monkeypatch, owner, name, die)


class TestLateWrites:
    async def test_an_element_of_a_former_life_does_not_come_into_the_present_one(
        self, store: AsyncMongoStore
    ) -> None:
        before = now()
        await store.threads.create("t")
        await begin_anew(store, "m")
        await store.threads.files.upload("f", b"x")
        with pytest.raises(NotFoundError):
            await store.threads.elements.upsert("t", element(), begun_at=before)
        assert await element_ids(store) == []
        assert not await store.threads.files.exists("f")

    @pytest.mark.parametrize("is_between", [False, True], ids=["later", "between"])
    async def test_an_element_of_a_deleted_message_stays_away(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, is_between: bool
    ) -> None:
        before = now()
        await store.threads.messages.merge("t", "m", content="x")
        await store.threads.files.upload("f", b"x")

        async def delete() -> None:
            assert await store.threads.messages.delete("t", "m")

        if is_between:
            act_before(monkeypatch, elements, "check_not_deleted", delete)
        else:
            await delete()
        with pytest.raises(NotFoundError) as caught:
            await store.threads.elements.upsert("t", element(), begun_at=before)
        assert caught.value.kind == "message"
        assert await element_ids(store) == []
        assert not await store.threads.files.exists("f")

    async def test_an_element_of_a_message_that_is_made_again_is_stored(self, store: AsyncMongoStore) -> None:
        await store.threads.messages.merge("t", "m", content="x")
        await store.threads.messages.delete("t", "m")
        await store.threads.messages.merge("t", "m", content="y", created_at=now())
        await store.threads.elements.upsert("t", element())
        assert await element_ids(store) == ["e"]

    @pytest.mark.parametrize("only_missing", [False, True])
    async def test_a_message_of_a_former_life_does_not_touch_the_present_one(
        self, store: AsyncMongoStore, only_missing: bool
    ) -> None:
        before = now()
        await store.threads.messages.merge("t", "m", content="old", created_at=before)
        await begin_anew(store, "m", data={"by": "new"})
        stored = await store.threads.messages.get("t", "m")
        with pytest.raises(NotFoundError):
            await store.threads.messages.merge(
                "t", "m", only_missing=only_missing, content="late", begun_at=before, created_at=before
            )
        assert await store.threads.messages.get("t", "m") == stored
        await store.threads.messages.merge("t", "m", content="more", begun_at=stored.created_at)
        assert (await store.threads.messages.get("t", "m")).content == "more"

    @pytest.mark.parametrize("only_missing", [False, True])
    async def test_a_message_that_begins_after_an_unfinished_deletion_is_kept(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, only_missing: bool
    ) -> None:
        await store.threads.messages.merge("t", "m", content="old", created_at=now())
        kill_before(monkeypatch, thread_writes, "finish_deletion")
        with pytest.raises(Killed):
            await store.threads.delete("t")
        await store.threads.messages.merge("t", "m", only_missing=only_missing, content="new", begun_at=now())
        assert (await store.threads.messages.get("t", "m")).content == "new"
        assert not await store.find_leftovers()

    async def test_what_was_stored_before_a_deletion_came_through_began_before_it(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store.threads.create("t")
        began: list[datetime] = []

        async def store_and_cut_off() -> None:
            began.append(now())
            await store.threads.messages.merge("t", "m", content="x", begun_at=began[0])
            raise AutoReconnect("the deletion was not sent")

        act_before(monkeypatch, StoreCollection, "find_one_and_update", store_and_cut_off)
        assert await store.threads.delete("t")
        with pytest.raises(NotFoundError):
            await store.threads.messages.merge("t", "m", data={"k": 1}, begun_at=began[0])
        assert await store.threads.find("t") is None


class TestSlowDeletions:
    async def test_an_element_of_the_next_life_is_spared_before_it_is_acknowledged(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        is_begun, may_go_on = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            is_begun.set()
            await may_go_on.wait()

        await store.threads.create("t")
        act_before(monkeypatch, thread_writes, "finish_deletion", wait)
        deleting = asyncio.create_task(store.threads.delete("t"))
        await is_begun.wait()
        await store.threads.messages.merge("t", "m", content="new", begun_at=now())
        await store.threads.files.upload("f", b"x")

        async def go_on() -> None:
            may_go_on.set()
            await deleting

        act_before(monkeypatch, elements, "check_not_deleted", go_on)
        await store.threads.elements.upsert("t", element())
        assert (await ids(store), await element_ids(store)) == (["m"], ["e"])
        assert await store.threads.files.read("f") == b"x"

    async def test_a_late_writer_does_not_take_a_message_back_into_its_own_life(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store.threads.create("t")
        await begin_anew(store)
        record = thread_writes.record_activity

        async def record_and_lag(*arguments: Any, **options: Any) -> Any:
            monkeypatch.setattr(message_writer, "record_activity", record)
            life = await record(*arguments, **options)
            await run_apart(lambda: begin_anew(store, "m"))
            return life

        monkeypatch.setattr(message_writer, "record_activity", record_and_lag)
        await store.threads.messages.merge("t", "m", content="x", begun_at=now())
        stored = await store.engine.database["messages"].find_one({"_id": "m"})
        assert stored is not None
        assert stored["life"] == 2
        assert not await store.find_leftovers()


class TestKilledWriters:
    @pytest.mark.parametrize("writer", ["merge", "import", "element"])
    async def test_what_a_killed_writer_leaves_of_a_deleted_thread_is_in_no_later_one(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, writer: str
    ) -> None:
        threads = store.threads
        await threads.messages.merge("t", "n", content="x")
        await threads.files.upload("f", b"x")

        async def write() -> None:
            match writer:
                case "merge":
                    kill_before(monkeypatch, message_writer, "record_activity")
                    await threads.messages.merge("t", "late", content="x")
                case "import":
                    kill_before(monkeypatch, bulk, "record_activity")
                    late = ThreadMessage(id="late", content="x", created_at=now())
                    await ThreadMessageBatches.of(threads).create_many("t", [late])
                case "element":
                    kill_before(monkeypatch, elements, "check_not_deleted")
                    await threads.elements.upsert("t", element())

        if writer == "element":
            # Deleted while it writes.
            replace = StoreCollection.find_one_and_update
            act_before(monkeypatch, StoreCollection, "find_one_and_update", lambda: threads.delete("t"))
            with pytest.raises(Killed):
                await write()
            assert StoreCollection.find_one_and_update is replace
        else:
            await threads.delete("t")
            with pytest.raises(Killed):
                await write()
        name, id = ("elements", "e") if writer == "element" else ("messages", "late")
        assert await store.find_leftovers() == [Leftover(name, id, "orphan")]
        await threads.messages.merge("t", "new", content="x", begun_at=now())
        assert (await ids(store), await element_ids(store)) == (["new"], [])
        assert not await store.find_leftovers()
        if writer == "element":
            assert not await threads.files.exists("f")

    async def test_parts_without_a_thread_are_mended(self, store: AsyncMongoStore) -> None:
        await store.threads.messages.merge("t", "m", content="x")
        await store.threads.files.upload("f", b"x")
        await store.threads.elements.upsert("t", element())
        await begin_anew(store, "kept")
        await store.threads.messages.merge("other", "o", content="x")
        await store.threads.elements.upsert("other", element("f"))
        # As the end of a tombstone leaves it.
        await store.engine.database["threads"].delete_one({"_id": "other"})
        assert {*await store.find_leftovers()} == {
            Leftover("messages", "o", "orphan"),
            Leftover("elements", "e", "orphan"),
        }
        assert await store.mend_leftovers(grace=0) == 2
        assert not await store.find_leftovers()
        await store.threads.create("other")
        assert len(await store.threads.messages.list("other")) == 0
        assert await ids(store) == ["kept"]


class TestAdoption:
    @pytest.mark.parametrize("is_begun", [False, True], ids=["deleted", "begun-anew"])
    async def test_a_message_of_no_thread_comes_into_the_next_life(
        self, store: AsyncMongoStore, is_begun: bool
    ) -> None:
        await store.threads.create("t")
        await store.threads.feedback.upsert(None, Feedback(message_id="m", value=1))
        await (begin_anew(store) if is_begun else store.threads.delete("t"))
        await store.threads.messages.merge("t", "m", content="x", begun_at=now())
        message = await store.threads.messages.get("t", "m")
        assert message.feedback is not None
        assert await votes(store) == [1]
        assert not await store.find_leftovers()

    @pytest.mark.parametrize("number", range(1, 7))
    @pytest.mark.parametrize("is_sent", [False, True], ids=["unsent", "unanswered"])
    async def test_its_vote_comes_with_it_whatever_answer_is_lost(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, number: int, is_sent: bool
    ) -> None:
        await store.threads.feedback.upsert(None, Feedback(message_id="m", value=1))
        count = 0

        def lossy(write: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def lose(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == number and not is_sent:
                    raise AutoReconnect("it was not sent")
                result = await write(*arguments, **options)
                if count == number and is_sent and not options.get("session"):
                    raise AutoReconnect("the answer was lost")
                return result

            return lose

        with monkeypatch.context() as patch:
            for name in ("update_one", "find_one_and_update"):
                patch.setattr(StoreCollection, name, lossy(getattr(StoreCollection, name)))
            await store.threads.messages.merge("t", "m", content="x", created_at=now())
        assert count >= number
        message = await store.threads.messages.get("t", "m")
        assert (message.content, message.feedback and message.feedback.value) == ("x", 1)
        assert await votes(store) == [1]

    async def test_a_pin_without_the_name_of_its_thread_is_listed(self, store: AsyncMongoStore) -> None:
        user = await store.threads.users.create("ada")
        await store.threads.create("t", user_id=user.id)
        await store.threads.messages.merge("t", "m", content="x")
        await store.threads.messages.merge(None, "m", pinned=True)
        assert [message.id for message in await store.threads.messages.list_pinned(user.id)] == ["m"]


class TestImports:
    async def test_a_late_import_takes_nothing_away_that_was_there(self, store: AsyncMongoStore) -> None:
        before = now()
        await store.threads.create("t")
        await store.threads.delete("t")
        await store.threads.messages.merge("t", "m", content="x", created_at=before, begun_at=now())
        late = [ThreadMessage(id=id, content="x", created_at=before) for id in ("m", "late")]
        with pytest.raises(NotFoundError):
            await ThreadMessageBatches.of(store.threads).create_many("t", late)
        assert await ids(store) == ["m"]


class TestElements:
    async def test_a_retry_that_finds_its_thread_deleted_leaves_no_file(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store.threads.create("t")
        await store.threads.files.upload("f", b"x")

        async def delete_and_cut_off() -> None:
            await store.threads.delete("t")
            raise AutoReconnect("the element was not sent")

        act_before(monkeypatch, StoreCollection, "find_one_and_update", delete_and_cut_off)
        with pytest.raises(NotFoundError):
            await store.threads.elements.upsert("t", element())
        assert not await store.threads.files.exists("f")

    async def test_a_file_of_the_same_key_goes_with_its_element(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store.threads.messages.merge("t", "m", content="x")
        await store.threads.files.upload("f", b"x")
        await store.threads.elements.upsert("t", element())
        delete = thread_writes.delete_files

        async def delete_and_lag(*arguments: Any) -> bool:
            monkeypatch.setattr(thread_writes, "delete_files", delete)
            deleted = await delete(*arguments)

            async def store_again() -> None:
                await store.threads.files.upload("f", b"y")
                await store.threads.elements.upsert("t", element())

            await run_apart(store_again)
            return deleted

        monkeypatch.setattr(thread_writes, "delete_files", delete_and_lag)
        assert await store.threads.elements.delete("t", "e")
        assert await element_ids(store) == []
        assert not await store.threads.files.exists("f")


class TestWithoutTransactions:
    @pytest.mark.parametrize("verb", ["vote", "change", "unvote", "delete"])
    async def test_a_retry_records_the_vote_that_the_first_attempt_has_left_out(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, verb: str
    ) -> None:
        threads = store.threads
        await threads.messages.merge("t", "m", content="x")
        if verb != "vote":
            await threads.feedback.upsert("t", Feedback(message_id="m", value=0))

        async def one_by_one(_: Any, statements: Callable[[Any], Awaitable[Any]]) -> Any:
            return await statements(None)

        async def cut_off() -> None:
            raise AutoReconnect("nothing more was sent")

        monkeypatch.setattr(type(store.engine), "transact", one_by_one)
        act_before(monkeypatch, messages if verb == "delete" else feedback, "record_vote", cut_off)
        match verb:
            case "vote" | "change":
                await threads.feedback.upsert("t", Feedback(message_id="m", value=1))
            case "unvote":
                assert await threads.feedback.delete("t", "m")
            case "delete":
                assert await threads.messages.delete("t", "m")
        assert await votes(store) == ([1] if verb in ("vote", "change") else [])
