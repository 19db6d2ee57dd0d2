"""What the search among threads promises, on every engine."""

from __future__ import annotations

import asyncio

import pytest

from mongostore import AsyncMongoStore
from tests.contract.threads import at, listed, paged, user_id


async def thread(store: AsyncMongoStore, user: str, number: int) -> None:
    name = f"t{number:03}"
    await store.threads.create(name, user_id=user, name="a needle" if number % 7 == 0 else "hay")
    content = "only here" if number == 0 else "NEEDLES" if number % 11 == 0 else "hay"
    # Several at the same time: a page may end among them.
    await store.threads.messages.merge(
        name, f"m{number}", only_missing=True, content=content, created_at=at(10**7 + number // 20)
    )


# A text, a search, and whether it finds the text.
SEARCHES = [
    ("a.c", "a.c", True),
    ("abc", "a.c", False),
    ("100% (sure)? [x] {1} ^$|*+\\d", "(SURE)? [X] {1} ^$|*+\\D", True),
    ("aaa", "a{3}", False),
    ("abc", "^abc$", False),
    ("abc", "(?i)abc", False),
    ("\\Qx\\E", "\\qX\\e", True),
    ("x", "\\Qx\\E", False),
    ("-- # ~ & ' \" / <a> \t\n end", "~ & ' \" / <A> \t\n END", True),
    ("École ПРИВЕТ Ω", "école привет ω", True),
    ("école привет", "ÉCOLE ПРИВЕТ", True),
    ("naïve 日本語 😀", "日本語 😀", True),
    ("nul\x001 byte", "NUL\x001 b", True),
    ("nul byte", "nul\0", False),
    ("text", "\ud800", False),
    ("\ud83d", "json", False),
    ("$name", "$NAME", True),
    ("x" * 5000, "x" * 4000, True),
    ("日" * 5000, "日" * 4000, True),
    ("." * 5000, "." * 4000, True),
    ("\0" * 5000, "\0" * 4000, True),
]


class TestThreadSearch:
    @pytest.fixture
    async def ada(self, store: AsyncMongoStore) -> str:
        return await user_id(store)

    async def test_a_search_finds_names_and_contents(self, store: AsyncMongoStore, ada: str) -> None:
        await store.threads.create("named", user_id=ada, name="About Billing")
        await store.threads.create("said", user_id=ada, name="other")
        await store.threads.messages.merge("said", "m1", only_missing=True, content="nothing")
        await store.threads.messages.merge(
            "said", "m2", only_missing=True, content="all\nabout billing, and more"
        )
        await store.threads.create("neither", user_id=ada, data={"k": "billing"}, tags=["billing"])
        await store.threads.messages.merge(
            "neither", "m3", only_missing=True, content={"k": "billing"}, data={"k": "billing"}
        )
        ben = await user_id(store, "ben")
        await store.threads.create("of another", user_id=ben, name="billing")
        await store.threads.create("deleted", user_id=ada, name="billing")
        await store.threads.delete("deleted")
        assert sorted(await listed(store, ada, text="BILLING")) == ["named", "said"]
        assert await listed(store, ben, text="billing") == ["of another"]
        assert len(await listed(store, ada, text="")) == 3

    @pytest.mark.parametrize("field", ["name", "content", "part"])
    async def test_a_search_is_for_the_very_text(self, store: AsyncMongoStore, ada: str, field: str) -> None:
        for number, (text, _, _) in enumerate(SEARCHES):
            thread_id = f"t{number}"
            await store.threads.create(thread_id, user_id=ada, name=text if field == "name" else "?")
            parts = [{"type": "image_url", "url": "?"}, {"type": "text", "text": text}]
            content = {"name": "?", "content": text, "part": parts}[field]
            await store.threads.messages.merge(thread_id, f"m{number}", only_missing=True, content=content)
        for number, (text, search, is_found) in enumerate(SEARCHES):
            ids = await listed(store, ada, text=search)
            assert (f"t{number}" in ids) == is_found, (text[:30], search[:30])

    async def test_pages_of_a_search_are_full_and_exact(self, store: AsyncMongoStore, ada: str) -> None:
        hits = []
        for start in range(0, 300, 50):
            await asyncio.gather(*(thread(store, ada, number) for number in range(start, start + 50)))
        hits = [f"t{number:03}" for number in range(299, -1, -1) if number % 7 == 0 or number % 11 == 0]
        pages = await paged(store, ada, 10, text="Needle")
        assert [name for page in pages for name in page] == hits
        assert [len(page) for page in pages[:-1]] == [10] * (len(pages) - 1)
        rare = await store.threads.list(user_id=ada, text="only here", limit=1)
        assert ([found.id for found in rare.items], rare.next_cursor) == (["t000"], None)
        assert await listed(store, ada, text="nowhere") == []
