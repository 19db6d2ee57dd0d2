"""The live tail of a session, on every engine."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from mongostore import AsyncMongoStore, InvalidValueError, Message, MessageChange, NotFoundError


async def take(changes: AsyncIterator[MessageChange], count: int) -> list[MessageChange]:
    async with asyncio.timeout(20):
        return [await anext(changes) for _ in range(count)]


def summaries(changes: list[MessageChange]) -> list[tuple[str, int | None, object]]:
    return [(change.kind, change.position, change.message and change.message.content) for change in changes]


Begin = Callable[[AsyncIterator[MessageChange]], Awaitable[asyncio.Task[MessageChange]]]


@pytest.fixture
def begin(until_followed: Callable[[], Awaitable[None]]) -> Begin:
    """Begins to read a watch, and returns when it sees what is written."""

    async def begin(changes: AsyncIterator[MessageChange]) -> asyncio.Task[MessageChange]:
        first = asyncio.ensure_future(anext(changes))
        await until_followed()
        return first

    return begin


class TestWatch:
    @pytest.mark.smoke
    async def test_every_kind_of_change_is_told_in_order(
        self, store: AsyncMongoStore, until_followed: Callable[[], Awaitable[None]]
    ) -> None:
        sessions = store.sessions
        await sessions.create("s")
        await sessions.messages.append_many(
            "s", [Message(id=f"m{n}", role="user", content=n) for n in range(200)]
        )
        seen: list[MessageChange] = []

        async def follow() -> None:
            async for change in sessions.messages.watch("s"):
                seen.append(change)  # noqa: PERF401  # each one is looked at as it comes

        following = asyncio.create_task(follow())
        await until_followed()
        for received_now, action in enumerate(
            (
                sessions.messages.append("s", Message(id="a", role="user", content="a")),
                sessions.messages.update("s", "a", content="b", metadata={"k": 1}),
                sessions.messages.update("s", "m3", content="sealed"),
                sessions.messages.delete_many("s", ["a"]),
                sessions.messages.delete_many("s", ["m4"]),
                sessions.messages.append_many("s", [Message(role="user", content=f"b{n}") for n in range(2)]),
                sessions.update("s", name="of no matter to messages"),
                sessions.truncate("s"),
                sessions.messages.append("s", Message(role="user", content="anew")),
                sessions.soft_delete("s"),
            ),
            1,
        ):
            await action
            async with asyncio.timeout(20):
                while len(seen) < received_now:
                    await asyncio.sleep(0.01)
        await asyncio.wait_for(following, 20)
        assert summaries(seen) == [
            ("append", 200, "a"),
            ("update", 200, "b"),
            ("update", 3, "sealed"),
            ("delete", 200, None),
            ("delete", 4, None),
            ("append", 201, "b0"),
            ("append", 202, "b1"),
            ("truncate", None, None),
            ("append", 0, "anew"),
            ("close", None, None),
        ]

    async def test_rolls_are_not_seen(self, store: AsyncMongoStore, begin: Begin) -> None:
        sessions = store.sessions
        await sessions.create("s")
        async with aclosing(sessions.messages.watch("s")) as changes:
            first = await begin(changes)
            for n in range(300):
                await sessions.messages.append("s", Message(role="user", content=n))
            changes_received = summaries([await first, *await take(changes, 299)])
        assert changes_received == [("append", n, n) for n in range(300)]

    async def test_a_token_goes_on_where_it_was_left(self, store: AsyncMongoStore, begin: Begin) -> None:
        sessions = store.sessions
        await sessions.create("s")
        async with aclosing(sessions.messages.watch("s")) as changes:
            first = await begin(changes)
            await sessions.messages.append_many("s", [Message(role="user", content=n) for n in range(5)])
            seen = [await first, *await take(changes, 1)]
        for n in range(5, 205):
            await sessions.messages.append("s", Message(role="user", content=n))
        async with aclosing(sessions.messages.watch("s", after=seen[-1].token)) as changes:
            seen += await take(changes, 100)
        async with aclosing(sessions.messages.watch("s", after=seen[-1].token)) as changes:
            seen += await take(changes, 103)
        assert summaries(seen) == [("append", n, n) for n in range(205)]

    async def test_who_left_amid_the_newest_messages_goes_on_with_the_others(
        self, store: AsyncMongoStore
    ) -> None:
        messages = store.sessions.messages
        many = [Message(id=f"m{n}", role="user", content=n) for n in range(9)]
        await messages.append_many("s", many, create=True)
        async with aclosing(messages.watch("s", last=6)) as changes:
            newest = await take(changes, 6)
        assert summaries(newest) == [("append", n, n) for n in range(3, 9)]
        await messages.append("s", Message(role="user", content=9))
        await messages.delete("s", "m5")
        for number, change in enumerate(newest, 4):
            left = [("append", n, n) for n in range(number, 9) if n != 5]
            async with aclosing(messages.watch("s", after=change.token)) as changes:
                seen = await take(changes, len(left) + 2)
                if left:
                    # So it is behind the first of these, too.
                    token = seen[0].token
            expected = [*left, ("append", 9, 9), ("delete", 5, None)]
            assert summaries(seen) == expected
            async with aclosing(messages.watch("s", after=token)) as changes:
                again = await take(changes, len(expected) - 1 if left else 2)
            assert summaries(again) == (expected[1:] if left else [("append", 9, 9), ("delete", 5, None)])

    async def test_other_sessions_are_not_told(self, store: AsyncMongoStore, begin: Begin) -> None:
        sessions = store.sessions
        for name in ("s", "s/1", "t"):
            await sessions.create(name)
        async with aclosing(sessions.messages.watch("s")) as changes:
            first = await begin(changes)
            for name in ("s/1", "t", "s"):
                await sessions.messages.append(name, Message(role="user", content=name))
                await sessions.messages.append_many(
                    name, [Message(role="user", content=name) for _ in range(200)]
                )
            await sessions.messages.update(
                "s", (await sessions.messages.list("s", limit=1)).items[0].id, content="s"
            )
            seen = [await first, *await take(changes, 200)]
        assert {change.message.content for change in seen if change.message} == {"s"}

    async def test_purging_ends_the_tail(self, store: AsyncMongoStore, begin: Begin) -> None:
        await store.sessions.create("s")
        async with aclosing(store.sessions.messages.watch("s")) as changes:
            first = await begin(changes)
            await store.sessions.delete("s")
            assert summaries([await first]) == [("close", None, None)]

    async def test_large_messages_are_told_whole(self, store: AsyncMongoStore, begin: Begin) -> None:
        await store.sessions.create("s")
        async with aclosing(store.sessions.messages.watch("s")) as changes:
            first = await begin(changes)
            await store.sessions.messages.append("s", Message(role="user", content="x" * 2_000_000))
            change = await first
        assert change.message is not None
        assert change.message.content == "x" * 2_000_000

    async def test_a_token_is_refused_if_it_was_changed_or_is_another_session_s(
        self, store: AsyncMongoStore, begin: Begin
    ) -> None:
        for name in ("s", "other"):
            await store.sessions.create(name)
        await store.sessions.messages.append("s", Message(role="user"))
        async with aclosing(store.sessions.messages.watch("s")) as changes:
            first = await begin(changes)
            await store.sessions.messages.append("s", Message(role="user"))
            token = (await first).token
        *fields, checksum = json.loads(base64.urlsafe_b64decode(token))
        data, base, end, yielded, left = fields
        forged = [
            [data, -(10**30), end, 0, left],
            [data, 10**30, end, 0, left],
            [data, base, end + 1, 0, left],
            [data, base, end, -1, left],
            [data, base, end, yielded, end + 1],
            [data, base, end, yielded, True],
            [data, True, end, yielded, left],
            [{"_data": data["_data"] + "00"}, base, end, yielded, left],
        ]
        texts = [base64.urlsafe_b64encode(json.dumps([*one, checksum]).encode()).decode() for one in forged]
        for session_id, text in [*(("s", text) for text in texts), ("other", token)]:
            with pytest.raises(InvalidValueError, match="after"):
                await anext(store.sessions.messages.watch(session_id, after=text))

    async def test_bad_tokens_and_sessions_are_refused(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s")
        for token in (
            base64.urlsafe_b64encode(b"[" * 100_000).decode(),
            "",
            "x",
            "e30=",
            "W10=",
            5,
            {"_data": "82"},
        ):
            with pytest.raises(InvalidValueError):
                await anext(store.sessions.messages.watch("s", after=token))
        with pytest.raises(NotFoundError):
            await anext(store.sessions.messages.watch("unknown"))
