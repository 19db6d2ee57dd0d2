"""Writes what a store holds into one archive, which the source `mongostore` imports equal."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

from mongostore.errors import NotFoundError
from mongostore.importers.digests import to_text
from mongostore.importers.ledger import NAMESPACE
from mongostore.importers.whole_files import whole_file
from mongostore.models import ReadMarker, Room, Session, SessionFilter, Thread, ThreadFilter
from mongostore.models.model import Model
from mongostore.repositories.rooms.bulk import RoomTransfer
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.sessions.bulk import SessionTransfer
from mongostore.repositories.threads.bulk import ThreadMessageBatches
from mongostore.store import AsyncMongoStore

VERSION = 1
HOUSES = ("sessions", "threads", "rooms")
# One a line: each with what belongs to it by the id that comes first.
MEMBERS = (
    *("users", "sessions", "messages", "turns", "threads", "thread_messages", "elements", "files"),
    *("identities", "verifications", "verification_requests", "rooms", "events"),
)
# Those that do not go with a conversation.
_NEVER_CUT = {"users", "files"}
_PARTS = ("bindings", "participants", "tasks", "observations", "read_markers")
Head = TypeVar("Head", Session, Thread, Room)
_encode = json.JSONEncoder(default=to_text).encode


class Archive:
    """An archive that is being written.

    Args:
        store: An open store.
        user_id: The user whose sessions and threads are exported; None for all, and for rooms.

    Attributes:
        counts: The number of entities by their kind.
        warnings: The things that the archive does not hold, each named by its id.
    """

    def __init__(self, store: AsyncMongoStore, *, user_id: str | None = None) -> None:
        self._store = store
        self._user_id = user_id
        self._lines: dict[str, IO[bytes]] = {}
        self.counts: Counter[str] = Counter()
        self.warnings: list[str] = []

    async def write(self, path: Path, houses: Collection[str] = HOUSES) -> None:
        """Write the archive; an existing file is replaced by a whole one only."""
        with (
            whole_file(path) as target,
            zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive,
            ExitStack() as files,
        ):
            # Without names: of a process that is killed they end with it.
            self._lines = {
                name: files.enter_context(tempfile.TemporaryFile(dir=path.parent)) for name in MEMBERS
            }
            if "sessions" in houses:
                await self._write_sessions()
            if "threads" in houses:
                await self._write_threads(archive)
            if "rooms" in houses and self._user_id is None:
                await self._write_rooms()
            for name, lines in self._lines.items():
                lines.seek(0)
                with archive.open(f"{name}.jsonl", "w", force_zip64=True) as member:
                    shutil.copyfileobj(lines, member)
            manifest = {"version": VERSION, "created_at": datetime.now(UTC), "counts": self.counts}
            archive.writestr("mongostore.json", _encode(manifest))

    def _write(self, name: str, owner: Any, members: dict[str, Any]) -> None:
        self._lines[name].write(_encode([owner, members]).encode() + b"\n")
        self.counts[name] += 1

    @asynccontextmanager
    async def _conversation(self, head: Head, get: Callable[[str], Awaitable[Head]]) -> AsyncIterator[None]:
        """Write a conversation in the block, or no line of one that is deleted before all of it is read."""
        ends, counts = {name: file.tell() for name, file in self._lines.items()}, self.counts.copy()
        try:
            yield
            # What was read may be of one that was made anew, and messages may have ended with their thread.
            if (await get(head.id)).created_at != head.created_at:
                raise NotFoundError(type(head).__name__, head.id)
        except NotFoundError:
            for name in ends.keys() - _NEVER_CUT:
                self._lines[name].seek(ends[name])
                self._lines[name].truncate()
                self.counts[name] = counts[name]

    async def _write_sessions(self) -> None:
        transfer, namespace = SessionTransfer.of(self._store.sessions), None
        while (namespace := await transfer.find_namespace(namespace)) is not None:
            if namespace != NAMESPACE:
                await self._write_namespace(self._store.sessions.in_namespace(namespace))

    async def _write_namespace(self, sessions: AsyncSessions) -> None:
        if hidden := await sessions.count(**SessionFilter(user_id=self._user_id, deleted=True)):
            self.warnings.append(
                f"namespace {sessions.namespace!r}: {hidden} softly deleted sessions are left out: "
                "undelete those that are to be exported"
            )
        async for session in sessions.iter(user_id=self._user_id):
            async with self._conversation(session, sessions.get):
                await self._write_session(sessions, session)

    async def _write_session(self, sessions: AsyncSessions, session: Session) -> None:
        owner = [sessions.namespace, session.id]
        names = ("user_id", "name", "description", "data", "metadata", "created_at", "expires_at")
        head = {name: getattr(session, name) for name in names}
        head["participants"] = [_members(participant) for participant in session.participants]
        if session.has_context:
            head["context"] = [await sessions.context.get(session.id)]
        self._write("sessions", owner, head)
        async for message in sessions.messages.iter(session.id):
            self._write("messages", owner, _members(message, "position"))
        for participant in session.participants:
            async for turn in sessions.turns.iter(session.id, participant.id):
                if (turn.number or 0) > participant.turn_count:
                    # Appended since the session was read.
                    break
                self._write("turns", [*owner, participant.id], _members(turn))

    async def _write_threads(self, archive: zipfile.ZipFile) -> None:
        threads = self._store.threads
        seen: set[str] = set()
        filter = ThreadFilter() if self._user_id is None else ThreadFilter(user_id=self._user_id)
        async for thread in threads.iter(**filter):
            if thread.user_id is not None and thread.user_id not in seen:
                seen.add(thread.user_id)
                if user := await threads.users.find(thread.user_id):
                    self._write("users", user.id, _members(user))
            async with self._conversation(thread, threads.get):
                await self._write_thread(archive, thread)
        if self._user_id is None:
            async for user in threads.users.iter():
                if user.id not in seen:
                    self._write("users", user.id, _members(user))
            async for message in ThreadMessageBatches.of(threads).iter_loose():
                self._write("thread_messages", None, _members(message, "thread_id"))
            async for file in threads.files.iter():
                await self._write_file(archive, file.key)

    async def _write_thread(self, archive: zipfile.ZipFile, thread: Thread) -> None:
        threads = self._store.threads
        self._write("threads", thread.id, _members(thread, "active_at", "user_identifier"))
        async for message in threads.messages.iter(thread.id):
            self._write("thread_messages", thread.id, _members(message, "thread_id"))
        async for element in threads.elements.iter(thread.id):
            self._write("elements", thread.id, _members(element, "thread_id"))
            if element.file_key is not None and self._user_id is not None:
                await self._write_file(archive, element.file_key)

    async def _write_file(self, archive: zipfile.ZipFile, key: str) -> None:
        read = None
        while (file := await self._store.threads.files.find(key)) is not None and file != read:
            read, name = file, f"files/{len(archive.filelist)}"
            # What is in the archive of one that is replaced or deleted meanwhile has no line.
            with suppress(NotFoundError):
                with archive.open(name, "w", force_zip64=True) as target:
                    async for piece in self._store.threads.files.iter_content(key):
                        target.write(piece)
                members = {"name": name, "content_type": file.content_type, "data": file.data}
                self._write("files", key, members)
                return
        self.warnings.append(f"file {key!r}: {'is not there' if file is None else 'lacks a part'}")

    async def _write_rooms(self) -> None:
        rooms, transfer = self._store.rooms, RoomTransfer.of(self._store.rooms)
        async for identity in transfer.iter_identities():
            self._write("identities", identity.id, _members(identity))
        async for verification in transfer.iter_verifications():
            self._write("verifications", None, _members(verification))
        async for request in transfer.iter_requests():
            self._write("verification_requests", None, _members(request))
        async for room in rooms.iter():
            async with self._conversation(room, rooms.get):
                await self._write_room(transfer, room)

    async def _write_room(self, transfer: RoomTransfer, room: Room) -> None:
        rooms = self._store.rooms
        next_index, private = await transfer.read_state(room.id)
        parts: dict[str, Any] = {
            name: [_plain(part) async for part in getattr(rooms, name).iter(room.id)] for name in _PARTS
        }
        parts["voice_deliveries"] = [_plain(one) async for one in transfer.iter_deliveries(room.id)]
        head = {**_members(room, "id"), "next_index": next_index}
        self._write("rooms", room.id, {"members": head, "private": private, **parts})
        async for event in rooms.events.iter(room.id, blocked=True):
            self._write("events", room.id, _members(event, "room_id"))


def _members(model: Any, *leave_out: str) -> dict[str, Any]:
    return {name: _plain(value) for name, value in model.__dict__.items() if name not in leave_out}


def _plain(value: Any) -> Any:
    """Return a model as its members, without the owner that its line names."""
    if isinstance(value, Model):
        return _members(value, "room_id", "thread_id")
    return asdict(value) if isinstance(value, ReadMarker) else value
