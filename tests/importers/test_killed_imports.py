"""An import that is killed before any of its writes is made good by the next one."""

from __future__ import annotations

import zipfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mongostore import (
    AsyncMongoStore,
    Binding,
    Element,
    Event,
    Feedback,
    Identity,
    Message,
    Observation,
    RoomParticipant,
    Task,
    Turn,
    Verification,
    VoiceDelivery,
)
from mongostore.engines.embedded.fake_driver import FakeCollection
from mongostore.importers import Importer
from mongostore.importers.archive import Archive
from mongostore.repositories.sessions import TailLimits

LIMITS = TailLimits(keep=4, full=8, full_bytes=16 * 1024, embed_bytes=1500, context_embed_bytes=1500)
OLD = datetime(2024, 1, 1, tzinfo=UTC)
WRITES = (
    *("insert_one", "insert_many", "update_one", "update_many", "replace_one", "find_one_and_update"),
    *("find_one_and_delete", "delete_one", "delete_many", "bulk_write"),
)


class Killed(BaseException):
    """The end of a process, which no code of it survives."""


async def fill(store: AsyncMongoStore) -> None:
    """Store something of all that an archive holds, of long ago."""
    threads, rooms, seconds = store.threads, store.rooms, [OLD + timedelta(seconds=n) for n in range(12)]
    user = await threads.users.create("ada@x", metadata={"k": 1})
    await store.sessions.create("s", user_id="ada", participants=["p", "q"], created_at=OLD, data={"k": 1})
    for n, time in enumerate(seconds):
        content = "x" * (3000 if n % 7 == 0 else 5)
        message = Message(id=f"m{n}", role="user", content=content, created_at=time)
        await store.sessions.messages.append("s", message)
    await store.sessions.context.set("s", ["x" * 3000])
    turns = [Turn(role="user", content="x" * (3000 if n == 1 else 5)) for n in range(3)]
    await store.sessions.turns.append_many("s", "p", turns)
    await store.sessions.turns.integrate("s", lambda _name, _turns: ["an insight"])
    await store.sessions.turns.append("s", "q", Turn(role="user", content="later"))
    await store.sessions.create("context alone", created_at=OLD)
    await store.sessions.context.set("context alone", {"k": 1})
    await threads.create("t", user_id=user.id, name="name", created_at=OLD)
    for n, time in enumerate(seconds[:3]):
        await threads.messages.merge("t", f"t{n}", content="x", created_at=time, pinned=n == 1)
    await threads.feedback.upsert("t", Feedback(message_id="t1", value=1, comment="good"))
    for key, content in {"large": b"x" * 5_000_000, "small": b"x", "empty": b""}.items():
        await threads.files.upload(key, content, data={"k": 1})
    await threads.elements.upsert("t", Element(id="e1", message_id="t1", file_key="large"))
    await threads.elements.upsert("t", Element(id="e2", message_id="t2", data={"k": 1}))
    await rooms.create("r", data={"k": 1}, created_at=OLD)
    await rooms.set_private("r", "key", {"k": 1})
    await rooms.bindings.upsert("r", Binding(channel_id="c", participant_id="p"))
    await rooms.participants.upsert("r", RoomParticipant(id="p", identity_id="i"))
    for n in range(4):
        await rooms.events.append("r", Event(id=f"e{n}", channel_id="c", idempotency_key=f"k{n}"))
    await rooms.events.delete("r", "e2")
    await rooms.tasks.create("r", Task(id="task"))
    await rooms.observations.create("r", Observation(id="observation"))
    delivery = VoiceDelivery(key="v", content_hash="h", attempt_id="a")
    await rooms.voice_deliveries.claim("r", delivery)
    await rooms.voice_deliveries.complete("r", delivery.model_copy(update={"outcome": {"k": 1}}))
    await rooms.read_markers.advance("r", "c")
    await rooms.identities.create(Identity(id="i", addresses={"sms": ["1"]}))
    await rooms.verifications.upsert(Verification(identity_id="i", status="x"))


async def content_of(store: AsyncMongoStore, folder: Path) -> dict[str, Any]:
    """Return all that an archive holds of a store, when each head was active, and what is to be pruned."""
    path = folder / f"{uuid4().hex}.zip"
    await Archive(store).write(path)
    with zipfile.ZipFile(path) as written:
        content: dict[str, Any] = {
            name: written.read(name).splitlines() for name in written.namelist() if name != "mongostore.json"
        }
    for house in ("sessions", "threads", "rooms"):
        content[f"activity of {house}"] = [
            (one.id, one.active_at) async for one in getattr(store, house).iter()
        ]
    pruned = await store.retention.prune(idle=timedelta(days=1), dry_run=True)
    content["prune"] = pruned.model_dump(exclude={"idle_since"})
    return content


async def is_killed(number: int, action: Awaitable[Any], patch: pytest.MonkeyPatch) -> bool:
    """Await an action that is killed before its n-th write; return whether it was."""
    writes = 0

    def killing(method: Callable[..., Any]) -> Callable[..., Any]:
        async def write(self: FakeCollection, *arguments: Any, **options: Any) -> Any:
            nonlocal writes
            writes += 1
            if writes >= number:
                raise Killed
            return await method(self, *arguments, **options)

        return write

    with patch.context() as killers:
        for name in WRITES:
            killers.setattr(FakeCollection, name, killing(getattr(FakeCollection, name)))
        try:
            await action
        except Killed:
            return True
    return False


@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.long)])
async def test_an_import_that_is_killed_before_any_write_is_made_good_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    path = tmp_path / "all.zip"
    async with AsyncMongoStore(f"mongomock://{uuid4().hex}", tail_limits=LIMITS) as source:
        await fill(source)
        await Archive(source).write(path)

    async def import_into(store: AsyncMongoStore) -> Any:
        return await Importer(store).run("mongostore", str(path))

    async with AsyncMongoStore(f"mongomock://{uuid4().hex}", tail_limits=LIMITS) as store:
        await import_into(store)
        expected = await content_of(store, tmp_path)
    number, was_killed, different = 1, True, dict[int, list[str]]()
    while was_killed:
        async with AsyncMongoStore(f"mongomock://{uuid4().hex}", tail_limits=LIMITS) as store:
            was_killed = await is_killed(number, import_into(store), monkeypatch)
            report = await import_into(store)
            assert not report.refused.count, number
            found = await content_of(store, tmp_path)
            if wrong := [name for name in expected if expected[name] != found.get(name)]:
                different[number] = wrong
        number += every
    assert not different
    assert number > 40
