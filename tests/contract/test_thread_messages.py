"""What the messages of threads promise, on every engine."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mongostore import (
    AsyncMongoStore,
    ConflictError,
    DocumentTooLargeError,
    Element,
    Feedback,
    InvalidDocumentError,
    InvalidValueError,
    NotFoundError,
    ThreadMessage,
)
from tests.contract.edge_cases import CURSORS, NASTY, NO_IDS, refused, same
from tests.contract.threads import MERGED, at, user_id

MB = 1_000_000


async def ids(store: AsyncMongoStore, thread_id: str = "t") -> list[str]:
    return [message.id async for message in store.threads.messages.iter(thread_id)]


async def pinned(store: AsyncMongoStore, user: str) -> list[str]:
    """Return the pinned messages, page by page, and check that they are the same from the other end."""
    found: dict[bool, list[str]] = {True: [], False: []}
    for newest, ids in found.items():
        cursor = None
        while True:
            page = await store.threads.messages.list_pinned(user, newest=newest, limit=2, cursor=cursor)
            ids += [message.id for message in page]
            if (cursor := page.next_cursor) is None:
                break
    assert found[False] == found[True][::-1]
    return found[True]


BEGIN: dict[str, Any] = {"only_missing": True, "content": "", "data": {"input": "in", "end": None}}

DATED: dict[str, Any] = {**BEGIN, "parent_id": "p", "created_at": at(1)}

UPDATE: dict[str, Any] = {"content": "out", "data": {"end": "later", "x": [1]}}


class TestThreadMessages:
    @pytest.mark.smoke
    async def test_merge_makes_a_message_and_its_thread(self, store: AsyncMongoStore) -> None:
        await store.threads.messages.merge(
            "t",
            "m",
            only_missing=True,
            parent_id="p",
            content="hi",
            data={"k": 1},
            pinned=True,
            created_at=at(1),
        )
        expected = ThreadMessage(
            id="m", thread_id="t", parent_id="p", content="hi", data={"k": 1}, pinned=True, created_at=at(1)
        )
        assert (
            await store.threads.messages.get("t", "m")
            == await store.threads.messages.find("t", "m")
            == expected
        )
        assert (await store.threads.messages.list("t")).items == [expected]
        assert (await store.threads.get("t")).id == "t"
        await store.threads.messages.merge("t", "bare", only_missing=True)
        bare = await store.threads.messages.get("t", "bare")
        assert bare.created_at is not None
        assert abs(datetime.now(UTC) - bare.created_at).total_seconds() < 60
        assert bare == ThreadMessage(id="bare", thread_id="t", created_at=bare.created_at)

    async def test_unknown_messages(self, store: AsyncMongoStore) -> None:
        assert await store.threads.messages.find("t", "x") is None
        assert await store.threads.messages.find_by_id("x") is None
        assert not await store.threads.messages.exists("t", "x")
        assert not await store.threads.messages.delete("t", "x")
        assert not await store.threads.feedback.delete("t", "x")
        assert await store.threads.feedback.find("t", "x") is None
        assert await store.threads.feedback.find_by_id("x") is None
        assert await store.threads.messages.count("x") == 0
        assert await ids(store, "x") == []
        for call in (
            store.threads.messages.get("t", "x"),
            store.threads.feedback.upsert("t", Feedback(message_id="x", value=1)),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id) == ("message", "x")

    @pytest.mark.parametrize("writes", [*itertools.permutations([BEGIN, DATED, UPDATE])])
    @pytest.mark.smoke
    async def test_merges_in_any_order_come_to_the_same(self, store: AsyncMongoStore, writes: Any) -> None:
        for members in writes:
            await store.threads.messages.merge("t", "m", **members)
        message = await store.threads.messages.get("t", "m")
        assert (message.content, message.parent_id, message.created_at) == ("out", "p", at(1))
        assert message.data == {"input": "in", "end": "later", "x": [1]}

    async def test_parallel_merges_come_to_the_same(self, store: AsyncMongoStore) -> None:
        for number in range(15):
            writes = [DATED, UPDATE, *({"data": {f"k{n}": n}} for n in range(4)), {"pinned": True}]
            turned = writes[number % 7 :] + writes[: number % 7]
            await asyncio.gather(
                *(store.threads.messages.merge("t", f"m{number}", **members) for members in turned)
            )
            message = await store.threads.messages.get("t", f"m{number}")
            assert (message.content, message.parent_id, message.created_at) == ("out", "p", at(1))
            assert message.data == {"input": "in", "end": "later", "x": [1], **{f"k{n}": n for n in range(4)}}
            assert message.pinned

    async def test_an_update_at_any_moment_of_a_late_beginning_holds(self, store: AsyncMongoStore) -> None:
        async def update(message_id: str, pauses: int) -> None:
            for _ in range(pauses):
                await store.threads.messages.find("t", "nothing")
            await store.threads.messages.merge("t", message_id, content="out", data={"k": "out"})

        for pauses in range(6):
            name = f"m{pauses}"
            await store.threads.messages.merge("t", name, data={"changed": True})
            await asyncio.gather(
                store.threads.messages.merge(
                    "t", name, only_missing=True, content="begun", data={"k": "begun"}
                ),
                update(name, pauses),
            )
            message = await store.threads.messages.get("t", name)
            assert (message.content, message.data) == ("out", {"changed": True, "k": "out"})

    async def test_what_begins_a_message_overlays_what_began_it_before(self, store: AsyncMongoStore) -> None:
        await store.threads.messages.merge("t", "m", only_missing=True, content="a", data={"k": 1, "l": 1})
        await store.threads.messages.merge("t", "m", only_missing=True, content="b", data={"k": 2})
        message = await store.threads.messages.get("t", "m")
        assert (message.content, message.data) == ("b", {"k": 2, "l": 1})

    async def test_a_late_beginning_fills_only_what_is_absent_or_empty(self, store: AsyncMongoStore) -> None:
        remaining = {"zero": 0, "no": False, "text": "x", "list": [0]}
        empty: dict[str, Any] = {"none": None, "blank": "", "dict": {}, "items": []}
        await store.threads.messages.merge("t", "m", content=0, data={**remaining, **empty}, pinned=False)
        late = dict.fromkeys([*remaining, *empty, "absent", "a.b"], "late")
        await store.threads.messages.merge(
            "t", "m", only_missing=True, content="late", data=late, pinned=True
        )
        message = await store.threads.messages.get("t", "m")
        assert (message.content, message.pinned) == (0, False)
        assert message.data == {**late, **remaining}

    async def test_the_time_that_an_update_gives_holds_against_a_late_beginning(
        self, store: AsyncMongoStore
    ) -> None:
        await store.threads.messages.merge("t", "m", created_at=at(5))
        await store.threads.messages.merge("t", "m", only_missing=True, created_at=at(1))
        assert (await store.threads.messages.get("t", "m")).created_at == at(5)

    async def test_an_update_clears_and_none_is_a_value(self, store: AsyncMongoStore) -> None:
        await store.threads.messages.merge(
            "t", "m", only_missing=True, parent_id="p", content="x", data={"k": 1, "l": 1}
        )
        await store.threads.messages.merge("t", "m", content="", data={"k": None}, parent_id=None)
        message = await store.threads.messages.get("t", "m")
        assert (message.content, message.data, message.parent_id) == ("", {"k": None, "l": 1}, None)
        await store.threads.messages.merge("t", "m", content=None)
        assert (await store.threads.messages.get("t", "m")).content is None

    async def test_any_keys_and_values_come_back_as_they_were_given(self, store: AsyncMongoStore) -> None:
        nasty = MERGED | {f"n{number}": value for number, value in enumerate(NASTY)}
        await store.threads.messages.merge("t", "m", only_missing=True, data=MERGED)
        await store.threads.messages.merge("t", "m", data=nasty)
        assert same((await store.threads.messages.get("t", "m")).data, nasty)
        for number, value in enumerate(NASTY):
            await store.threads.messages.merge("t", f"m{number}", content=value)
            assert same((await store.threads.messages.get("t", f"m{number}")).content, value)

    async def test_a_message_belongs_to_the_thread_that_is_named(self, store: AsyncMongoStore) -> None:
        await store.threads.messages.merge("t", "m", content="x")
        await store.threads.feedback.upsert("t", Feedback(id="f", message_id="m", value=1))
        await store.threads.elements.upsert("t", Element(id="e", message_id="m"))
        messages, feedback = store.threads.messages, store.threads.feedback
        assert (await messages.find("other", "m"), await feedback.find("other", "m")) == (None, None)
        assert (await messages.exists("t", "m"), await messages.exists("other", "m")) == (True, False)
        for call in (messages.get("other", "m"), feedback.upsert("other", Feedback(message_id="m", value=0))):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id) == ("message", "m")
        assert not await messages.delete("other", "m")
        assert not await feedback.delete("other", "m")
        found = await messages.find_by_id("m")
        assert found == await messages.get("t", "m")
        assert found.feedback == await feedback.find("t", "m") == await feedback.find_by_id("f")
        assert found.feedback == Feedback(id="f", thread_id="t", message_id="m", value=1)
        assert await store.threads.elements.find("t", "e") is not None

    async def test_pages_from_the_end_are_in_reading_order(self, store: AsyncMongoStore) -> None:
        messages = store.threads.messages
        for number, name in enumerate("abcde"):
            await messages.merge("t", name, kind="even" if number % 2 else "odd", created_at=at(number // 2))
        for newest, expected in ((False, ["ab", "cd", "e"]), (True, ["de", "bc", "a"])):
            pages, cursor = list[str](), None
            while True:
                page = await messages.list("t", newest=newest, limit=2, cursor=cursor)
                pages.append("".join(message.id for message in page))
                if (cursor := page.next_cursor) is None:
                    break
            assert pages == expected
        assert "".join([message.id async for message in messages.iter("t", newest=True)]) == "edcba"
        following = messages.cursor_of(await messages.get("t", "c"))
        assert [one.id for one in await messages.list("t", cursor=following)] == ["d", "e"]
        assert [one.id for one in await messages.list("t", cursor=following, newest=True)] == ["a", "b"]
        assert (await messages.count("t"), await messages.count("t", limit=3)) == (5, 3)
        assert [one.id for one in await messages.list("t", kind="even")] == ["b", "d"]

    async def test_lists_are_filtered_by_equality_alone(self, store: AsyncMongoStore) -> None:
        messages = store.threads.messages
        await messages.merge("t", "a", content="x", data={"k": 1}, pinned=True)
        await messages.merge("t", "b", content=["x"], data={"k": [1]})
        for where, found in (
            ({"content": "x"}, ["a"]),
            ({"content": ["x"]}, ["b"]),
            ({"data": {"k": 1}}, ["a"]),
            ({"data": {"k": 1}, "content": ["x"]}, []),
            ({"pinned": True}, ["a"]),
        ):
            assert [one.id for one in await messages.list("t", **where)] == found
            assert [one.id async for one in messages.iter("t", **where)] == found

    async def test_a_message_stays_in_its_thread(self, store: AsyncMongoStore) -> None:
        await store.threads.messages.merge("t", "m", only_missing=True, content="x")
        for members in ({"only_missing": True}, {"content": "y"}, {"pinned": True}):
            with pytest.raises(ConflictError):
                await store.threads.messages.merge("other", "m", **members)
        assert (await store.threads.messages.get("t", "m")).content == "x"
        assert await ids(store, "other") == []
        assert await store.threads.find("other") is None

    async def test_messages_are_in_the_order_of_their_times_then_arrival(
        self, store: AsyncMongoStore
    ) -> None:
        moments = {"c": at(2), "b": at(1), "d": at(2), "a": at(2), "e": at(0.5)}
        zone = timezone(timedelta(hours=5))
        for name, moment in moments.items():
            await store.threads.messages.merge(
                "t", name, only_missing=True, created_at=moment.astimezone(zone)
            )
        assert await ids(store) == ["e", "b", "c", "d", "a"]
        seen, cursor = [], None
        while True:
            page = await store.threads.messages.list("t", limit=2, cursor=cursor)
            seen.append([message.id for message in page.items])
            cursor = page.next_cursor
            if cursor is None:
                break
            # Neither the cursor's own message nor one before it is needed to go on.
            await store.threads.messages.delete("t", seen[-1][-1])
        assert seen == [["e", "b"], ["c", "d"], ["a"]]

    async def test_iter_and_count_meet_all_of_2000_messages(self, store: AsyncMongoStore) -> None:
        names = [f"m{number:04}" for number in range(2000)]
        # No more at once than there are connections: who waits for one may begin anew, behind the others.
        for start in range(0, 2000, 20):
            await asyncio.gather(
                *(
                    store.threads.messages.merge("t", name, only_missing=True, created_at=at(number // 300))
                    for number, name in enumerate(names[start : start + 20], start)
                )
            )
        await store.threads.messages.merge("other", "x", only_missing=True)
        assert await ids(store) == names
        assert await store.threads.messages.count("t") == 2000
        page = await store.threads.messages.list("t", limit=1000)
        page = await store.threads.messages.list("t", limit=1000, cursor=page.next_cursor)
        assert ([message.id for message in page.items], page.next_cursor) == (names[1000:], None)

    async def test_pinned_messages_of_a_user_are_newest_first(self, store: AsyncMongoStore) -> None:
        ada, ben = await user_id(store), await user_id(store, "ben")
        for number, (thread, user) in enumerate([("a", ada), ("b", ada), ("c", ben)]):
            for which in range(3):
                name = f"{thread}{which}"
                await store.threads.messages.merge(
                    thread, name, only_missing=True, created_at=at(number + 10 * which), pinned=which == 0
                )
            await store.threads.merge(thread, user_id=user)
        assert await pinned(store, ada) == ["b0", "a0"]
        await store.threads.messages.merge("a", "a2", pinned=True)
        await store.threads.messages.merge("b", "b0", pinned=False)
        assert await pinned(store, ada) == ["a2", "a0"]
        await store.threads.messages.merge("d", "update first", content="x")
        await store.threads.messages.merge("d", "update first", only_missing=True, pinned=True)
        await store.threads.merge("d", user_id=ben)
        assert await pinned(store, ben) == ["update first", "c0"]
        await store.threads.messages.delete("a", "a2")
        assert await pinned(store, ada) == ["a0"]
        assert await pinned(store, "nobody") == []

    async def test_delete_takes_feedback_elements_and_files_and_leaves_children(
        self, store: AsyncMongoStore
    ) -> None:
        ada = await user_id(store)
        await store.threads.create("t", user_id=ada)
        for name in ("m", "other"):
            await store.threads.messages.merge("t", name, only_missing=True)
            await store.threads.messages.merge("t", f"child of {name}", only_missing=True, parent_id=name)
            await store.threads.feedback.upsert("t", Feedback(id=f"f of {name}", message_id=name, value=1))
            await store.threads.files.upload(f"file of {name}", b"x")
            await store.threads.elements.upsert(
                "t", Element(id=f"e of {name}", message_id=name, file_key=f"file of {name}")
            )
        assert await store.threads.messages.delete("t", "m")
        assert not await store.threads.messages.delete("t", "m")
        assert sorted(await ids(store)) == ["child of m", "child of other", "other"]
        assert await store.threads.feedback.find_by_id("f of m") is None
        assert len((await store.threads.list(user_id=ada, vote=1)).items) == 1
        assert [element.id async for element in store.threads.elements.iter("t")] == ["e of other"]
        assert await store.threads.files.find("file of m") is None
        assert (await store.threads.files.get("file of other")).size == 1
        await store.threads.messages.delete("t", "other")
        assert (await store.threads.list(user_id=ada, vote=1)).items == []

    async def test_15_mb_fit_and_17_mb_are_refused_with_nothing_written(self, store: AsyncMongoStore) -> None:
        await store.threads.messages.merge("t", "m", only_missing=True, content="x" * 15 * MB)
        assert (await store.threads.messages.get("t", "m")).content == "x" * 15 * MB
        before, huge = await store.threads.messages.get("t", "m"), "x" * 17 * MB
        for members in ({"content": huge}, {"data": {"k": huge}}, {"data": {"k": "x" * 2 * MB}}):
            for started in (False, True):
                with pytest.raises(DocumentTooLargeError):
                    await store.threads.messages.merge("t", "m", only_missing=started, **members)
        with pytest.raises(DocumentTooLargeError):
            await store.threads.messages.merge("new", "n", content=huge)
        with pytest.raises(DocumentTooLargeError):
            await store.threads.feedback.upsert("t", Feedback(message_id="m", value=1, comment="x" * 2 * MB))
        assert await store.threads.messages.get("t", "m") == before
        assert await store.threads.messages.find_by_id("n") is None
        assert await store.threads.find("new") is None

    @pytest.mark.parametrize("bad", NO_IDS, ids=lambda bad: repr(bad)[:20])
    async def test_ids_are_plain_strings(self, store: AsyncMongoStore, bad: Any) -> None:
        messages, feedback = store.threads.messages, store.threads.feedback
        calls = [messages.get("t", bad), messages.find("t", bad), messages.delete("t", bad)]
        calls += [messages.merge("t", bad), messages.find_by_id(bad), messages.exists("t", bad)]
        calls += [feedback.find("t", bad), feedback.delete("t", bad)]
        calls += [
            feedback.upsert("t", Feedback.model_construct(id="f", message_id=bad, value=1, comment=None))
        ]
        assert {error.path for error in await refused(*calls)} == {"message_id"}
        calls = [messages.list(bad), messages.count(bad), anext(messages.iter(bad)), messages.get(bad, "m")]
        calls += [messages.find(bad, "m"), messages.exists(bad, "m"), feedback.find(bad, "m")]
        if bad is not None:
            calls += [messages.merge(bad, "m"), messages.delete(bad, "m"), feedback.delete(bad, "m")]
            calls += [feedback.upsert(bad, Feedback(message_id="m", value=1))]
        assert {error.path for error in await refused(*calls)} == {"thread_id"}
        calls = [feedback.find_by_id(bad), messages.list_pinned(bad)]
        assert [error.path for error in await refused(*calls)] == ["feedback_id", "user_id"]
        if bad is not None:
            [error] = await refused(messages.merge("t", "m", parent_id=bad))
            assert error.path == "parent_id"

    @pytest.mark.parametrize(
        ("path", "members"),
        [
            ("content", {"content": object()}),
            ("content.k[1]", {"content": {"k": [1, b"x"]}}),
            ("data", {"data": None}),
            ("data", {"data": "x"}),
            ("data", {"data": {1: 1}}),
            ("data.k", {"data": {"k": {1, 2}}}),
            ("pinned", {"pinned": 1}),
            ("pinned", {"pinned": None}),
            ("pinned", {"pinned": "yes"}),
            ("created_at", {"created_at": None}),
            ("created_at", {"created_at": "2026-01-01"}),
            ("created_at", {"created_at": datetime(2026, 1, 1)}),
            ("only_missing", {"only_missing": 1}),
            ("only_missing", {"only_missing": None}),
            ("revision", {"revision": 1}),
            ("feedback", {"feedback": None}),
            ("data.k", {"data.k": 1}),
        ],
    )
    async def test_bad_members_are_refused_by_their_paths(
        self, store: AsyncMongoStore, path: str, members: Any
    ) -> None:
        [error] = await refused(store.threads.messages.merge("t", "m", **members))
        assert error.path == path
        assert await store.threads.messages.find("t", "m") is None
        assert await store.threads.find("t") is None

    @pytest.mark.parametrize(
        ("path", "arguments"),
        [
            *(("cursor", {"cursor": cursor}) for cursor in CURSORS),
            *(("limit", {"limit": limit}) for limit in (0, -1, 1001, None, True, 1.5, "1")),
            *(("newest", {"newest": newest}) for newest in (None, 1, "no")),
            *((name, {name: {1}}) for name in ("kind", "content", "data", "pinned")),
            ("thread", {"thread": "t"}),
        ],
        ids=lambda value: repr(value)[:40],
    )
    async def test_bad_arguments_of_a_list_are_refused(
        self, store: AsyncMongoStore, path: str, arguments: Any
    ) -> None:
        with pytest.raises(InvalidValueError) as caught:
            await store.threads.messages.list("t", **arguments)
        assert caught.value.path == path

    async def test_one_unreadable_message_does_not_hide_the_others(self, store: AsyncMongoStore) -> None:
        for number, name in enumerate("abc"):
            await store.threads.messages.merge(
                "t", name, only_missing=True, created_at=at(number), pinned=True
            )
        messages = store.engine.database["messages"]
        await messages.update_one({"_id": "b"}, {"$set": {"data": "secret"}})
        page = await store.threads.messages.list("t")
        assert ([message.id for message in page.items], [error.id for error in page.errors]) == (
            ["a", "c"],
            ["b"],
        )
        assert "secret" not in str(page.errors[0])
        errors: list[InvalidDocumentError] = []
        found = [message.id async for message in store.threads.messages.iter("t", errors=errors)]
        assert (found, [error.id for error in errors]) == (["a", "c"], ["b"])
        with pytest.raises(InvalidDocumentError):
            await ids(store)
