"""What calls of a session meet when others delete it and make it anew, or change it behind a lost answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from mongostore import AsyncMongoStore, ConflictError, Message, NotFoundError, Turn
from mongostore.repositories.expiry import is_expired
from mongostore.repositories.sessions import TailLimits
from mongostore.repositories.sessions.message_updater import MessageUpdater
from mongostore.repositories.sessions.message_writer import MessageWriter
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.session_deleter import SessionDeleter
from mongostore.repositories.store_collection import StoreCollection
from tests.contract.interleaving import act_before, run_apart
from tests.faults.test_retries_beside_others import Client

LARGE = "x" * 2000


@pytest.fixture
def tail_limits() -> TailLimits:
    """Messages leave the session's document soon, and large ones at once."""
    return TailLimits(keep=2, full=4, embed_bytes=1000, context_embed_bytes=1000)


def lose(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    number: int = 1,
    act: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Lose the answer to the n-th command of a kind, behind which another client acts."""
    function, left = getattr(StoreCollection, name), [number]

    async def call(*arguments: Any, **options: Any) -> Any:
        result = await function(*arguments, **options)
        left[0] -= 1
        if left[0]:
            return result
        monkeypatch.setattr(StoreCollection, name, function)
        if act is not None:
            await run_apart(act)
        raise AutoReconnect("the answer was lost")

    monkeypatch.setattr(StoreCollection, name, call)


def say(id: str, content: str = "text") -> Message:
    return Message(id=id, role="user", content=content)


class TestWhatIsRemembered:
    """A store remembers where a session's parts lie: others may have made another session meanwhile."""

    async def test_turns_go_to_a_session_made_anew(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["p"])
        await sessions.turns.append("s", "p", Turn(role="user", content="old"))
        await sessions.delete("s")
        await sessions.messages.append("s", say("m"), create={"participants": ["p"]})
        assert (await sessions.turns.append("s", "p", Turn(role="user", content="new"))).number == 1
        assert [turn.content for turn in await sessions.turns.list("s", "p")] == ["new"]

    async def test_the_newest_message_is_that_of_a_session_made_anew(self, store: AsyncMongoStore) -> None:
        messages = store.sessions.messages
        await messages.append_many("s", [say("a"), say("b"), say("c")], create=True)
        assert await messages.pop("s")
        await store.sessions.delete("s")
        await messages.append("s", say("new"), create=True)
        popped = await messages.pop("s")
        assert popped
        assert popped.id == "new"

    async def test_no_branch_of_a_session_goes_to_one_made_anew(self, store: AsyncMongoStore) -> None:
        branches, others = store.sessions.branches, Client(store).sessions
        await branches.append_many("s", [say("a")], create=True)
        await branches.list("s", lambda session: None)
        revision = (await store.sessions.get("s")).revision
        await others.delete("s")
        await others.branches.append_many("s", [say("b")], create=True)
        assert (await store.sessions.get("s")).revision == revision
        with pytest.raises(ConflictError):
            await branches.append_many("s", [say("a2")], parent_id="a", revision=revision)
        assert [one.id for one in await branches.list("s", "b")] == ["b"]


class TestOtherLives:
    async def test_no_branch_goes_to_a_session_made_anew_meanwhile(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        branches = store.sessions.branches
        await branches.append_many("s", [say("a")], create=True)

        async def renew() -> None:
            await store.sessions.delete("s")
            await branches.append_many("s", [say("b")], create=True)

        act_before(monkeypatch, StoreCollection, "find_and_modify", renew)
        with pytest.raises((ConflictError, NotFoundError)):
            await branches.append_many("s", [say("a2")])
        session = await store.sessions.get("s")
        assert session.metadata["branches"] == {"b": None}

    async def test_a_preview_is_of_no_former_message_of_that_id(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        messages = store.sessions.messages
        await messages.append_many("s", [say(str(n)) for n in range(6)], create=True)
        # The newest one that is left lies in a segment.
        await messages.delete_many("s", [str(n) for n in range(2, 6)])
        assert (await store.sessions.get("s")).last.id == "1"  # type: ignore[union-attr]
        update = StoreCollection.find_one_and_update

        async def update_and_renew(collection: StoreCollection, *arguments: Any, **options: Any) -> Any:
            found = await update(collection, *arguments, **options)
            if collection.name.endswith("session_segments"):
                monkeypatch.setattr(StoreCollection, "find_one_and_update", update)
                await run_apart(renew)
            return found

        async def renew() -> None:
            await store.sessions.delete("s")
            await messages.append("s", say("1", "new"), create=True)

        monkeypatch.setattr(StoreCollection, "find_one_and_update", update_and_renew)
        assert (await messages.update("s", "1", content="secret")).content == "secret"
        session = await store.sessions.get("s")
        assert session.last
        assert session.last.text == "new"

    async def test_an_update_that_is_refused_has_changed_no_session_made_anew(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        messages = store.sessions.messages
        await messages.append_many("s", [say("a"), say("b")], create=True)

        async def renew() -> None:
            await store.sessions.delete("s")
            await messages.append_many("s", [say("a"), say("b")], create=True)

        act_before(monkeypatch, MessageUpdater, "_update_in_tail", renew)
        with pytest.raises(NotFoundError):
            await messages.update("s", "a", content="late")
        assert (await messages.get("s", "a")).content == "text"

    async def test_what_was_written_as_a_session_expired_goes_with_it(
        self,
        store: AsyncMongoStore,
        monkeypatch: pytest.MonkeyPatch,
        let_pass: Callable[[timedelta], None],
    ) -> None:
        sessions = store.sessions
        await sessions.create("s", expires_in=timedelta(minutes=1), participants=["p"])

        async def truncate() -> None:
            # A call that began before.
            let_pass(timedelta(0))
            await sessions.truncate("s")
            await sessions.messages.append("s", say("large", LARGE))
            await sessions.turns.append("s", "p", Turn(role="user", content=LARGE))

        async def finish(
            deleter: SessionDeleter, document: Any, finish: Any = SessionDeleter.finish_if_gone
        ) -> Any:
            if is_expired(document, 2**62):
                monkeypatch.setattr(SessionDeleter, "finish_if_gone", finish)
                await run_apart(truncate)
            return await finish(deleter, document)

        monkeypatch.setattr(SessionDeleter, "finish_if_gone", finish)
        let_pass(timedelta(hours=1))
        await sessions.create("s")
        assert not await store.find_leftovers()

    async def test_a_stream_that_may_create_begins_beside_a_deletion(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        messages = store.sessions.messages
        half = Message(id="m", role="assistant", content="half", status="interrupted")
        await messages.append("s", half, create=True)
        act_before(monkeypatch, MessageUpdater, "find_container", lambda: store.sessions.delete("s"))
        async with messages.stream("s", id="m", create=True) as stream:
            await stream.write("whole")
        assert (await messages.get("s", "m")).content == "whole"

    @pytest.mark.parametrize("verb", ["truncate", "renew"])
    async def test_an_iteration_does_not_end_early_as_if_it_were_whole(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, verb: str
    ) -> None:
        messages = store.sessions.messages
        await messages.append_many("s", [say(str(n)) for n in range(6)], create=True)
        await messages.append("s", say("m", LARGE))
        assert (await store.sessions.describe_storage("s")).in_segments

        async def remove() -> None:
            if verb == "truncate":
                await messages.truncate("s")
            else:
                await store.sessions.delete("s")
                await store.sessions.create("s")

        act_before(monkeypatch, Overflows, "load_into", remove)
        with pytest.raises(ConflictError):
            assert [message async for message in messages.iter("s")]

    async def test_no_branch_continues_a_message_that_is_gone_by_then(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        branches = store.sessions.branches
        await branches.append_many("s", [say("a"), say("b")], create=True)
        act_before(monkeypatch, StoreCollection, "find_and_modify", lambda: store.sessions.messages.pop("s"))
        with pytest.raises(ConflictError):
            await branches.append_many("s", [say("c")], parent_id="b")
        assert [one.id for one in await store.sessions.messages.list("s")] == ["a"]

    async def test_a_body_that_became_large_before_its_message_went_goes_with_it(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        messages = store.sessions.messages
        await messages.append_many("s", [say(str(n)) for n in range(6)], create=True)
        assert (await store.sessions.describe_storage("s")).in_segments
        update = lambda: messages.update("s", "0", content=LARGE)  # noqa: E731
        act_before(monkeypatch, StoreCollection, "update_one", update)
        assert await messages.delete("s", "0")
        assert not await messages.exists("s", "0")
        assert not await store.find_leftovers()


class TestTakeOvers:
    @pytest.mark.parametrize("home", ["tail", "segment"])
    async def test_no_message_is_taken_over_that_is_complete_by_then(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, home: str
    ) -> None:
        messages = store.sessions.messages
        half = Message(id="m", role="assistant", content="half", status="interrupted")
        later = [say(str(n)) for n in range(2 if home == "tail" else 5)]
        await messages.append_many("s", [half, *later], create=True)
        layout = await store.sessions.describe_storage("s")
        assert bool(layout.in_segments) == (home == "segment")
        act_before(
            monkeypatch,
            MessageUpdater,
            f"_update_in_{home}",
            lambda: messages.update("s", "m", content="whole", status="complete"),
        )
        with pytest.raises(ConflictError):
            async with messages.stream("s", id="m"):
                raise AssertionError("the message is complete")
        message = await messages.get("s", "m")
        assert (message.content, message.status) == ("whole", "complete")

    async def test_a_writer_that_was_taken_over_changes_nothing_more(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        messages = store.sessions.messages
        await store.sessions.create("s")

        async def take_over() -> None:
            taking = messages.stream("s", id="m", data={"by": "second"})
            await taking.__aenter__()
            await taking.__aexit__(None, None, None)

        first = messages.stream("s", id="m", flush_every=5)
        stream = await first.__aenter__()
        await messages.append("s", say("behind"))
        await stream.update(data={"by": "first"})
        act_before(monkeypatch, MessageUpdater, "_update_in_tail", take_over)
        with pytest.raises(ConflictError):
            await stream.flush()
        with pytest.raises(ConflictError):
            await first.__aexit__(None, None, None)
        assert (await messages.get("s", "m")).data == {"by": "second"}


class TestLostAnswers:
    async def test_a_large_turn_outlives_a_deletion_that_is_taken_back(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["p"])
        lose(monkeypatch, "update_one", 1, lambda: sessions.soft_delete("s"))
        with pytest.raises(NotFoundError):
            await sessions.turns.append("s", "p", Turn(role="user", content=LARGE))
        await sessions.undelete("s")
        assert [turn.content for turn in await sessions.turns.list("s", "p")] == [LARGE]

    async def test_an_upsert_takes_back_no_later_update(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        messages = store.sessions.messages
        await store.sessions.create("s")
        # The second one appends the message, behind one that has looked for it.
        update = lambda: messages.update("s", "m", content="theirs")  # noqa: E731
        lose(monkeypatch, "find_and_modify", 2, update)
        assert (await messages.upsert("s", say("m", "mine"))).content == "theirs"
        assert (await messages.get("s", "m")).content == "theirs"

    @pytest.mark.parametrize("verb", ["append", "create"])
    async def test_no_retry_meets_a_session_that_an_earlier_call_makes_anew(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, verb: str
    ) -> None:
        sessions = store.sessions
        await sessions.create("s")
        has_begun, go_on = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            has_begun.set()
            await go_on.wait()

        calls: dict[str, tuple[Any, str, Callable[[], Awaitable[object]]]] = {
            "append": (
                *(MessageWriter, "_push_to_tail"),
                lambda: sessions.messages.append("s", say("m"), create=True),
            ),
            "create": (StoreCollection, "insert_one", lambda: sessions.create("s")),
        }
        owner, step, make = calls[verb]
        act_before(monkeypatch, owner, step, wait)
        making = asyncio.create_task(run_apart(make))
        await has_begun.wait()

        async def delete_and_make() -> None:
            await sessions.delete("s")
            go_on.set()
            await making

        lose(monkeypatch, "find_one_and_update", 1, delete_and_make)
        with pytest.raises((ConflictError, NotFoundError)):
            await sessions.update("s", name="late")
        assert (await sessions.get("s")).name is None

    @pytest.mark.parametrize("message", [say("m"), Message(role="user", content="text")], ids=["own", "new"])
    async def test_an_appended_message_may_be_updated_before_the_answer_comes(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, message: Message
    ) -> None:
        messages = store.sessions.messages
        await store.sessions.create("s")
        update = lambda: messages.update("s", message.id, content="theirs")  # noqa: E731
        lose(monkeypatch, "find_and_modify", 1, update)
        appended = await messages.append("s", message)
        assert (appended.position, appended.content) == (0, "theirs")

    async def test_a_message_that_others_delete_from_a_segment_does_not_come_back(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        messages = store.sessions.messages
        await store.sessions.create("s")

        async def delete() -> None:
            await messages.append_many("s", [say(str(n)) for n in range(5)])
            assert (await store.sessions.describe_storage("s")).in_segments
            assert await messages.delete("s", "m")

        lose(monkeypatch, "find_and_modify", 1, delete)
        assert (await messages.append("s", say("m"))).position is None
        assert not await messages.exists("s", "m")

    @pytest.mark.parametrize("verb", ["delete", "pop", "replace_newest", "update", "truncate"])
    async def test_no_large_body_is_left_of_what_is_gone(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, verb: str
    ) -> None:
        messages = store.sessions.messages
        await messages.append_many("s", [say("a"), say("m", LARGE)], create=True)
        calls: dict[str, tuple[str, Callable[[], Awaitable[Any]]]] = {
            "delete": ("update_one", lambda: messages.delete("s", "m")),
            "pop": ("update_one", lambda: messages.pop("s")),
            "replace_newest": ("update_one", lambda: messages.replace_newest("s", ["m"], [say("b")])),
            "update": ("find_one_and_update", lambda: messages.update("s", "m", content="small")),
            "truncate": ("find_one_and_update", lambda: messages.truncate("s")),
        }
        command, call = calls[verb]
        lose(monkeypatch, command)
        assert await call()
        assert not await store.find_leftovers()
