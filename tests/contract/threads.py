"""What tests of threads share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from mongostore import AsyncMongoStore

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

MERGED = {
    "a.b": 1,
    "a": {"b.c": {"$d": None}},
    "$set": 2,
    "": 3,
    "nul\0": 4,
    "_id": 5,
    "0": 6,
    "%2E;": 7,
    "\ud800": "\udfff",
    "huge": 10**400,
    "é": [None, 1.0, True],
}


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


async def user_id(store: AsyncMongoStore, identifier: str = "ada") -> str:
    return str((await store.threads.users.upsert(identifier)).id)


async def listed(store: AsyncMongoStore, user: str, **where: Any) -> list[str]:
    page = await store.threads.list(user_id=user, **where)
    assert page.errors == []
    return [thread.id for thread in page.items]


async def paged(store: AsyncMongoStore, user: str, limit: int, **where: Any) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        page = await store.threads.list(user_id=user, limit=limit, cursor=cursor, **where)
        pages.append([thread.id for thread in page.items])
        cursor = page.next_cursor
        if cursor is None:
            return pages
