"""Chainlit's contract for a data layer: lists of threads."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from typing import Any

from chainlit.types import Feedback, Pagination, ThreadFilter

from mongostore.testing.chainlit.parts import at, claim, listed, message, step
from mongostore.testing.chainlit.session import InSession, zones


class ThreadListSuite(InSession):
    """Order, pages, search and filters."""

    @zones
    async def test_the_last_activity_orders_and_steps_alone_bump(self, layer: Any) -> None:
        user_id = await claim(layer, "a", "b", "c")
        for number, id in enumerate("abc"):
            # Older than the threads are, so that only what follows decides.
            await layer.create_step(message(f"m-{id}", seconds=number, threadId=id))
        later = 10 * 365 * 86400
        for number, id in enumerate("bca"):
            await layer.create_step(step(f"s-{id}", seconds=later + number, threadId=id))
        assert await listed(layer, user_id) == ["a", "c", "b"]
        await layer.update_thread("b", name="renamed", metadata={"is_shared": True}, tags=["x"])
        await layer.update_step(step("s-b", "done", seconds=later, threadId="b"))
        await layer.get_thread("b")
        await layer.upsert_feedback(Feedback(forId="s-b", value=1))
        assert await listed(layer, user_id) == ["a", "c", "b"]
        await layer.update_step(step("new", seconds=later + 5, threadId="b"))
        assert await listed(layer, user_id) == ["b", "a", "c"]
        page = await layer.list_threads(Pagination(first=1), ThreadFilter(userId=user_id))
        # The front end sorts and groups by it.
        active_at = datetime.fromisoformat(page.data[0]["createdAt"])
        assert active_at == datetime.fromisoformat(at(later + 5))
        json.dumps(page.to_dict())

    @zones
    async def test_pages_are_exact_in_spite_of_ties_and_deletions(self, layer: Any) -> None:
        ids = [f"t{number}" for number in range(7)]
        user_id = await claim(layer, *ids)
        for id in ids:
            await layer.create_step(message(f"m-{id}", seconds=10**9, threadId=id))
        whole = await listed(layer, user_id)
        assert {*whole} == {*ids}
        seen: list[str] = []
        cursor = None
        for has_next in (True, True, False):
            page = await layer.list_threads(Pagination(first=2, cursor=cursor), ThreadFilter(userId=user_id))
            seen += [thread["id"] for thread in page.data]
            assert page.pageInfo.hasNextPage is has_next
            cursor = page.pageInfo.endCursor
            # The thread that the cursor was taken from.
            await layer.delete_thread(seen.pop())
            if len(seen) == 2:
                await layer.delete_thread(whole[-1])
        assert seen == [whole[0], whole[2], whole[4]]

    async def test_an_empty_page_has_no_cursors(self, layer: Any) -> None:
        page = await layer.list_threads(Pagination(first=5), ThreadFilter(userId=await claim(layer)))
        assert page.to_dict() == {
            "pageInfo": {"hasNextPage": False, "startCursor": None, "endCursor": None},
            "data": [],
        }

    async def test_a_cursor_of_other_times_begins_again(self, layer: Any) -> None:
        user_id = await claim(layer, "a", "b")
        whole = await listed(layer, user_id)
        for cursor in ("", "junk", "thread-1", "ä", "W10=", "WzEsMl0=", "\0", "\ud800", "x" * 5000):
            assert await listed(layer, user_id, cursor=cursor) == whole

    async def test_threads_of_nobody_are_not_listed(self, layer: Any) -> None:
        await layer.create_step(message("m"))
        for user_id in (None, ""):
            with suppress(ValueError):
                assert await listed(layer, user_id) == []

    async def test_a_search_finds_names_and_outputs_literally_in_either_case(self, layer: Any) -> None:
        user_id = await claim(layer, "a", "b", "c")
        await claim(layer, "theirs", identifier="bob")
        await layer.update_thread("a", name="Costs (2026) 100% [net]")
        await layer.create_step(message("m", "What does GRÜN .* cost\\?", threadId="b"))
        await layer.create_step(step("s", input="secret", threadId="c"))
        await layer.create_step(message("n", "grün", threadId="theirs"))
        for search, found in {
            "costs (": ["a"],
            "100% [": ["a"],
            "COST": ["a", "b"],
            "grün": ["b"],
            ".*": ["b"],
            "t\\?": ["b"],
            "c.st": [],
            "": ["a", "b", "c"],
            "$": [],
            "\0": [],
            "\ud800": [],
        }.items():
            assert sorted(await listed(layer, user_id, search=search)) == found, search
        page = await layer.list_threads(Pagination(first=1), ThreadFilter(userId=user_id, search="cost"))
        assert page.pageInfo.hasNextPage
        rest = await listed(layer, user_id, 1, search="cost", cursor=page.pageInfo.endCursor)
        assert sorted([page.data[0]["id"], *rest]) == ["a", "b"]

    async def test_lists_are_filtered_by_feedback_of_either_value(self, layer: Any) -> None:
        user_id = await claim(layer, "a", "b", "c")
        for id in "abc":
            await layer.create_step(message(f"m-{id}", "same words", threadId=id))
        await layer.upsert_feedback(Feedback(forId="m-a", value=0))
        sent = await layer.upsert_feedback(Feedback(forId="m-b", value=1, comment="good"))
        assert await listed(layer, user_id, feedback=0) == ["a"]
        assert await listed(layer, user_id, feedback=1) == ["b"]
        assert await listed(layer, user_id, feedback=0, search="SAME") == ["a"]
        assert await listed(layer, user_id, feedback=0, search="other") == []
        await layer.upsert_feedback(Feedback(forId="m-b", value=0, id=sent))
        assert sorted(await listed(layer, user_id, feedback=0)) == ["a", "b"]
        await layer.delete_feedback(sent)
        await layer.delete_step("m-a")
        assert await listed(layer, user_id, feedback=0) == []
