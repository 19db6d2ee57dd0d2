"""What begins a thread, a part of it or a user beside deletions succeeds, or says that it was deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from mongostore import AlreadyExistsError, AsyncMongoStore, Element, Feedback, NotFoundError
from mongostore.repositories.store_collection import StoreCollection
from tests.contract.test_injection import EVERY_VERB

Verb = Callable[[AsyncMongoStore, str], Awaitable[Any]]
# The share of writes that are not sent, and that of the answers that are lost.
LOST = 0.03
# What reads or deletes, or names a place in a list.
OTHERS = ("count", "cursor_of", "delete", "describe", "exists", "find", "get", "iter", "list", "read")


@dataclass(frozen=True)
class Write:
    """A verb that may begin something.

    Attributes:
        write: Stores something under an id of its own in the thread `x`.
        read: Returns what it has stored; nothing if that is not there, or not whole.
        refused: The errors that its docstring promises beside deletions.
    """

    write: Verb
    read: Verb
    refused: type[Exception] | tuple[()] = NotFoundError


def now() -> datetime:
    return datetime.now(UTC)


async def merge_message(store: AsyncMongoStore, id: str) -> None:
    await store.threads.messages.merge("x", id, content=id, begun_at=now(), created_at=now())


async def merge_both_ends(store: AsyncMongoStore, id: str) -> None:
    """Store the start and the end of a message at once."""
    began, merge = now(), store.threads.messages.merge
    await asyncio.gather(
        merge("x", id, only_missing=True, content="", data={"k": 1}, begun_at=began, created_at=began),
        merge("x", id, content=id, begun_at=began, created_at=began),
    )


async def read_message(store: AsyncMongoStore, id: str) -> bool:
    message = await store.threads.messages.find("x", id)
    return message is not None and message.content == id


async def read_both_ends(store: AsyncMongoStore, id: str) -> bool:
    message = await store.threads.messages.find("x", id)
    return message is not None and (message.content, message.data) == (id, {"k": 1})


async def merge_into_first_thread(store: AsyncMongoStore, id: str) -> None:
    """Have a message and its feedback come into the thread after the feedback."""
    await store.threads.feedback.upsert(None, Feedback(id=id, message_id=id, value=1))
    await merge_message(store, id)


async def vote(store: AsyncMongoStore, id: str) -> None:
    await merge_message(store, id)
    await store.threads.feedback.upsert("x", Feedback(id=id, message_id=id, value=1))


async def read_vote(store: AsyncMongoStore, id: str) -> bool:
    found = await store.threads.feedback.find("x", id)
    return found is not None and len(await store.threads.list(vote=1)) == 1 and await read_message(store, id)


async def put_element(store: AsyncMongoStore, id: str) -> None:
    began = now()
    await store.threads.files.upload(id, id.encode())
    await store.threads.elements.upsert("x", Element(id=id, message_id="m", file_key=id), begun_at=began)


async def read_element(store: AsyncMongoStore, id: str) -> bool:
    element = await store.threads.elements.find("x", id)
    return element is not None and await store.threads.files.read(id) == id.encode()


async def replace_file(store: AsyncMongoStore, id: str) -> None:
    """Show another file in an element that all show theirs in."""
    await store.threads.files.upload(id, id.encode())
    await store.threads.elements.upsert("x", Element(id="e", message_id="m", file_key=id))


async def read_replaced(store: AsyncMongoStore, id: str) -> bool:
    """Return whether the element has a file, and that of this id is its own or is gone."""
    key = (await store.threads.elements.get("x", "e")).file_key
    assert key is not None
    return len(await store.threads.files.read(key)) > 0 and (key == id or not await exists(store, id))


async def exists(store: AsyncMongoStore, id: str) -> bool:
    return await store.threads.files.exists(id)


async def upload(store: AsyncMongoStore, id: str) -> None:
    await store.threads.files.upload("f", b"x" * 600_000)


async def find_thread(store: AsyncMongoStore, id: str) -> object:
    return await store.threads.find("x")


async def find_user(store: AsyncMongoStore, id: str) -> object:
    return await store.threads.users.find_by_identifier("x")


async def delete_user(store: AsyncMongoStore) -> None:
    if user := await store.threads.users.find_by_identifier("x"):
        await store.threads.users.delete(user.id)


WRITES: dict[str, Write] = {
    "threads.create": Write(lambda store, id: store.threads.create("x"), find_thread, AlreadyExistsError),
    "threads.ensure": Write(lambda store, id: store.threads.ensure("x"), find_thread),
    "threads.merge": Write(lambda store, id: store.threads.merge("x", name=id, begun_at=now()), find_thread),
    "threads.update": Write(lambda store, id: store.threads.update("x", name=id), find_thread),
    "threads.messages.merge": Write(merge_message, read_message),
    "threads.messages.merge start and end": Write(merge_both_ends, read_both_ends),
    "threads.messages.merge loose": Write(merge_into_first_thread, read_vote),
    "threads.feedback.upsert": Write(vote, read_vote),
    "threads.elements.upsert": Write(put_element, read_element),
    "threads.elements.upsert again": Write(replace_file, read_replaced),
    "threads.files.upload": Write(upload, lambda store, id: store.threads.files.read("f"), ()),
    "threads.users.create": Write(
        lambda store, id: store.threads.users.create("x"), find_user, AlreadyExistsError
    ),
    "threads.users.ensure": Write(lambda store, id: store.threads.users.ensure("x"), find_user, ()),
    "threads.users.upsert": Write(lambda store, id: store.threads.users.upsert("x"), find_user, ()),
}


def test_every_verb_that_begins_something_is_tried_here() -> None:
    beginning = {
        verb
        for verb in EVERY_VERB
        if verb.startswith("threads.") and not verb.rpartition(".")[2].startswith(OTHERS)
    }
    assert beginning == {name.partition(" ")[0] for name in WRITES}


async def delete_all(store: AsyncMongoStore) -> None:
    """Delete the thread, or some parts of it, and what belongs to none."""
    threads = store.threads
    for message in await threads.messages.list("x", limit=2):
        await threads.messages.delete("x", message.id)
    await threads.elements.delete("x", "e")
    await threads.delete("x")
    await threads.files.delete("f")
    await delete_user(store)


@pytest.mark.smoke
@pytest.mark.parametrize("name", WRITES)
async def test_a_write_beside_deletions_is_kept_or_refused(store: AsyncMongoStore, name: str) -> None:
    await check_beside_deletions(store, name)


@pytest.mark.parametrize("name", WRITES)
async def test_answers_are_lost_beside_deletions_and_nothing_else(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    chances = Random(name)

    def lossy(write: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def lose(*arguments: Any, **options: Any) -> Any:
            chance = 0.5 if options.get("session") else chances.random()
            if chance < LOST:
                raise AutoReconnect("it was not sent")
            result = await write(*arguments, **options)
            # On the embedded engine, too, others come between.
            await asyncio.sleep(0)
            if chance > 1 - LOST:
                raise AutoReconnect("the answer was lost")
            return result

        return lose

    for method in ("insert_one", "insert_many", "update_one", "find_one_and_update", "delete_one"):
        monkeypatch.setattr(StoreCollection, method, lossy(getattr(StoreCollection, method)))
    monkeypatch.setattr("mongostore.repositories.retry.random.uniform", lambda *_: 0.01)
    await check_beside_deletions(store, name)


async def check_beside_deletions(store: AsyncMongoStore, name: str) -> None:
    """Write beside deletions, and check that what follows the last one is whole, and nothing left."""
    case, numbers = WRITES[name], count()

    async def write() -> str | None:
        id = f"{name} {next(numbers)}"
        with suppress(*([case.refused] if case.refused else ())):
            await case.write(store, id)
            return id
        return None

    async def write_often() -> None:
        for _ in range(12):
            await write()

    async def delete_often() -> None:
        for _ in range(12):
            await asyncio.sleep(0)
            await delete_all(store)
            with suppress(NotFoundError):
                await store.threads.merge("x", begun_at=now())

    await asyncio.gather(*(write_often() for _ in range(4)), *(delete_often() for _ in range(3)))
    await delete_all(store)
    if name != "threads.create":
        await store.threads.merge("x", begun_at=now())
    written = [id for id in await asyncio.gather(*(write() for _ in range(3))) if id]
    # One that was deleted is not created again.
    assert name == "threads.create" or written
    for id in written:
        assert await case.read(store, id), id
    assert not await store.find_leftovers()
    await delete_all(store)
    await assert_empty(store)


async def assert_empty(store: AsyncMongoStore) -> None:
    """Check that nothing is left but tombstones, and what belongs to no thread."""
    alive = {"state": {"$ne": "deleted"}, "thread_id": {"$ne": None}}
    for name in ("messages", "elements", "files.files", "files.chunks"):
        filter = {} if name.startswith("files") else alive
        assert await store.engine.database[name].count_documents(filter) == 0, name
