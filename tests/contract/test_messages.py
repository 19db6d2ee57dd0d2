"""What messages promise, on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import bson
import pytest

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    ConflictError,
    DocumentTooLargeError,
    InvalidDocumentError,
    InvalidValueError,
    Message,
    NotFoundError,
)
from mongostore.repositories.sessions import TailLimits
from tests.contract.fixtures import counted

BIG = "x" * 2_000_000


async def fill(sessions: Any, count: int, *, start: int = 0, conversation_id: str = "default") -> None:
    for first in range(start, start + count, 50):
        await sessions.messages.append_many(
            "s",
            [
                Message(id=f"m{n}", role="user", content=n, conversation_id=conversation_id)
                for n in range(first, min(first + 50, start + count))
            ],
        )


def contents(messages: Sequence[Message]) -> list[Any]:
    return [message.content for message in messages]


async def all_of(sessions: Any, **where: object) -> list[Message]:
    return [message async for message in sessions.messages.iter("s", **where)]


class TestMessages:
    @pytest.fixture
    async def sessions(self, store: AsyncMongoStore) -> Any:
        await store.sessions.create("s")
        return store.sessions

    @pytest.mark.smoke
    async def test_append_returns_what_get_returns(self, sessions: Any) -> None:
        message = Message(
            conversation_id="c",
            role="tool",
            content=[{"type": "text"}],
            data={"name": "f"},
            metadata={"k": None},
        )
        stored = await sessions.messages.append("s", message)
        read = await sessions.messages.get("s", message.id)
        assert read == stored
        assert stored == message.model_copy(
            update={"created_at": stored.created_at, "updated_at": stored.created_at, "position": 0}
        )
        assert message.created_at is None

    async def test_given_times_are_kept_to_the_microsecond(self, sessions: Any) -> None:
        moment = datetime(2020, 2, 29, 12, 0, 0, 123457, tzinfo=timezone(timedelta(hours=5)))
        await sessions.messages.append("s", Message(id="m", role="user", created_at=moment))
        read = await sessions.messages.get("s", "m")
        assert (read.created_at, read.updated_at) == (moment, moment)
        assert read.created_at.tzinfo is UTC

    @pytest.mark.parametrize("before", [0, 200])
    @pytest.mark.smoke
    async def test_an_append_repeated_stores_once(self, sessions: Any, before: int) -> None:
        await fill(sessions, before)
        message = Message(role="user", content="once")
        for _ in range(3):
            await sessions.messages.append("s", message)
        await sessions.messages.append("s", Message(id=message.id, role="user", content="once"))
        assert await sessions.messages.count("s") == before + 1

    @pytest.mark.parametrize("after", [0, 300])
    async def test_an_id_with_other_content_conflicts_and_changes_nothing(
        self, sessions: Any, after: int
    ) -> None:
        await sessions.messages.append("s", Message(id="m", role="user", content="first"))
        await fill(sessions, after, start=1000)
        for other in (
            Message(id="m", role="user", content="second"),
            Message(id="m", role="assistant", content="first"),
            Message(id="m", role="user", content="first", metadata={"k": 1}),
            Message(id="m", role="user", content=BIG),
        ):
            with pytest.raises(ConflictError):
                await sessions.messages.append("s", other)
            with pytest.raises(ConflictError):
                await sessions.messages.append_many("s", [Message(id="new", role="user"), other])
        assert contents((await sessions.messages.list("s", limit=1)).items) == ["first"]
        assert await sessions.messages.count("s") == after + 1

    async def test_a_batch_is_seen_whole_or_not_at_all(self, sessions: Any) -> None:
        async def watch_counts() -> set[int]:
            seen = set()
            for _ in range(200):
                seen.add(len((await sessions.messages.list("s", limit=1000)).items))
                await asyncio.sleep(0)
            return seen

        watching = asyncio.create_task(watch_counts())
        for n in range(4):
            await sessions.messages.append_many(
                "s", [Message(role="user", content=[n, i]) for i in range(100)]
            )
        assert await watching <= {0, 100, 200, 300, 400}
        assert contents(await all_of(sessions)) == [[n, i] for n in range(4) for i in range(100)]

    async def test_a_batch_of_a_thousand_fits_and_more_is_refused(self, sessions: Any) -> None:
        await sessions.messages.append_many("s", [Message(role="user", content=n) for n in range(1000)])
        assert contents(await all_of(sessions)) == list(range(1000))
        with pytest.raises(InvalidValueError):
            await sessions.messages.append_many("s", [Message(role="user") for _ in range(1001)])
        # Together more than a document holds.
        large = [Message(role="user", content=f"{n}" + "x" * 900_000) for n in range(20)]
        await sessions.messages.append_many("s", large)
        assert contents(await all_of(sessions))[1000:] == [message.content for message in large]
        with pytest.raises(InvalidValueError):
            await sessions.messages.append_many(
                "s", [Message(id="a", role="user"), Message(id="a", role="user")]
            )
        assert await sessions.messages.append_many("s", []) == []
        assert await sessions.messages.count("s") == 1020

    async def test_part_of_a_batch_that_is_there_is_left(self, sessions: Any) -> None:
        await sessions.messages.append("s", Message(id="a", role="user", content=1))
        await sessions.messages.append_many(
            "s", [Message(id="a", role="user", content=1), Message(id="b", role="user", content=2)]
        )
        assert contents(await all_of(sessions)) == [1, 2]

    @pytest.mark.parametrize("count", [0, 1, 64, 127, 128, 129, 300])
    @pytest.mark.smoke
    async def test_pages_forwards_and_backwards_meet_every_message_once(
        self, sessions: Any, count: int
    ) -> None:
        await fill(sessions, count)
        forwards, cursor = [], None
        while True:
            page = await sessions.messages.list("s", limit=37, cursor=cursor)
            forwards += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        backwards: list[Message] = []
        page = await sessions.messages.list("s", limit=37, newest=True)
        while True:
            backwards = page.items + backwards
            if page.next_cursor is None:
                break
            page = await sessions.messages.list("s", limit=37, newest=True, cursor=page.next_cursor)
        assert contents(forwards) == contents(backwards) == list(range(count))
        assert [message.position for message in forwards] == list(range(count))
        assert forwards == backwards == await all_of(sessions)

    async def test_pages_around_a_position(self, sessions: Any) -> None:
        await fill(sessions, 300)
        for position in (0, 1, 63, 64, 65, 150, 255, 256, 299, 300, 10_000):
            after = await sessions.messages.list("s", limit=10, after=position)
            before = await sessions.messages.list("s", limit=10, newest=True, before=position)
            assert contents(after.items) == list(range(300))[position + 1 : position + 11]
            assert contents(before.items) == list(range(300))[:position][-10:]
            middle = await sessions.messages.list("s", limit=9, around=position)
            assert (
                contents(middle.items)
                == list(range(300))[:position][-4:] + list(range(300))[position:][: 9 - min(position, 4)]
            )

    async def test_a_page_around_a_position_goes_on_behind_it(self, sessions: Any) -> None:
        await sessions.messages.append_many(
            "s",
            [Message(id=f"m{n}", role="user", content=n, conversation_id=f"c{n % 3}") for n in range(300)],
        )
        await sessions.messages.delete_many("s", ["m120", "m130"])
        expected = [n for n in range(300) if n not in (120, 130)]
        for where, wanted in (
            ({}, expected),
            ({"conversation_id": "c0"}, [n for n in expected if n % 3 == 0]),
        ):
            page = await sessions.messages.list("s", around=130, limit=20, **where)
            start = len([n for n in wanted if n < 130]) - 10
            assert contents(page.items) == wanted[start : start + 20]
            page = await sessions.messages.list("s", limit=5, cursor=page.next_cursor, **where)
            assert contents(page.items) == wanted[start + 20 : start + 25]
        for bound in ({"newest": True}, {"before": 9}, {"after": 9}, {"cursor": "9"}):
            with pytest.raises(InvalidValueError, match="around"):
                await sessions.messages.list("s", around=9, **bound)

    @pytest.mark.parametrize("newest", [False, True])
    @pytest.mark.parametrize("after", [None, 0, 63, 100, 250, 298])
    async def test_pages_between_two_positions_meet_every_message_once(
        self, sessions: Any, after: int | None, newest: bool
    ) -> None:
        await fill(sessions, 300)
        await sessions.messages.delete_many("s", ["m130", "m290"])
        for before in (None, 0, 64, 129, 260, 299, 10_000):
            first, end = -1 if after is None else after, 10_000 if before is None else before
            found: list[Message] = []
            cursor = None
            for _ in range(99):
                page = await sessions.messages.list(
                    "s", limit=37, newest=newest, cursor=cursor, after=after, before=before
                )
                found = page.items + found if newest else found + page.items
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert contents(found) == [n for n in range(300) if first < n < end and n not in (130, 290)]

    async def test_messages_are_iterated_over_from_the_newest_back(self, sessions: Any) -> None:
        await sessions.messages.append_many(
            "s", [Message(role="user", content=n, conversation_id=f"c{n % 3}") for n in range(1000)]
        )
        await fill(sessions, 300, start=1000)
        assert contents(await all_of(sessions, newest=True)) == [*range(1299, -1, -1)]
        assert contents(await all_of(sessions, newest=True, conversation_id="c1")) == [*range(997, 0, -3)]
        assert [await sessions.messages.count("s", conversation_id=one) for one in ("c1", "no")] == [333, 0]
        assert await sessions.messages.count("s", conversation_id="c1", limit=7) == 7
        messages = sessions.messages.iter("s", newest=True)
        assert (await anext(messages)).content == 1299
        await sessions.messages.append("s", Message(role="user", content="late"))
        assert len([message async for message in messages]) == 1299
        messages = sessions.messages.iter("s", newest=True)
        await anext(messages)
        await sessions.messages.truncate("s")
        await fill(sessions, 300)
        with pytest.raises(ConflictError):
            assert [message async for message in messages]

    async def test_a_message_gives_the_cursor_of_the_page_behind_it(self, sessions: Any) -> None:
        await fill(sessions, 200)
        for bounds in (0, 70, 199):
            message = await sessions.messages.get("s", f"m{bounds}")
            cursor = sessions.messages.cursor_of(message)
            page = await sessions.messages.list("s", cursor=cursor, limit=30)
            assert contents(page) == [*range(bounds + 1, min(bounds + 31, 200))]
            page = await sessions.messages.list("s", cursor=cursor, limit=30, newest=True)
            assert contents(page) == [*range(max(bounds - 30, 0), bounds)]
        for wrong in (Message(role="user"), "m1", None):
            with pytest.raises(InvalidValueError):
                sessions.messages.cursor_of(wrong)

    async def test_conversations_are_read_apart_and_summed_up(self, sessions: Any) -> None:
        for n in range(300):
            await sessions.messages.append(
                "s", Message(id=f"m{n}", role="user", content=n, conversation_id=f"c{n % 3}")
            )
        ones = list(range(1, 300, 3))
        assert contents(await all_of(sessions, conversation_id="c1")) == ones
        page = await sessions.messages.list("s", limit=40, conversation_id="c1")
        assert contents(page.items) == ones[:40]
        page = await sessions.messages.list("s", limit=40, conversation_id="c1", cursor=page.next_cursor)
        assert contents(page.items) == ones[40:80]
        page = await sessions.messages.list("s", limit=70, conversation_id="c1", newest=True)
        assert contents(page.items) == ones[-70:]
        page = await sessions.messages.list(
            "s", limit=70, conversation_id="c1", newest=True, cursor=page.next_cursor
        )
        assert (contents(page.items), page.next_cursor) == (ones[:-70], None)
        assert (await sessions.messages.list("s", conversation_id="none")).items == []
        conversations = await sessions.conversations.list("s")
        assert [(one.id, one.count, one.first_position, one.last_position) for one in conversations] == [
            ("c0", 100, 0, 297),
            ("c1", 100, 1, 298),
            ("c2", 100, 2, 299),
        ]

    @pytest.mark.parametrize("message_id", ["m299", "m280", "m3"])
    async def test_update_changes_the_given_members_where_the_message_stands(
        self, sessions: Any, message_id: str
    ) -> None:
        await fill(sessions, 300)
        before = await sessions.messages.get("s", message_id)
        await sessions.messages.update("s", message_id, content="new", metadata={"a.b": 1, "gone": 2})
        await sessions.messages.update("s", message_id, metadata={"gone": None, "c": {"d": 1}})
        after = await sessions.messages.get("s", message_id)
        assert after == before.model_copy(
            update={"content": "new", "metadata": {"a.b": 1, "c": {"d": 1}}, "updated_at": after.updated_at}
        )
        assert after.updated_at > before.updated_at
        last = (await sessions.get("s")).last
        assert (last.id, last.text) == ("m299", "new" if message_id == "m299" else "")
        await sessions.messages.update("s", message_id, role="tool", data={"x": [1]}, conversation_id="c")
        after = await sessions.messages.get("s", message_id)
        assert (after.role, after.data, after.conversation_id, after.content) == (
            "tool",
            {"x": [1]},
            "c",
            "new",
        )

    @pytest.mark.parametrize("message_id", ["m299", "m3", "large"])
    async def test_update_with_unset_takes_none_for_a_value(self, sessions: Any, message_id: str) -> None:
        odd = {"a.b": 1, "$c": 1, "": 1, "nul\0": 1, "\ud800": 1}
        await fill(sessions, 300)
        if message_id == "large":
            await sessions.messages.append("s", Message(id="large", role="user", content="x" * 100_000))
        await sessions.messages.update("s", message_id, metadata={"keep": 1, "drop": 1, "both": 1, **odd})
        unset = [f"metadata.{key}" for key in ("drop", "both", "unknown", *odd)]
        after = await sessions.messages.update(
            "s", message_id, metadata={"none": None, "both": 2}, unset=unset
        )
        assert after.metadata == {"keep": 1, "none": None, "both": 2}
        after = await sessions.messages.update("s", message_id, metadata={"more": None}, unset=[])
        assert after.metadata == {"keep": 1, "none": None, "both": 2, "more": None}
        assert await sessions.messages.get("s", message_id) == after
        for bad in ("metadata.k", ["k"], ["data.k"], ["metadata"], [None]):
            with pytest.raises(InvalidValueError, match="unset"):
                await sessions.messages.update("s", message_id, unset=bad)

    async def test_update_of_an_unknown_message(self, sessions: Any) -> None:
        await fill(sessions, 300)
        for call in (sessions.messages.update("s", "x", content=1), sessions.messages.get("s", "x")):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id) == ("message", "x")
        with pytest.raises(InvalidValueError):
            await sessions.messages.update("s", "m1", position=3)

    @pytest.mark.parametrize("message_id", ["m299", "m280", "m3"])
    @pytest.mark.smoke
    async def test_upsert_replaces_whole_in_place_and_keeps_the_creation(
        self, sessions: Any, message_id: str
    ) -> None:
        await fill(sessions, 300)
        await sessions.messages.update("s", message_id, metadata={"k": 1}, data={"d": 1})
        before = await sessions.messages.get("s", message_id)
        stored = await sessions.messages.upsert("s", Message(id=message_id, role="tool", content="new"))
        after = await sessions.messages.get("s", message_id)
        assert stored == after
        assert stored.created_at != stored.updated_at
        assert (after.role, after.content, after.data, after.metadata) == ("tool", "new", {}, {})
        assert (after.created_at, after.position) == (before.created_at, before.position)
        stored = await sessions.messages.upsert("s", Message(id="other", role="user", content="added"))
        assert (stored.position, stored.created_at) == (300, stored.updated_at)
        assert contents((await sessions.messages.list("s", newest=True, limit=1)).items) == ["added"]

    @pytest.mark.parametrize("message_id", ["m299", "m280", "m3"])
    async def test_replace_is_an_upsert_of_what_is_there(self, sessions: Any, message_id: str) -> None:
        await fill(sessions, 300)
        before = await sessions.messages.get("s", message_id)
        stored = await sessions.messages.replace("s", Message(id=message_id, role="tool", data={"d": 1}))
        assert stored == await sessions.messages.get("s", message_id)
        assert (stored.role, stored.content, stored.data) == ("tool", None, {"d": 1})
        assert (stored.created_at, stored.position) == (before.created_at, before.position)
        with pytest.raises(NotFoundError):
            await sessions.messages.replace("s", Message(id="x", role="user"))
        assert await sessions.messages.count("s") == 300

    async def test_an_append_begins_its_session_while_others_delete_and_create_it(
        self, store: AsyncMongoStore
    ) -> None:
        async def append(writer: int) -> None:
            for number in range(20):
                message = Message(id=f"{writer}-{number}", role="user")
                await store.sessions.messages.append("s", message, create=True)

        async def make_anew() -> None:
            for _ in range(40):
                await store.sessions.delete("s")
                with suppress(AlreadyExistsError):
                    await store.sessions.create("s")

        await asyncio.gather(append(1), append(2), append(3), make_anew(), make_anew())

    async def test_upsert_begins_a_session_that_is_not_there(self, sessions: Any) -> None:
        message = Message(id="m", role="user", content="hi")
        with pytest.raises(NotFoundError):
            await sessions.messages.upsert("new", message)
        stored = await sessions.messages.upsert("new", message, create={"name": "n"})
        assert (stored.position, stored.content) == (0, "hi")
        assert ((await sessions.get("new")).name, (await sessions.get("new")).count) == ("n", 1)
        replaced = await sessions.messages.upsert("new", message, create={"name": "other"})
        assert (replaced.position, (await sessions.get("new")).name) == (0, "n")
        await asyncio.gather(
            *(
                sessions.messages.upsert("many", Message(id=str(n), role="user"), create=True)
                for n in range(10)
            )
        )
        assert (await sessions.get("many")).count == 10
        await sessions.soft_delete("new")
        with pytest.raises(NotFoundError):
            await sessions.messages.upsert("new", message, create=True)

    async def test_parallel_upserts_of_one_new_id_store_once(self, sessions: Any) -> None:
        news = await asyncio.gather(
            *(sessions.messages.upsert("s", Message(id="m", role="user", content=n)) for n in range(10))
        )
        assert sum(one.created_at == one.updated_at for one in news) == 1
        assert {one.position for one in news} == {0}
        assert await sessions.messages.count("s") == 1

    async def test_deleted_messages_leave_the_others_in_their_places(self, sessions: Any) -> None:
        await fill(sessions, 300)
        assert await sessions.messages.delete("s", "m299")
        assert not await sessions.messages.delete("s", "m299")
        assert await sessions.messages.delete_many("s", ["m0", "m5", "m64", "m270", "unknown"]) == 4
        left = [n for n in range(299) if n not in (0, 5, 64, 270)]
        messages = await all_of(sessions)
        assert contents(messages) == left
        assert [message.position for message in messages] == left
        assert await sessions.messages.count("s") == len(left)
        assert (await sessions.get("s")).last.id == "m298"
        assert contents((await sessions.messages.list("s", newest=True, limit=40)).items) == left[-40:]
        assert contents((await sessions.messages.list("s", limit=10)).items) == left[:10]
        assert contents((await sessions.messages.list("s", limit=10, newest=True, before=70)).items) == [
            n for n in range(59, 70) if n != 64
        ]
        with pytest.raises(NotFoundError):
            await sessions.messages.get("s", "m5")
        with pytest.raises(NotFoundError):
            await sessions.messages.update("s", "m5", content=1)

    async def test_a_deleted_id_may_be_appended_anew_at_the_end(self, sessions: Any) -> None:
        await fill(sessions, 300)
        await sessions.messages.delete_many("s", ["m5", "m299"])
        await sessions.messages.append("s", Message(id="m5", role="user", content="again"))
        assert (await sessions.messages.get("s", "m5")).position == 300

    async def test_deleting_everything_by_name_leaves_an_empty_session(self, sessions: Any) -> None:
        await fill(sessions, 300)
        assert await sessions.messages.delete_many("s", [f"m{n}" for n in range(300)]) == 300
        session = await sessions.get("s")
        assert (session.count, session.last) == (0, None)
        assert (await sessions.messages.list("s")).items == []
        assert (await sessions.messages.list("s", newest=True)).items == []
        await sessions.messages.append("s", Message(role="user", content="next"))
        assert [message.position for message in await all_of(sessions)] == [300]

    async def test_deleting_all_begins_anew(self, sessions: Any) -> None:
        await fill(sessions, 300)
        for _ in range(2):
            truncated = await sessions.messages.truncate("s")
            assert (truncated.count, truncated.last) == (0, None)
            assert truncated == await sessions.get("s")
        await fill(sessions, 3)
        assert [message.position for message in await all_of(sessions)] == [0, 1, 2]

    @pytest.mark.parametrize("message_id", ["m299", "m280", "m3"])
    @pytest.mark.smoke
    async def test_a_message_grows_and_shrinks_through_every_size(
        self, store: AsyncMongoStore, sessions: Any, message_id: str
    ) -> None:
        await fill(sessions, 300)
        for content in (BIG, "small", BIG, "x" * 900_000, BIG, "y" * 3_000_000, "end"):
            await sessions.messages.update("s", message_id, content=content)
            updated = await sessions.messages.update("s", message_id, metadata={"size": len(content)})
            read = await sessions.messages.get("s", message_id)
            assert updated == read
            assert (read.content == content, read.metadata) == (True, {"size": len(content)})
        await sessions.messages.update("s", message_id, data={"big": BIG})
        read = await sessions.messages.get("s", message_id)
        assert (read.content, read.data == {"big": BIG}) == ("end", True)
        assert len(await all_of(sessions)) == 300
        assert await counted(store, "session_overflows") == 1
        assert await sessions.messages.delete("s", message_id)
        assert await counted(store, "session_overflows") == 0

    async def test_many_large_messages_in_one_segment_are_all_kept(self, sessions: Any) -> None:
        await fill(sessions, 300)
        for n in range(24):
            await sessions.messages.update("s", f"m{n}", content=f"{n}" + "x" * 900_000)
        assert [str(content)[:3] for content in contents(await all_of(sessions))[:24]] == [
            (f"{n}" + "xxx")[:3] for n in range(24)
        ]

    async def test_streaming_into_a_message_does_not_move_it(self, sessions: Any) -> None:
        await fill(sessions, 3)
        text = ""
        for _ in range(300):
            text += "0123456789" * 20
            await sessions.messages.update("s", "m2", content=text)
        read = await sessions.messages.get("s", "m2")
        assert (read.content == text, read.position) == (True, 2)
        assert (await sessions.get("s")).last.text == text[:200]

    async def test_a_message_of_17_mib_is_refused(self, sessions: Any) -> None:
        with pytest.raises(DocumentTooLargeError) as caught:
            await sessions.messages.append("s", Message(id="huge", role="user", content="x" * (17 << 20)))
        assert "huge" in str(caught.value)
        assert caught.value.size > 17 << 20
        await sessions.messages.append("s", Message(id="m", role="user", content="kept"))
        with pytest.raises(DocumentTooLargeError):
            await sessions.messages.update("s", "m", content="x" * (17 << 20))
        with pytest.raises(DocumentTooLargeError):
            await sessions.messages.upsert("s", Message(id="m", role="user", metadata={"k": "x" * (2 << 20)}))
        assert contents(await all_of(sessions)) == ["kept"]

    async def test_sixteen_tasks_append_without_loss(self, sessions: Any) -> None:
        async def write(writer: int) -> None:
            for n in range(40):
                await sessions.messages.append(
                    "s", Message(id=f"{writer}-{n}", role="user", content=[writer, n])
                )

        await asyncio.gather(*map(write, range(16)))
        seen: dict[int, list[int]] = {}
        for writer, n in contents(await all_of(sessions)):
            seen.setdefault(writer, []).append(n)
        assert seen == {writer: list(range(40)) for writer in range(16)}

    async def test_a_tail_of_large_messages_stays_small(self, store: AsyncMongoStore, sessions: Any) -> None:
        for n in range(30):
            await sessions.messages.append(
                "s", Message(id=f"m{n}", role="user", content=f"{n:04}" + "x" * 200_000)
            )
            document = await store.engine.database["sessions"].find_one({})
            assert len(bson.encode(document)) < 700_000
        assert [content[:4] for content in contents(await all_of(sessions))] == [f"{n:04}" for n in range(30)]

    # Far fewer than there are: five suffice where nobody takes the room that another has made.
    @pytest.mark.parametrize("tail_limits", [TailLimits(attempts=12)], ids=["few-attempts"])
    async def test_large_messages_of_many_callers_all_come_in(self, sessions: Any) -> None:
        callers = asyncio.Semaphore(16)

        async def append(n: int) -> None:
            # One alone fills a tail, so that each caller has to make room first.
            async with callers:
                message = Message(role="user", content=n, data={"k": "x" * 300_000})
                await sessions.messages.append("s", message)

        await asyncio.gather(*map(append, range(80)))
        assert sorted(contents(await all_of(sessions))) == [*range(80)]

    async def test_an_unreadable_message_does_not_hide_the_others(
        self, store: AsyncMongoStore, sessions: Any
    ) -> None:
        await fill(sessions, 5)
        await store.engine.database["sessions"].update_one(
            {}, {"$set": {"messages.2": {"id": "m2", "role": 5}, "messages.3.content": {"__json__": "{"}}}
        )
        page = await sessions.messages.list("s")
        assert contents(page.items) == [0, 1, 4]
        assert [error.id for error in page.errors] == ["m2", "m3"]
        with pytest.raises(InvalidDocumentError):
            await sessions.messages.get("s", "m2")
