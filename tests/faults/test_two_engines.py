"""Embedded stores share their data by name, and by name alone."""

from __future__ import annotations

from uuid import uuid4

from mongostore import AsyncMongoStore, MongoStore


async def test_stores_of_one_name_share() -> None:
    uri = f"mongomock://{uuid4().hex}"
    async with AsyncMongoStore(uri) as one, AsyncMongoStore(uri) as other:
        await one.sessions.create("s")
        assert await other.sessions.exists("s")
    with MongoStore(uri) as blocking:
        assert blocking.sessions.exists("s")


async def test_stores_of_two_names_two_databases_or_no_name_do_not_share() -> None:
    name = uuid4().hex
    targets = [
        (f"mongomock://{name}", "one"),
        (f"mongomock://{name}", "other"),
        (f"mongomock://{name}2", "one"),
    ]
    for uri, database in [*targets, ("mongomock://", "one"), ("mongomock://", "one")]:
        async with AsyncMongoStore(uri, database) as store:
            assert not await store.sessions.exists("s")
            await store.sessions.create("s")
