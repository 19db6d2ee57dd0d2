"""An import over a slow line takes as much at once as comes through in time."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import bson
import pytest
from pymongo.errors import NetworkTimeout

from mongostore import AsyncMongoStore, Message, UnavailableError
from mongostore.engines.embedded.fake_driver import FakeCollection
from mongostore.importers import Importer
from mongostore.importers.archive import Archive
from mongostore.importers.pace import Pace
from mongostore.repositories import current_operation

BYTES_A_SECOND = 200_000


def slow_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put one slow line before all writes of sessions."""
    write, moving = FakeCollection.find_one_and_update, 0

    async def write_slowly(self: FakeCollection, filter: Any, update: Any, *rest: Any, **options: Any) -> Any:
        nonlocal moving
        size = len(bson.encode({"u": update}))
        moving += size
        await asyncio.sleep(0.01)
        seconds, call = moving / BYTES_A_SECOND, current_operation()
        moving -= size
        left = call.attempt_seconds()
        # As if so much time were over.
        call.ends -= min(seconds, left)
        if seconds > left:
            raise NetworkTimeout("the line is slow")
        return await write(self, filter, update, *rest, **options)

    monkeypatch.setattr(FakeCollection, "find_one_and_update", write_slowly)


async def test_an_import_comes_through_a_slow_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    async with AsyncMongoStore(f"mongomock://{uuid4().hex}") as source:
        for name in "abcdefgh":
            await source.sessions.create(name)
            messages = [Message(role="user", content=str(n) * 50_000) for n in range(20)]
            await source.sessions.messages.append_many(name, messages)
        await Archive(source).write(path)
    async with AsyncMongoStore(f"mongomock://{uuid4().hex}") as store:
        slow_down(monkeypatch)
        report = await Importer(store).run("mongostore", str(path))
        assert not report.refused.count
        assert (report.of("messages").new, report.verified) == (160, 8)
        again = tmp_path / "again.zip"
        await Archive(store).write(again)
    with zipfile.ZipFile(path) as one, zipfile.ZipFile(again) as two:
        assert one.read("messages.jsonl") == two.read("messages.jsonl")


async def test_a_part_that_does_not_come_through_is_followed_by_smaller_ones() -> None:
    parts: list[list[str]] = []

    async def write(batch: Sequence[Message]) -> None:
        if len(batch) > 8:
            raise UnavailableError("too much")
        parts.append([message.id for message in batch])

    pace = Pace(lambda: asyncio.sleep(0))
    messages = [Message(id=str(n), role="user", content="x" * 30_000) for n in range(20)]
    await pace.write(messages, write)
    assert [id for part in parts for id in part] == [message.id for message in messages]


async def test_a_server_that_is_gone_ends_an_import() -> None:
    asked = 0

    async def fail(_batch: Sequence[Message] = ()) -> None:
        nonlocal asked
        asked += 1
        raise UnavailableError("gone")

    with pytest.raises(UnavailableError, match="gone"):
        await Pace(fail).write([Message(role="user")], fail)
    assert asked == 2


async def test_a_single_message_that_is_too_much_ends_an_import() -> None:
    async def fail(_batch: Sequence[Message]) -> None:
        raise UnavailableError("too much")

    with pytest.raises(UnavailableError, match="too much"):
        await Pace(lambda: asyncio.sleep(0)).write([Message(role="user", content="x" * 9_000_000)], fail)
