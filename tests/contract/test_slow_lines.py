"""What moves many bytes over a slow line goes in steps, of which each has the time of a call."""

from __future__ import annotations

from collections.abc import Iterator
from random import randbytes
from typing import Any
from uuid import uuid4

import bson
import pytest
from pymongo.errors import NetworkTimeout

from mongostore import AsyncMongoStore, Message
from mongostore.engines.embedded.fake_driver import FakeCollection, FakeCursor
from mongostore.repositories import current_operation
from mongostore.repositories.sessions import TailLimits

BYTES_A_SECOND = 200_000


def travel(documents: list[Any]) -> None:
    """Take the time from the call that documents need on the line, or end its attempt."""
    call, seconds = current_operation(), len(bson.encode({"of": documents})) / BYTES_A_SECOND
    left = call.attempt_seconds()
    call.ends -= min(seconds, left)
    if seconds > left:
        raise NetworkTimeout("the line is slow")


@pytest.fixture
def slow_line(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put a slow line before the embedded engine."""
    insert, read = FakeCollection.insert_many, FakeCursor.to_list

    async def insert_slowly(self: FakeCollection, documents: list[Any], **options: Any) -> Any:
        travel(documents)
        return await insert(self, documents, **options)

    async def read_slowly(self: FakeCursor, length: int | None = None) -> Any:
        found = await read(self, length)
        travel(found)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(FakeCollection, "insert_many", insert_slowly)
        patch.setattr(FakeCursor, "to_list", read_slowly)
        yield


async def test_an_upload_needs_time_for_a_chunk_and_not_for_the_file(
    request: pytest.FixtureRequest,
) -> None:
    content = randbytes(8_000_000)
    async with AsyncMongoStore(f"mongomock://{uuid4().hex}") as store:
        request.getfixturevalue("slow_line")
        await store.threads.files.upload("k", content)
        assert await store.threads.files.read("k") == content
        assert await store.engine.collection("files.chunks").count_documents({}) == 31


async def test_an_iteration_needs_time_for_a_segment_and_not_for_the_session(
    request: pytest.FixtureRequest,
) -> None:
    ids = [f"m{number}" for number in range(60)]
    async with AsyncMongoStore(f"mongomock://{uuid4().hex}", tail_limits=TailLimits(keep=4, full=8)) as store:
        await store.sessions.create("s")
        for id in ids:
            await store.sessions.messages.append("s", Message(id=id, role="user", content="x" * 100_000))
        request.getfixturevalue("slow_line")
        assert [message.id async for message in store.sessions.messages.iter("s")] == ids
        alone = store.sessions.messages.iter("s", conversation_id="default")
        assert [message.id async for message in alone] == ids
