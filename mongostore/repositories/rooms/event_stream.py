"""The live tail of a room: its events as they are committed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from mongostore.documents.mapping import StoredDocument
from mongostore.documents.rooms import to_event
from mongostore.engines import Capability
from mongostore.errors import InvalidDocumentError, NotFoundError
from mongostore.models import Event
from mongostore.repositories import Connection, majority_step, open_stream
from mongostore.repositories.rooms.room_log import HAS_INDEX, count_events, find_room

_log = logging.getLogger("mongostore.documents")

_PAUSE_SECONDS = 0.1
_CATCH_UP = 200


class EventStream:
    """Follows rooms.

    Commits become visible in the order of their indexes, so that the highest index seen says all about
    how far a follower has come.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def tail(self, room_id: str, after: int | None) -> AsyncGenerator[Event, None]:
        """Yield events until the room is gone; see `AsyncRoomEvents.watch`."""
        self._connection.require(Capability.CHANGE_STREAMS)
        seen = after
        while True:
            async with aclosing(self._follow(room_id, seen)) as followed:
                async for index, event in followed:
                    seen = index
                    if index is None:
                        return
                    if event is not None:
                        yield event
            # The next one is tried for as long as any call takes; one that opens but to break must not spin.
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _follow(
        self, room_id: str, seen: int | None
    ) -> AsyncGenerator[tuple[int | None, Event | None], None]:
        """Yield what is new and what one stream tells, with how far that is, None for the room's end."""
        async with open_stream(self._connection, self._open, room_id) as stream:
            latest = await majority_step(self._connection, self._latest_index, room_id)
            if seen is None:
                seen = latest
                # A connection lost from here on goes on here, and not with what is new by then.
                yield seen, None
            while seen < latest:
                missed = await majority_step(self._connection, self._events_after, room_id, seen)
                if not missed:
                    break
                for document in missed:
                    seen = int(document["index"])
                    yield seen, _decode_or_log(document)
            while told := await self._connection.wait_or_closed(anext(stream, None)):
                if told["ns"]["coll"] != self._events.name:
                    yield None, None
                elif told["fullDocument"]["index"] > seen:
                    seen = told["fullDocument"]["index"]
                    yield seen, _decode_or_log(told["fullDocument"])

    @property
    def _events(self) -> Any:
        return self._connection.collection("events")

    @property
    def _rooms(self) -> Any:
        return self._connection.collection("rooms")

    async def _open(self, room_id: str) -> Any:
        committed = {
            "ns.coll": self._events.name,
            "operationType": "insert",
            "fullDocument.room_id": room_id,
            "fullDocument.index": HAS_INDEX,
        }
        gone = {
            "ns.coll": self._rooms.name,
            "documentKey._id": room_id,
            "$or": [
                {"operationType": "delete"},
                {"updateDescription.updatedFields.state": {"$exists": True}},
            ],
        }
        return await self._rooms.database.watch([{"$match": {"$or": [committed, gone]}}])

    async def _latest_index(self, room_id: str) -> int:
        room, newest = await find_room(self._connection, self._events, room_id)
        if room is None:
            raise NotFoundError("room", room_id)
        return int(count_events(room, newest)["next_index"]) - 1

    async def _events_after(self, room_id: str, seen: int) -> list[StoredDocument]:
        wanted = {"room_id": room_id, "index": {"$gt": seen}}
        found = self._events.find(wanted, sort=[("index", 1)], limit=_CATCH_UP, batch_size=_CATCH_UP + 1)
        async with found:
            documents: list[StoredDocument] = await found.to_list()
        return documents


def _decode_or_log(document: StoredDocument) -> Event | None:
    try:
        return to_event(document)
    except InvalidDocumentError as error:
        told = {"kind": error.kind, "id": error.id}
        fields = ", ".join(error.fields)
        _log.warning("passed over %s %r, which cannot be read: %s", *told.values(), fields, extra=told)
        return None
