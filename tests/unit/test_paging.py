"""Lists that are read page by page, in either direction."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest

from mongostore import AsyncMongoStore
from mongostore.arguments import encode_cursor
from mongostore.documents.mapping import StoredDocument
from mongostore.engines.embedded.engine import EmbeddedEngine
from mongostore.errors import InvalidDocumentError, InvalidValueError
from mongostore.models import Page
from mongostore.repositories.paging import SortOrder, count_options, page_of

RISING = SortOrder("at")
FALLING = SortOrder("at", is_ascending=False)

THINGS: list[StoredDocument] = [
    {"_id": "e", "at": 1},
    {"_id": "a", "at": 2},
    {"_id": "b", "at": 2},
    {"_id": "c", "at": 2},
    {"_id": "d", "at": 2},
    {"_id": "g", "at": 4},
    {"_id": "f", "at": 9},
]


def name_of(document: StoredDocument) -> str:
    if document.get("broken"):
        raise InvalidDocumentError("thing", document["_id"])
    return str(document["_id"])


def test_a_list_rises_unless_it_is_said_to_fall() -> None:
    assert RISING.sort == [("at", 1), ("_id", 1)]
    assert FALLING.sort == [("at", -1), ("_id", -1)]


def test_a_place_is_the_number_and_the_key() -> None:
    assert RISING.sort_key({"_id": "a", "at": 3, "other": 1}) == (3, "a")


@pytest.mark.parametrize("order", [RISING, FALLING])
def test_all_is_behind_no_place(order: SortOrder) -> None:
    assert order.keyset_filter({"user": "u"}, None) == {"user": "u"}


@pytest.mark.parametrize(("order", "operator"), [(RISING, "$gt"), (FALLING, "$lt")])
def test_behind_a_place_are_later_keys_of_its_number_and_later_numbers(
    order: SortOrder, operator: str
) -> None:
    where = {"user": "u"}

    following = order.keyset_filter(where, (3, "k"))

    assert following == {
        "$or": [
            {"user": "u", "at": 3, "_id": {operator: "k"}},
            {"user": "u", "at": {operator: 3}},
        ]
    }
    assert where == {"user": "u"}


@pytest.mark.parametrize("order", [RISING, FALLING])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_page_after_page_all_is_read_once_and_in_order(order: SortOrder, limit: int) -> None:
    things = EmbeddedEngine("", "paging").database["things"]
    await things.insert_many([dict(thing) for thing in reversed(THINGS)])
    await things.insert_one({"_id": "bb", "at": 2, "other": True})

    read: list[str] = []
    cursor: str | None = None
    pages = 0
    for _ in range(len(THINGS) + 1):
        where = order.keyset_filter({"other": None}, order.decode(cursor))
        documents = await things.find(where, sort=order.sort, limit=limit + 1).to_list()
        page = page_of(documents, order, limit, name_of)
        read += page.items
        pages += 1
        if (cursor := page.next_cursor) is None:
            break

    is_ascending = [thing["_id"] for thing in THINGS]
    assert read == (is_ascending if order.is_ascending else is_ascending[::-1])
    assert pages == math.ceil(len(THINGS) / limit)


def test_no_cursor_names_no_place() -> None:
    assert RISING.decode(None) is None


@pytest.mark.parametrize(
    "key",
    [
        (0, "a"),
        (-5, ""),
        (2**63 - 1, "é" * 256),
        (1 - 2**63, "a.b"),
        (7, {"a": "room", "b": "participant"}),
    ],
)
def test_a_cursor_names_its_place(key: tuple[int, Any]) -> None:
    assert RISING.decode(RISING.cursor(key)) == key


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        7,
        b"",
        encode_cursor([]),
        encode_cursor([1]),
        encode_cursor([1, "a", "b"]),
        encode_cursor(["1", "a"]),
        encode_cursor([1.0, "a"]),
        encode_cursor([None, "a"]),
        encode_cursor([1, 2]),
        encode_cursor([1, None]),
        encode_cursor([1, {"a": "x"}]),
        encode_cursor([1, {"a": "x", "b": 1}]),
        encode_cursor([1, {"a": 1, "b": "x"}]),
        encode_cursor([2**63, "a"]),
        encode_cursor([-(2**63), "a"]),
        encode_cursor([2**63, {"a": "x", "b": "y"}]),
    ],
)
def test_a_cursor_that_no_page_gave_is_refused(cursor: object) -> None:
    with pytest.raises(InvalidValueError, match=r"^cursor: is not one that a page gave$"):
        RISING.decode(cursor)


@pytest.mark.parametrize("key", ["x" * 513, "\ud800"])
@pytest.mark.parametrize("part", ["whole", "first", "second"])
def test_a_cursor_whose_key_is_no_id_is_refused(part: str, key: str) -> None:
    keys = {"whole": key, "first": {"a": key, "b": "b"}, "second": {"a": "a", "b": key}}

    with pytest.raises(InvalidValueError) as refused:
        RISING.decode(encode_cursor([1, keys[part]]))

    assert refused.value.path == "cursor"


def test_a_page_of_nothing_is_empty_and_the_last() -> None:
    assert page_of([], RISING, 5, name_of) == Page([])


@pytest.mark.parametrize("limit", [7, 8])
def test_a_page_that_holds_all_is_the_last(limit: int) -> None:
    page = page_of(THINGS, RISING, limit, name_of)

    assert page.items == ["e", "a", "b", "c", "d", "g", "f"]
    assert page.next_cursor is None


def test_a_page_ends_where_the_next_begins() -> None:
    page = page_of(THINGS[:4], RISING, 3, name_of)

    assert page.items == ["e", "a", "b"]
    assert RISING.decode(page.next_cursor) == (2, "b")


def test_what_cannot_be_read_is_told_and_the_others_are_there() -> None:
    documents = [{**thing, "broken": thing["_id"] in ("e", "b")} for thing in THINGS[:4]]

    page = page_of(documents, RISING, 3, name_of)

    assert page.items == ["a"]
    assert [error.id for error in page.errors] == ["e", "b"]
    assert RISING.decode(page.next_cursor) == (2, "b")


def test_what_is_beyond_a_page_is_not_read() -> None:
    documents = [*THINGS[:2], {"_id": "z", "at": 3, "broken": True}]

    assert page_of(documents, RISING, 2, name_of).errors == []


def test_any_other_error_of_reading_is_not_swallowed() -> None:
    def fail(document: StoredDocument) -> str:
        raise KeyError(document["_id"])

    with pytest.raises(KeyError, match="e"):
        page_of(THINGS[:1], RISING, 1, fail)


@pytest.mark.parametrize("limit", [None, 1, 1001, 2**31 - 1])
def test_a_count_is_bounded_by_its_limit_alone(limit: int | None) -> None:
    assert count_options(limit) == ({} if limit is None else {"limit": limit})


@pytest.mark.parametrize("limit", [0, -1, True, 1.0, "1", 2**31])
def test_a_limit_of_a_count_that_cannot_be_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"^limit: must be an integer from 1$"):
        count_options(limit)


async def test_every_house_counts_to_any_limit_from_1() -> None:
    async with AsyncMongoStore("mongomock://") as store:
        counts: list[Any] = [
            partial(store.threads.count),
            partial(store.threads.count, data={"k": 1}),
            partial(store.threads.messages.count, "t"),
            partial(store.threads.users.count),
            partial(store.rooms.count),
            partial(store.rooms.count, metadata={"k": 1}),
            partial(store.keys.count),
        ]
        for count in counts:
            assert await count(limit=1001) == 0, count
            with pytest.raises(InvalidValueError, match=r"^limit: "):
                await count(limit=0)
