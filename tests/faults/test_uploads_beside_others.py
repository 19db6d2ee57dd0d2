"""An upload whose answer is lost stores once, whatever another client does to its key meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from mongostore import AsyncMongoStore
from mongostore.repositories.connection import Connection
from mongostore.repositories.threads import AsyncFiles
from tests.contract.interleaving import run_apart
from tests.faults.test_retries_beside_others import Loss, LossyCollection

OWN, THEIRS = b"own", b"theirs"
# None, one chunk, and what takes two steps.
SIZES = {"empty": 0, "one chunk": 1, "two steps": 5 * 2**20 // len(OWN)}


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.server)])
def store_uri(request: pytest.FixtureRequest) -> str:
    """The URI of each engine in turn."""
    if request.param == "embedded":
        return f"mongomock://{uuid4().hex}"
    return str(request.getfixturevalue("server_uri"))


async def replace(files: AsyncFiles) -> None:
    await files.upload("f", THEIRS)


async def delete(files: AsyncFiles) -> None:
    await files.delete("f")


async def content(files: AsyncFiles) -> bytes | None:
    return await files.read("f") if await files.exists("f") else None


async def orphans(store: AsyncMongoStore) -> list[Any]:
    """Return the ids of files that have chunks and no entry."""
    database = store.engine.database
    entries = {one["_id"] async for one in database["files.files"].find()}
    chunks = {one["files_id"] async for one in database["files.chunks"].find({}, {"files_id": 1})}
    return [*(chunks - entries)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("other", [replace, delete])
async def test_a_lost_answer_makes_an_upload_store_once(
    store: AsyncMongoStore,
    monkeypatch: pytest.MonkeyPatch,
    other: Callable[[AsyncFiles], Awaitable[None]],
    size: str,
) -> None:
    own = OWN * SIZES[size]
    connection = Connection(store.engine, 20.0)
    connection.attach()
    theirs = AsyncFiles(connection)
    monkeypatch.setattr("mongostore.repositories.retry.random.uniform", lambda *_: 0.01)
    for number in range(1, 9):
        await store.threads.files.delete("f")
        loss = Loss(number, lambda: other(theirs), lambda: content(theirs))
        await loss.begin()
        collection = store.engine.collection

        def lossy(name: str, collection: Any = collection, loss: Loss = loss) -> Any:
            found = collection(name)
            return LossyCollection(found, loss) if asyncio.current_task() is task else found  # noqa: B023

        with monkeypatch.context() as patch:
            patch.setattr(store.engine, "collection", lossy)
            task = asyncio.create_task(store.threads.files.upload("f", own))
            await task
        found = await content(theirs)
        if not loss.has_happened:
            assert number > 1
            assert found == own
            break
        after = THEIRS if other is replace else None
        assert found == after or (not loss.is_visible and found == own), f"after write {number}"
        assert await orphans(store) == []


class Interrupted:
    """The entries of files, after the first one of which another client acts."""

    def __init__(self, collection: Any, act: Callable[[], Awaitable[None]]) -> None:
        self._collection, self._act = collection, act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)

    async def replace_one(self, filter: Any, entry: Any, **options: Any) -> Any:
        stored = await self._collection.replace_one(filter, entry, **options)
        if "filename" in entry:
            await self._act()
        return stored


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("other", [replace, delete])
async def test_an_upload_ends_well_that_is_followed_at_once(
    store: AsyncMongoStore,
    monkeypatch: pytest.MonkeyPatch,
    other: Callable[[AsyncFiles], Awaitable[None]],
    size: str,
) -> None:
    collection, files = store.engine.collection, store.threads.files

    async def act() -> None:
        monkeypatch.setattr(store.engine, "collection", collection)
        await run_apart(lambda: other(files))

    def interrupted(name: str) -> Any:
        found = collection(name)
        return Interrupted(found, act) if name == "files.files" else found

    monkeypatch.setattr(store.engine, "collection", interrupted)
    uploaded = await files.upload("f", OWN * SIZES[size])
    assert uploaded.size == len(OWN) * SIZES[size]
    assert await content(files) == (THEIRS if other is replace else None)
    assert await orphans(store) == []
