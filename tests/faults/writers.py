"""A load of every kind on one database: what is acknowledged is noted, and looked for all the time."""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mongostore import AsyncMongoStore, Event, Message, MongoStore
from mongostore.sync import shared_store

STAND_IN = Path(__file__).parents[1] / "adapters" / "stand_in"
# So that a reader, who reads all there is, does not take all the time.
_WRITER_PAUSE = 0.02
_READER_PAUSE = 0.1
_LONGEST_READER_PAUSE = 1.0
_PATIENCE = 90

# What a place holds, in its order: ids with the texts of those that are no longer what they were first.
Found = list[tuple[str, Any]]


@dataclass
class Lane:
    """Something that many write into: a session, a room, a thread.

    Attributes:
        name: What it is.
        write: Stores something under an id for good, with that text.
        read: Returns all ids and texts, in their order.
        writers: How many write into it at the same time.
        is_append_only: Whether whatever comes later stands behind all that is there.
        acknowledged: The ids that each writer was told are stored.
    """

    name: str
    write: Callable[[str, str], Awaitable[object]]
    read: Callable[[], Awaitable[Found]]
    writers: int = 1
    is_append_only: bool = True
    acknowledged: dict[int, list[str]] = field(default_factory=dict)
    reads: int = 0

    def check(self, found: Found, known: set[str], *, is_all: bool = False) -> None:
        """Check that everything known is there once, and what a writer wrote in the order of its writes."""
        ids = [id for id, _ in found]
        doubled = [id for id, count in Counter(ids).items() if count > 1]
        assert not doubled, f"{self.name}: doubled {doubled[:5]}"
        lost = known - {*ids}
        assert not lost, f"{self.name}: lost {sorted(lost)[:5]} and {len(lost)} in all"
        for writer in range(self.writers):
            numbers = [int(id.rpartition(":")[2]) for id in ids if id.startswith(f"{self.name}:{writer}:")]
            assert numbers == sorted(numbers), f"{self.name}: out of order {numbers}"
        if is_all:
            assert {*ids} == known, f"{self.name}: nobody was told of {sorted({*ids} - known)[:5]}"
            wrong = [id for id, text in found if text != text_of(id)]
            assert not wrong, f"{self.name}: other texts in {wrong[:5]}"

    @property
    def known(self) -> set[str]:
        """Every id that is stored for certain."""
        return {id for ids in self.acknowledged.values() for id in ids}


def tell(record: Callable[[str, object], None], what: str, figures: dict[str, Any]) -> None:
    """Record figures for the report of the run, and show them to who looks on."""
    record(what, json.dumps(figures))
    sys.stdout.write(f"\n{what}: {json.dumps(figures, indent=4)}\n")


def text_of(id: str) -> str:
    """Return what is written under an id."""
    return f"the text of {id}"


class Load:
    """Writers and readers at work.

    Attributes:
        writes: How many writes were acknowledged.
        reads: How many times a whole place was read.
        longest: The longest call, in seconds.
    """

    def __init__(self, lanes: list[Lane]) -> None:
        self.lanes = lanes
        self.longest = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()

    @property
    def writes(self) -> int:
        return sum(len(ids) for lane in self.lanes for ids in lane.acknowledged.values())

    @property
    def reads(self) -> int:
        return sum(lane.reads for lane in self.lanes)

    def start(self) -> None:
        """Begin; each place has its writers and a reader."""
        for lane in self.lanes:
            self._tasks += [asyncio.create_task(self._write(lane, n)) for n in range(lane.writers)]
            self._tasks.append(asyncio.create_task(self._read(lane)))

    async def progress(self, times: int = 3) -> None:
        """Wait until every writer and reader has come on so many times; raise what one of them raises."""
        wanted = [
            (lane, writer, len(lane.acknowledged.get(writer, ())) + times)
            for lane in self.lanes
            for writer in range(lane.writers)
        ]
        reads = {lane.name: lane.reads + times for lane in self.lanes}
        ends = time.monotonic() + _PATIENCE
        while True:
            following = [
                f"{lane.name}:{writer}"
                for lane, writer, count in wanted
                if len(lane.acknowledged.get(writer, ())) < count
            ]
            following += [lane.name for lane in self.lanes if lane.reads < reads[lane.name]]
            if not following:
                return
            for task in self._tasks:
                if task.done():
                    task.result()
            assert time.monotonic() < ends, f"no progress: {following}"
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Let every call end by itself; raise what one of them raises."""
        self._stopped.set()
        await asyncio.wait_for(asyncio.gather(*self._tasks), _PATIENCE)

    async def cancel(self) -> None:
        """End at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def check(self) -> None:
        """Check that what was acknowledged is there, once and in order, and nothing else."""
        for lane in self.lanes:
            lane.check(await lane.read(), lane.known, is_all=True)

    async def _timed(self, work: Awaitable[Any]) -> Any:
        began = time.monotonic()
        result = await work
        self.longest = max(self.longest, time.monotonic() - began)
        return result

    async def _write(self, lane: Lane, writer: int) -> None:
        acknowledged = lane.acknowledged.setdefault(writer, [])
        while not self._stopped.is_set():
            id = f"{lane.name}:{writer}:{len(acknowledged)}"
            await self._timed(lane.write(id, text_of(id)))
            acknowledged.append(id)
            await asyncio.sleep(_WRITER_PAUSE)

    async def _read(self, lane: Lane) -> None:
        seen: list[str] = []
        while not self._stopped.is_set():
            known, began = lane.known, time.monotonic()
            found = await self._timed(lane.read())
            lane.check(found, known)
            ids = [id for id, _ in found]
            if lane.is_append_only:
                assert ids[: len(seen)] == seen, f"{lane.name}: what was read has changed its place"
            seen = ids
            lane.reads += 1
            taken = time.monotonic() - began
            await asyncio.sleep(min(max(_READER_PAUSE, 10 * taken), _LONGEST_READER_PAUSE))


@dataclass
class Stores:
    """A store of each kind, open on one database."""

    uri: str
    database: str
    core: AsyncMongoStore
    blocking: MongoStore
    threads: ThreadPoolExecutor
    chainlit: Any
    roomkit: Any

    async def load(self, tag: str = "") -> Load:
        """Make places that bear that tag, and a load on them."""
        lanes = [*await self._core(tag), await self._chainlit(tag)]
        if self.roomkit is not None:
            lanes.append(await self._roomkit(tag))
        builders = (self._facade, self._threadmem, self._director)
        return Load([*lanes, *[await self.run(build, tag) for build in builders]])

    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run what blocks in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *arguments)

    def _in_threads(self, work: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        return functools.partial(self.run, work)

    async def _core(self, tag: str) -> list[Lane]:
        store = self.core
        session_id, edited_id, room_id, thread_id = (f"{name}{tag}" for name in ("s", "edited", "r", "t"))
        await store.sessions.create(session_id)
        await store.sessions.create(edited_id)
        await store.rooms.create(room_id)
        await store.threads.create(thread_id)

        async def append(id: str, text: str) -> None:
            await store.sessions.messages.append(session_id, Message(id=id, role="user", content=text))

        async def edit(id: str, text: str) -> None:
            message = Message(id=id, role="user", content="draft")
            await store.sessions.messages.append_many(edited_id, [message])
            await store.sessions.messages.update(edited_id, id, content=text)

        async def commit(id: str, text: str) -> None:
            event = Event(id=id, channel_id="c", content=text, idempotency_key=id)
            assert (await store.rooms.events.append(room_id, event)).index is not None

        async def merge(id: str, text: str) -> None:
            await store.threads.messages.merge(thread_id, id, only_missing=True, content="draft")
            await store.threads.messages.merge(thread_id, id, content=text)

        async def messages(of: str) -> Found:
            return [(one.id, one.content) async for one in store.sessions.messages.iter(of)]

        async def events() -> Found:
            found = [event async for event in store.rooms.events.iter(room_id)]
            assert [event.index for event in found] == [*range(len(found))]
            return [(event.id, event.content) for event in found]

        async def merged() -> Found:
            return [(one.id, one.content) async for one in store.threads.messages.iter(thread_id)]

        return [
            Lane(f"session{tag}", append, lambda: messages(session_id), writers=2),
            Lane(f"edits{tag}", edit, lambda: messages(edited_id), writers=2),
            Lane(f"room{tag}", commit, events, writers=2),
            # By the times at which writers begin, which are not those at which they come.
            Lane(f"thread{tag}", merge, merged, writers=2, is_append_only=False),
        ]

    def _facade(self, tag: str) -> Lane:
        store, session_id = self.blocking, f"facade{tag}"
        store.sessions.create(session_id)

        def append(id: str, text: str) -> None:
            store.sessions.messages.append(session_id, Message(id=id, role="user", content=text))

        def messages() -> Found:
            return [(one.id, one.content) for one in store.sessions.messages.iter(session_id)]

        return Lane(f"facade{tag}", self._in_threads(append), self._in_threads(messages), writers=2)

    def _director(self, tag: str) -> Lane:
        # One a request, as Director makes them; they share a store.
        make = functools.partial(
            importlib.import_module("mongostore.adapters.director").MongoDB, self.uri, self.database
        )
        session_id = f"director{tag}"
        make().create_session(session_id)

        def say(id: str, text: str) -> None:
            make().add_or_update_msg_to_conv(session_id, "c", id, "input", [], [], [{"text": text}])

        def read_found() -> Found:
            rows = make().get_conversations(session_id)
            return [(row["msg_id"], row["content"][0]["text"]) for row in rows]

        return Lane(f"director{tag}", self._in_threads(say), self._in_threads(read_found))

    def _threadmem(self, tag: str) -> Lane:
        from mongostore.adapters.threadmem import RoleThread
        from mongostore.adapters.threadmem.file_storage import FileStorage

        kind = RoleThread.at(FileStorage(store=self.blocking))
        thread = kind.create(f"role{tag}")

        def post(id: str, text: str) -> None:
            thread.post("user", text, metadata={"id": id})

        def posted() -> Found:
            messages = kind.find(id=f"role{tag}")[0].messages()
            return [(message.metadata["id"], message.text) for message in messages]

        return Lane(f"threadmem{tag}", self._in_threads(post), self._in_threads(posted))

    async def _chainlit(self, tag: str) -> Lane:
        from tests.adapters.chainlit_parts import claim, enter, http_session, message

        layer, thread_id = self.chainlit, f"chainlit{tag}"
        await claim(layer, thread_id)

        async def say(id: str, text: str) -> None:
            enter(http_session(thread_id))
            step = message(id, "", int(id.rpartition(":")[2]), threadId=thread_id)
            await layer.create_step(step)
            await layer.update_step({**step, "output": text})

        async def read_found() -> Found:
            thread = await layer.get_thread(thread_id)
            assert thread is not None
            return [(step["id"], step["output"]) for step in thread["steps"]]

        return Lane(f"chainlit{tag}", say, read_found)

    async def _roomkit(self, tag: str) -> Lane:
        from roomkit.models.event import EventSource, RoomEvent, TextContent
        from roomkit.models.room import Room as KitRoom

        store, room_id = self.roomkit, f"kit{tag}"
        await store.create_room(KitRoom(id=room_id))

        async def commit(id: str, text: str) -> None:
            source = EventSource(channel_id="c", channel_type="sms")
            event = RoomEvent(id=id, room_id=room_id, source=source, content=TextContent(body=text))
            await store.commit_event(room_id, event)

        async def events() -> Found:
            found = await store.list_events(room_id, limit=1_000_000)
            assert [event.index for event in found] == [*range(len(found))]
            return [(event.id, getattr(event.content, "body", None)) for event in found]

        return Lane(f"roomkit{tag}", commit, events)


@contextmanager
def _director_stood_in() -> Iterator[None]:
    """Have the adapter be imported on the stand-in, and forgotten after."""

    def forget() -> None:
        for name in list(sys.modules):
            if name == "mongostore.adapters.director" or name.partition(".")[0] == "director":
                del sys.modules[name]

    forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(STAND_IN), *sys.path])
        yield
    forget()


@asynccontextmanager
async def every_store(uri: str, database: str) -> AsyncIterator[Stores]:
    """Open the async core, the blocking store and each adapter; all are closed at the end."""
    from tests.adapters.chainlit_parts import MongoDataLayer

    roomkit = None
    if sys.version_info >= (3, 12):
        from mongostore.adapters.roomkit import MongoConversationStore

        roomkit = MongoConversationStore(uri, database)
    with pytest.MonkeyPatch.context() as patch, _director_stood_in(), ThreadPoolExecutor(16) as threads:
        patch.setenv("CHAINLIT_AUTH_SECRET", "s" * 64)
        core, blocking, chainlit = (
            AsyncMongoStore(uri, database),
            MongoStore(uri, database),
            MongoDataLayer(uri, database),
        )
        stores = Stores(uri, database, core, blocking, threads, chainlit, roomkit)
        try:
            await asyncio.gather(core.open(), stores.run(blocking.open))
            yield stores
        finally:
            await core.close()
            await chainlit.close()
            if roomkit is not None:
                await roomkit.close()
            await stores.run(blocking.close)
            await stores.run(shared_store(uri, database).close)


@asynccontextmanager
async def every_load(uri: str, database: str) -> AsyncIterator[Load]:
    """Prepare a load through every store; all is closed at the end."""
    async with every_store(uri, database) as stores:
        load = await stores.load()
        try:
            yield load
        finally:
            await load.cancel()
