"""Stores rooms with all that belongs to them, and the identities of their people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any

from mongostore.documents.mapping import check_size
from mongostore.documents.rooms import to_stored_event
from mongostore.errors import AlreadyExistsError
from mongostore.importers.batches import each, in_batches, in_thread
from mongostore.importers.digests import Digest, canonical
from mongostore.importers.pace import Pace
from mongostore.importers.report import Outcome, RefusedError, Report
from mongostore.importers.timeline import TimelineImport
from mongostore.importers.units import RecordUnit, RoomUnit
from mongostore.models import Event, Identity, Room, RoomCreate, Verification, VerificationRequest
from mongostore.repositories.rooms.bulk import EventBatches
from mongostore.store import AsyncMongoStore

_PARTS = ("bindings", "participants", "tasks", "observations")


class RoomImport(TimelineImport[Event]):
    """Stores one room.

    Args:
        store: The store.
        unit: The room.
        report: Counts what belongs to the room and names what is refused.
        thread: Where the source is read.
        pace: The pace at which the server is written to.
        writes: Whether to write, and not only to compare.
    """

    def __init__(
        self,
        store: AsyncMongoStore,
        unit: RoomUnit,
        report: Report,
        thread: Executor,
        pace: Pace,
        *,
        writes: bool,
    ) -> None:
        super().__init__(unit.id, "events", report, Digest(), thread, pace, writes=writes)
        self._rooms = store.rooms
        self._batches = EventBatches.of(store.rooms)
        self._unit = unit
        self.key: str = f"rooms/{unit.id}"

    async def run(self, *, verifies: bool) -> tuple[Outcome, str]:
        """Store the room, and return its outcome and its digest."""
        existing = await self._begin()
        if existing is not None and canonical(_head(existing)) != canonical(_head(self._unit.members)):
            raise RefusedError("diverged: the stored room has other members or counters")
        batches = in_thread(self._thread, in_batches(self._unit.events))
        async with aclosing(batches):
            if existing is None:
                async for batch in batches:
                    await self._append(batch)
            else:
                await self._compare(each([], batches))
        await self._write_parts()
        self._digest.add(self._parts_value())
        digest = self._digest.hexdigest()
        if verifies and self._writes and self._has_written:
            await self._verify(digest)
        return "new" if existing is None else "changed" if self._has_written else "known", digest

    async def _begin(self) -> Room | None:
        if not self._writes:
            return await self._rooms.find(self._id)
        try:
            await self._rooms.create(self._id, **self._unit.members)
        except AlreadyExistsError:
            return await self._rooms.get(self._id)
        self._has_written = True
        return None

    async def _write_many(self, batch: Sequence[Event]) -> None:
        await self._batches.create_many(self._id, batch)

    def _check(self, message: Event) -> None:
        check_size("the event", to_stored_event(message, 0))

    def _value(self, message: Event) -> dict[str, Any]:
        return _members(message)

    def _stored(self) -> AsyncIterator[Event]:
        return self._rooms.events.iter(self._id, blocked=True)

    async def _write_parts(self) -> None:
        room_id, unit = self._id, self._unit
        stored = await self._read_parts()
        for noun in _PARTS:
            verbs = getattr(self._rooms, noun)
            write = verbs.create if noun == "observations" else verbs.upsert
            for part in getattr(unit, noun):
                if self._is_new(noun, canonical(_members(part)) in stored[noun]) and self._writes:
                    await write(room_id, part)
        for key, value in unit.private.items():
            if self._is_new("private", canonical([key, value]) in stored["private"]) and self._writes:
                await self._rooms.set_private(room_id, key, value)
        for channel_id, index in unit.read_markers.items():
            is_known = canonical([channel_id, index]) in stored["read_markers"]
            if self._is_new("read_markers", is_known) and self._writes:
                await self._rooms.read_markers.advance(room_id, channel_id, index=index)
        for delivery in unit.voice_deliveries:
            is_known = canonical(_members(delivery)) in stored["voice_deliveries"]
            if self._is_new("voice_deliveries", is_known) and self._writes:
                await self._rooms.voice_deliveries.claim(
                    room_id, delivery.model_copy(update={"outcome": None})
                )
                if delivery.outcome is not None:
                    await self._rooms.voice_deliveries.complete(room_id, delivery)

    def _is_new(self, noun: str, is_known: bool) -> bool:
        counts = self._report.of(noun)
        counts.read += 1
        if is_known:
            counts.known += 1
        else:
            counts.new += 1
            self._has_written = True
        return not is_known

    async def _read_parts(self) -> dict[str, list[bytes]]:
        room_id, unit = self._id, self._unit
        parts: dict[str, list[bytes]] = {}
        for noun in _PARTS:
            parts[noun] = [canonical(_members(one)) async for one in getattr(self._rooms, noun).iter(room_id)]
        parts["private"] = [
            canonical([key, value])
            for key in unit.private
            if (value := await self._rooms.find_private(room_id, key)) is not None
        ]
        markers = {one.channel_id: one.index async for one in self._rooms.read_markers.iter(room_id)}
        parts["read_markers"] = [
            canonical([channel_id, markers[channel_id]])
            for channel_id in unit.read_markers
            if channel_id in markers
        ]
        found = [await self._rooms.voice_deliveries.find(room_id, one.key) for one in unit.voice_deliveries]
        parts["voice_deliveries"] = [canonical(_members(one)) for one in found if one is not None]
        return parts

    def _parts_value(self) -> dict[str, Any]:
        unit = self._unit
        return {
            "head": _head(unit.members),
            **{noun: [canonical(_members(one)).decode() for one in getattr(unit, noun)] for noun in _PARTS},
            "private": [canonical([*item]).decode() for item in unit.private.items()],
            "read_markers": [canonical([*item]).decode() for item in unit.read_markers.items()],
            "voice_deliveries": [canonical(_members(one)).decode() for one in unit.voice_deliveries],
        }

    async def _verify(self, digest: str) -> None:
        """Read back what is stored."""
        stored = Digest()
        async for event in self._stored():
            stored.add(self._value(event))
        parts = {
            noun: [line.decode() for line in lines] for noun, lines in (await self._read_parts()).items()
        }
        stored.add({"head": _head(await self._rooms.get(self._id)), **parts})
        if stored.hexdigest() != digest:
            raise RefusedError("the stored room differs from the source")
        self._report.verified += 1


class RecordImport:
    """Stores an identity, a verification or a request for one."""

    def __init__(self, store: AsyncMongoStore, unit: RecordUnit, report: Report, *, writes: bool) -> None:
        self._rooms = store.rooms
        self._record = unit.record
        self._writes = writes
        noun, name = _RECORDS[type(unit.record)]
        self.key: str = f"{noun}/{name(unit.record)}"

    async def run(self, *, verifies: bool) -> tuple[Outcome, str]:
        """Store the record unless it is there, and return the outcome and the digest."""
        digest = Digest()
        digest.add(_members(self._record))
        existing = await self._find()
        if existing is not None:
            if canonical(_members(existing)) != canonical(_members(self._record)):
                raise RefusedError("diverged: another one is stored")
            return "known", digest.hexdigest()
        if self._writes:
            match self._record:
                case Identity() as identity:
                    await self._rooms.identities.create(identity)
                case Verification() as verification:
                    await self._rooms.verifications.upsert(verification)
                case VerificationRequest() as request:
                    await self._rooms.verifications.requests.upsert(request)
        return "new", digest.hexdigest()

    async def _find(self) -> Identity | Verification | VerificationRequest | None:
        match self._record:
            case Identity(id=id):
                return await self._rooms.identities.find(id)
            case Verification(identity_id=id, organization_id=organization_id):
                return await self._rooms.verifications.find(id, organization_id=organization_id)
            case VerificationRequest(id=id):
                return await self._rooms.verifications.requests.find(id)


_RECORDS: dict[type, tuple[str, Any]] = {
    Identity: ("identities", lambda record: record.id),
    Verification: ("verifications", lambda record: record.identity_id),
    VerificationRequest: ("verification_requests", lambda record: record.id),
}


def _head(room: Room | RoomCreate) -> dict[str, Any]:
    members = room.__dict__ if isinstance(room, Room) else room
    names = RoomCreate.__annotations__.keys() - {"next_index"}
    defaults = Room.model_construct(id="").__dict__
    return {name: members.get(name, defaults.get(name)) for name in names}


def _members(part: Any) -> dict[str, Any]:
    return {name: value for name, value in part.__dict__.items() if name != "room_id"}
