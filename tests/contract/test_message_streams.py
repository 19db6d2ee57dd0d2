"""Messages that grow while they are written: seen growing, sent once, and kept whatever ends the writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from typing import Any
from uuid import uuid4

import pytest

from mongostore import (
    AsyncMessageStream,
    AsyncMongoStore,
    ConflictError,
    DocumentTooLargeError,
    InvalidValueError,
    Message,
    MessageChange,
    MongoStore,
    NotFoundError,
    NotOpenError,
)
from mongostore.repositories.sessions import TailLimits
from tests.contract.command_log import CommandLog, logged_store

TOKENS = 2000
KiB = 1024


async def read(store: AsyncMongoStore, message_id: str = "a") -> tuple[Any, str]:
    message = await store.sessions.messages.get("s", message_id)
    return message.content, message.status


async def flush(out: AsyncMessageStream, text: str) -> Message:
    await out.write(text)
    return await out.flush()


async def overflows(store: AsyncMongoStore) -> int:
    return await store.engine.collection("session_overflows").count_documents({})


async def begun(stack: AsyncExitStack, store: AsyncMongoStore, **members: Any) -> AsyncMessageStream:
    """A stream of a writer that is to fail at its end: it ends with the stack."""
    stream = store.sessions.messages.stream("s", create=True, **{"id": "a", "flush_every": 0.01, **members})
    stack.push_async_exit(lambda *_: asyncio.sleep(0, True))
    return await stack.enter_async_context(stream)


class TestGrowth:
    @pytest.mark.smoke
    async def test_a_message_grows_and_is_complete_at_the_end(self, store: AsyncMongoStore) -> None:
        messages = store.sessions.messages
        await messages.append("s", Message(role="user", content="Hi"), create=True)
        async with messages.stream("s", id="a", conversation_id="c", flush_every=0.01) as out:
            assert (out.message.position, out.message.role, out.message.status) == (
                1,
                "assistant",
                "streaming",
            )
            assert await read(store) == ("", "streaming")
            await out.write("Hel")
            await out.write("lo")
            async with asyncio.timeout(10):
                # Readers see it before the writer has the server's answer.
                while (await read(store))[0] != "Hello" or out.message.content != "Hello":
                    await asyncio.sleep(0.01)
            assert (await store.sessions.get("s")).last.text == "Hello"  # type: ignore[union-attr]
            await out.write(" world")
            assert (out.text, out.message.content) == ("Hello world", "Hello")
            flushed = await out.flush()
            assert (flushed.content, flushed.status) == ("Hello world", "streaming")
            await out.write("!")
        stored = await messages.get("s", "a")
        assert (stored.content, stored.status, stored.conversation_id) == ("Hello world!", "complete", "c")
        session = await store.sessions.get("s")
        assert session.last
        assert (session.count, session.last.text) == (2, "Hello world!")
        assert out.message == stored
        with pytest.raises(ConflictError, match="its stream has ended"):
            await out.write("late")

    async def test_other_members_change_with_the_text(self, store: AsyncMongoStore) -> None:
        async with store.sessions.messages.stream(
            "s", create={"name": "n"}, id="a", content="> ", metadata={"k": 1, "m": 1}
        ) as out:
            await out.write("text")
            await out.update(data={"tool_calls": []}, metadata={"m": 2})
            await out.update(metadata={"n": 3})
            await out.flush()
            other = await store.sessions.messages.update("s", "a", metadata={"by": "another"})
            assert (other.content, other.status) == ("> text", "streaming")
            await out.update(metadata={"o": 4})
            for members in ({"content": "no"}, {"status": "complete"}, {"contnet": "no"}):
                with pytest.raises(InvalidValueError):
                    await out.update(**members)  # type: ignore[arg-type]
        stored = await store.sessions.messages.get("s", "a")
        assert (stored.content, stored.data) == ("> text", {"tool_calls": []})
        assert stored.metadata == {"k": 1, "m": 2, "n": 3, "by": "another", "o": 4}
        assert (await store.sessions.get("s")).name == "n"

    async def test_updates_of_one_flush_take_effect_one_behind_the_other(
        self, store: AsyncMongoStore
    ) -> None:
        metadata = {"a": 1, "b": 1, "c": 1}
        async with store.sessions.messages.stream(
            "s", create=True, id="a", flush_every=5, metadata=metadata
        ) as out:
            await out.update(metadata={"a": None, "b": 2, "d": 4}, role="tool")
            await out.update(metadata={"a": None, "e": None}, unset=["metadata.d"])
            await out.update(metadata={"b": None, "d": 5})
        stored = await store.sessions.messages.get("s", "a")
        assert (stored.role, stored.metadata) == ("tool", {"a": None, "c": 1, "d": 5, "e": None})

    async def test_watchers_see_it_grow_and_no_renewals(
        self,
        store: AsyncMongoStore,
        monkeypatch: pytest.MonkeyPatch,
        until_followed: Callable[[], Awaitable[None]],
    ) -> None:
        monkeypatch.setattr("mongostore.repositories.sessions.message_stream.RENEWAL_SECONDS", 0.05)
        await store.sessions.create("s")
        seen: list[MessageChange] = []
        async with aclosing(store.sessions.messages.watch("s")) as changes:  # type: ignore[type-var]
            first = asyncio.ensure_future(anext(changes))
            await until_followed()
            async with store.sessions.messages.stream("s", id="a", flush_every=0.01) as out:
                for piece in ("one ", "two ", "three"):
                    await out.write(piece)
                    await out.flush()
                    # Meanwhile the silent writer renews its message some times.
                    await asyncio.sleep(0.2)
            seen = [await first, *[await anext(changes) for _ in range(4)]]
        texts = [(change.kind, change.message.content) for change in seen if change.message]
        assert texts[0] == ("append", "")
        assert [kind for kind, _ in texts[1:]] == ["update"] * 4
        # A change shows the message as it is when it is read, which may be later.
        assert [text for _, text in texts] == sorted((text for _, text in texts), key=len)
        assert seen[-1].message
        assert (seen[-1].message.content, seen[-1].message.status) == ("one two three", "complete")

    @pytest.mark.parametrize(
        "tail_limits", [TailLimits(keep=4, full=8, full_bytes=16 * KiB, embed_bytes=8 * KiB)]
    )
    async def test_it_grows_while_it_leaves_the_tail_and_gets_large(self, store: AsyncMongoStore) -> None:
        messages, text = store.sessions.messages, ""
        async with messages.stream("s", create=True, id="a", flush_every=0) as out:
            for number in range(60):
                piece = f"{number:04}" * 500
                text += piece
                await out.write(piece)
                await out.flush()
                await messages.append("s", Message(role="user", content=number))
                if number % 10 == 0:
                    assert await read(store) == (text, "streaming")
                    assert await anext(aiter(messages.iter("s"))) == await messages.get("s", "a")
        assert await read(store) == (text, "complete")
        assert (await store.sessions.describe_storage("s")).segments
        # That of the whole text, and none of the parts.
        assert await overflows(store) == 1


class TestEnds:
    async def test_a_block_that_raises_leaves_the_text_so_far(self, store: AsyncMongoStore) -> None:
        async def answer() -> None:
            async with store.sessions.messages.stream("s", create=True, id="a", flush_every=5) as out:
                await out.write("Half an ans")
                raise RuntimeError("model")

        with pytest.raises(RuntimeError, match="model"):
            await answer()
        assert await read(store) == ("Half an ans", "interrupted")

    async def test_a_cancelled_block_leaves_the_text_so_far(self, store: AsyncMongoStore) -> None:
        is_written = asyncio.Event()

        async def answer() -> None:
            async with store.sessions.messages.stream("s", create=True, id="a", flush_every=5) as out:
                await out.write("Half an ans")
                is_written.set()
                await asyncio.Event().wait()

        answering = asyncio.create_task(answer())
        await is_written.wait()
        # Whoever cancels again and again, as AnyIO's scopes do, does not reach the last write.
        for _ in range(3):
            answering.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await answering
        async with asyncio.timeout(10):
            while await read(store) != ("Half an ans", "interrupted"):
                await asyncio.sleep(0.01)

    async def test_a_closed_generator_leaves_the_text_so_far(self, store: AsyncMongoStore) -> None:
        async def body() -> AsyncIterator[str]:
            async with store.sessions.messages.stream("s", create=True, id="a", flush_every=5) as out:
                while True:
                    await out.write("token ")
                    yield "token "

        async with aclosing(body()) as tokens:  # type: ignore[type-var]
            for _ in range(3):
                await anext(tokens)
        assert await read(store) == ("token token token ", "interrupted")

    async def test_a_store_that_closes_ends_its_streams(self, store_uri: str, database: str) -> None:
        async with AsyncMongoStore(store_uri, database) as reader:
            if not reader.engine.is_shared:
                pytest.skip("the embedded engine's data ends with its store")

            async def answer(store: AsyncMongoStore) -> None:
                async with store.sessions.messages.stream("s", create=True, id="a", flush_every=5) as out:
                    await out.write("Half an ans")
                    await store.close()
                    with pytest.raises(NotOpenError):
                        await out.write("wer")

            async with AsyncMongoStore(store_uri, database) as store:
                with pytest.raises(NotOpenError, match="closed before the message was complete"):
                    await answer(store)
            assert await read(reader) == ("Half an ans", "interrupted")

    async def test_a_silent_writer_is_there_until_it_is_gone(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mongostore.documents.session_streams.WRITER_SECONDS", 1.0)
        monkeypatch.setattr("mongostore.repositories.sessions.message_stream.RENEWAL_SECONDS", 0.1)
        async with AsyncExitStack() as stack:
            out = await begun(stack, store)
            await out.write("Half an ans")
            await asyncio.sleep(1.5)
            assert await read(store) == ("Half an ans", "streaming")
            # From here on it is as if its process stood still.
            monkeypatch.setattr("mongostore.repositories.sessions.message_stream.RENEWAL_SECONDS", 100)
            await asyncio.sleep(1.5)
            assert await read(store) == ("Half an ans", "interrupted")
            assert (await store.sessions.messages.list("s"))[0].status == "interrupted"
            # It was only slow, and goes on.
            await out.write("wer")
            assert (await out.flush()).content == "Half an answer"
            assert await read(store) == ("Half an answer", "streaming")

    async def test_a_message_too_large_is_refused_and_keeps_what_it_has(self, store: AsyncMongoStore) -> None:
        text = "x" * (15 * KiB * KiB)

        async def answer() -> None:
            async with store.sessions.messages.stream("s", create=True, id="a") as out:
                await out.write(text)
                await out.write("y" * (1024 * KiB))

        with pytest.raises(DocumentTooLargeError):
            await answer()
        assert await read(store) == (text, "interrupted")

    async def test_members_that_do_not_fit_cost_no_text(self, store: AsyncMongoStore) -> None:
        async def fill() -> None:
            async with store.sessions.messages.stream("s", create=True, id="a", flush_every=5) as out:
                await out.write("text")
                await store.sessions.messages.update("s", "a", metadata={"k": "x" * (700 * KiB)})
                await out.update(metadata={"l": "x" * (700 * KiB)})

        with pytest.raises(DocumentTooLargeError, match="metadata"):
            await fill()
        assert await read(store) == ("text", "interrupted")


class TestOthers:
    async def test_a_message_that_is_not_complete_is_taken_over(self, store: AsyncMongoStore) -> None:
        messages = store.sessions.messages
        async with AsyncExitStack() as stack:
            first = await begun(stack, store, metadata={"by": 1})
            await first.write("x" * (40 * KiB))
            await first.flush()
            assert await overflows(store) == 1
            async with messages.stream("s", id="a", flush_every=0.01, data={"by": 2}) as second:
                assert await read(store) == ("", "streaming")
                await second.write("anew")
                await second.flush()
                with pytest.raises(ConflictError, match="another writer"):
                    await flush(first, "late")
            assert await read(store) == ("anew", "complete")
        stored = await messages.get("s", "a")
        assert (stored.metadata, stored.data, stored.position) == ({}, {"by": 2}, 0)
        assert (await read(store), await overflows(store)) == (("anew", "complete"), 0)
        with pytest.raises(ConflictError, match="is complete"):
            async with messages.stream("s", id="a"):
                pass
        await messages.update("s", "a", status="interrupted")
        assert await read(store) == ("anew", "interrupted")
        async with messages.stream("s", id="a") as third:
            await third.write("third")
        assert await read(store) == ("third", "complete")

    @pytest.mark.parametrize(
        ("members", "content"),
        [({"content": "other"}, "other"), ({"status": "complete"}, "x" * 40 * KiB)],
        ids=["content", "status"],
    )
    async def test_an_update_ends_the_stream(
        self, store: AsyncMongoStore, members: Any, content: str
    ) -> None:
        async with AsyncExitStack() as stack:
            out = await begun(stack, store)
            await out.write("x" * (40 * KiB))
            await out.flush()
            updated = await store.sessions.messages.update("s", "a", **members)
            assert (updated.content, updated.status) == (content, "complete")
            with pytest.raises(ConflictError):
                await flush(out, "late")
        assert (await read(store), await overflows(store)) == ((content, "complete"), 0)

    async def test_an_upsert_ends_the_stream(self, store: AsyncMongoStore) -> None:
        async with AsyncExitStack() as stack:
            out = await begun(stack, store)
            await out.write("text")
            await out.flush()
            await store.sessions.messages.upsert("s", Message(id="a", role="tool", content=[1]))
        assert await read(store) == ([1], "complete")

    @pytest.mark.parametrize("verb", ["delete", "pop", "truncate", "soft_delete", "delete_session"])
    async def test_a_message_that_is_deleted_stays_so(self, store: AsyncMongoStore, verb: str) -> None:
        sessions, messages = store.sessions, store.sessions.messages
        async with AsyncExitStack() as stack:
            out = await begun(stack, store)
            await out.write("x" * (40 * KiB))
            await out.flush()
            match verb:
                case "delete":
                    assert await messages.delete("s", "a")
                case "pop":
                    popped = await messages.pop("s")
                    assert popped
                    assert popped.content == "x" * (40 * KiB)
                case "truncate":
                    await messages.truncate("s")
                case "soft_delete":
                    await sessions.soft_delete("s")
                case _:
                    await sessions.delete("s")
            with pytest.raises(NotFoundError):
                await flush(out, "late")
        if verb == "soft_delete":
            await sessions.undelete("s")
            assert await read(store) == ("x" * (40 * KiB), "streaming")
        else:
            assert not await messages.exists("s", "a")
            assert await overflows(store) == 0

    async def test_an_unreadable_one_is_reported(self, store: AsyncMongoStore) -> None:
        async with AsyncExitStack() as stack:
            await begun(stack, store)
            await store.sessions.messages.append("s", Message(role="user"))
            for damage in ({"pieces": "no list"}, {"pieces": [1]}, {}):
                stream = {"writer": "w", "flushes": 0, "until": "never", "parts": [], **damage}
                await store.engine.collection("sessions").update_one(
                    {}, {"$set": {"messages.0.stream": stream}}
                )
                page = await store.sessions.messages.list("s")
                assert ([error.id for error in page.errors], len(page)) == (["a"], 1)


class TestArguments:
    @pytest.mark.parametrize(
        "arguments",
        [
            {"flush_every": -1},
            {"flush_every": True},
            {"flush_every": 6},
            {"content": ["no text"]},
            {"content": None},
            {"role": 7},
            {"id": ""},
            {"metadata": []},
            {"status": "complete"},
            {"contnet": "typo"},
            {"create": {"nmae": "typo"}},
        ],
        ids=str,
    )
    async def test_bad_ones_are_refused(self, store: AsyncMongoStore, arguments: Any) -> None:
        arguments = {"create": True, **arguments}
        if arguments.get("id") == "":
            arguments["id"] = "x" * 600
        with pytest.raises(InvalidValueError):
            async with store.sessions.messages.stream("s", **arguments):
                pass
        assert not await store.sessions.exists("s")

    async def test_a_session_has_to_be_there(self, store: AsyncMongoStore) -> None:
        with pytest.raises(NotFoundError):
            async with store.sessions.messages.stream("s"):
                pass

    async def test_half_a_surrogate_pair_is_refused(self, store: AsyncMongoStore) -> None:
        async with store.sessions.messages.stream("s", create=True, id="a") as out:
            for text in ("\ud83d", b"bytes", None):
                with pytest.raises(InvalidValueError):
                    await out.write(text)  # type: ignore[arg-type]
            await out.write("\U0001f600")
        assert await read(store) == ("\U0001f600", "complete")


@contextmanager
def blocking_store() -> Iterator[MongoStore]:
    with MongoStore(f"mongomock://{uuid4().hex}") as store:
        yield store


class TestBlocking:
    def test_it_is_complete_at_the_end_of_the_block(self) -> None:
        with blocking_store() as store:
            with store.sessions.messages.stream("s", create=True, id="a") as out:
                out.write("Hel")
                assert out.flush().content == "Hel"
                out.write("lo")
                out.update(data={"k": 1})
                assert out.text == "Hello"
            assert (out.message.content, out.message.status) == ("Hello", "complete")
            assert store.sessions.messages.get("s", "a").data == {"k": 1}

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
    def test_a_block_that_raises_leaves_the_text_so_far(self, error: type[BaseException]) -> None:
        with blocking_store() as store:

            def answer() -> None:
                with store.sessions.messages.stream("s", create=True, id="a") as out:
                    out.write("Half an ans")
                    raise error

            with pytest.raises(error):
                answer()
            message = store.sessions.messages.get("s", "a")
            assert (message.content, message.status) == ("Half an ans", "interrupted")

    def test_an_error_of_the_end_reaches_the_caller(self) -> None:
        def answer(store: MongoStore) -> None:
            with store.sessions.messages.stream("s", create=True, id="a") as out:
                out.write("text")
                store.sessions.messages.update("s", "a", content="other")

        with blocking_store() as store, pytest.raises(ConflictError):
            answer(store)


@pytest.mark.server
class TestCosts:
    async def test_each_flush_sends_what_is_new(self, server_uri: str, database: str) -> None:
        """One token more costs the same, however much there is before it."""
        wire, tokens = CommandLog(), [f"token{number % 10} " for number in range(TOKENS)]
        size = sum(map(len, tokens))
        async with logged_store(server_uri, database, wire) as store:
            await store.sessions.create("s")
            wire.sent.clear()
            async with store.sessions.messages.stream("s", id="a", flush_every=5) as out:
                for token in tokens:
                    await out.write(token)
                    await out.flush()
                begin, *flushes = wire.sent
                wire.sent.clear()
            end = [*wire.sent]
            assert await read(store) == ("".join(tokens), "complete")
        assert (begin.name, [sent.name for sent in end]) == ("findAndModify", ["findAndModify"])
        assert len(flushes) == TOKENS
        assert {sent.name for sent in flushes} == {"update"}
        # Statement, session and so on take so much, whatever is said.
        envelope = max(sent.bytes for sent in flushes)
        assert envelope < 1500
        assert end[0].bytes < size + 1500

    async def test_batches_send_the_text_thrice_at_most(self, server_uri: str, database: str) -> None:
        wire, text = CommandLog(), "x" * (20 * KiB)
        async with logged_store(server_uri, database, wire) as store:
            await store.sessions.create("s")
            wire.sent.clear()
            async with store.sessions.messages.stream("s", id="a", flush_every=5) as out:
                for _ in range(50):
                    await out.write(text)
                    await out.flush()
            sent = sum(each.bytes for each in wire.sent)
            assert (await store.sessions.messages.get("s", "a")).content == text * 50
        assert sent < 3.2 * 50 * len(text)
