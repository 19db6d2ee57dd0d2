"""The live tail of a session: its change stream, put into terms of messages and positions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mongostore.arguments import MAX_LIMIT, check_limit, decode_cursor, encode_cursor
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.session_streams import join_stream, parts_of
from mongostore.documents.sessions import to_messages
from mongostore.engines import Capability
from mongostore.errors import InvalidValueError, NotFoundError
from mongostore.models import ChangeKind, Message, MessageChange
from mongostore.repositories import majority_step
from mongostore.repositories.change_feed import ChangeFeed
from mongostore.repositories.sessions.storage import SessionStorage

# A writer that only shows that it is there changes nothing that readers see.
_ELEMENT = re.compile(r"messages\.(\d+)(?!\.stream\.until$)(\..*)?")


@dataclass(frozen=True)
class WatchToken:
    """How far a watcher has come.

    Attributes:
        token: The stream's own token, behind which it goes on.
        base: The position at which the session's tail begins there.
        end: The position of the next message there.
        yielded: How many changes of the next event were yielded already.
        left: Where those of the newest messages begin that are to come before; None if all have come.
    """

    token: Mapping[str, Any] | None
    base: int
    end: int
    yielded: int = 0
    left: int | None = None

    def encode(self, key: str) -> str:
        """Return the text that callers keep, for the session with that `_id`."""
        fields = [self.token, self.base, self.end, self.yielded, self.left]
        return encode_cursor([*fields, _checksum(key, fields)])

    @classmethod
    def decode(cls, key: str, text: object) -> WatchToken:
        """Return the token that was encoded for a session."""
        match decode_cursor(text):
            case [*fields, str(checksum)] if checksum == _checksum(key, fields):
                match fields:
                    case [{"_data": str()} as token, int(base), int(end), int(yielded), left] if (
                        len(token) == 1
                        and 0 <= base <= end < 2**63
                        and 0 <= yielded < 2**63
                        and (left is None or (type(left) is int and 0 <= left <= end))
                    ):
                        return cls(token, base, end, yielded, left)
        raise InvalidValueError("after", "is not the token of a change of this session")


class MessageWatcher:
    """Watches one session."""

    def __init__(self, storage: SessionStorage, changes: ChangeFeed) -> None:
        self._connection = storage.connection
        self._feed = changes
        self._tail = storage.tail
        self._overflows = storage.overflows
        self._reader = storage.reader

    async def watch(
        self, key: str, after: str | None, last: int | None
    ) -> AsyncGenerator[MessageChange, None]:
        """Yield changes until the session is gone; see `AsyncSessionMessages.watch`."""
        if last is not None and after is not None:
            raise InvalidValueError("last", "cannot be set with `after`, which goes on where a watcher was")
        count = 0 if last is None else check_limit("last", last)
        self._connection.require(Capability.CHANGE_STREAMS)
        seen = None if after is None else WatchToken.decode(key, after)
        token = None if seen is None else seen.token
        async with self._feed.read("sessions", key, token) as reader:
            known: StoredDocument | None = None
            if seen is None:
                document = await majority_step(self._connection, self._tail.read, key)
                # A watcher may wait for long, and need not hold the messages meanwhile.
                known = {name: document[name] for name in ("tail_start", "next_position", "edit_count")}
                del document
                first = 0 if count else known["next_position"]
                seen = WatchToken(reader.token, known["tail_start"], known["next_position"], left=first)
            if seen.left is not None:
                newest = await self._newest(key, count or MAX_LIMIT, (seen.left, seen.end))
                seen = replace(seen, left=None)
                for number, change in enumerate(newest, 1):
                    here = replace(seen, left=newest[number].position) if number < len(newest) else seen
                    yield change.model_copy(update={"token": here.encode(key)})
            while True:
                event = await reader.next()
                if known and event["ns"]["coll"] == self._tail.sessions.name:
                    old = _precedes(event, known)
                    if old:
                        seen = replace(seen, token=dict(event["_id"]))
                        continue
                    known = known if old is None else None
                following, changes = await self._changes(key, event, seen)
                for yielded, change in enumerate(changes[seen.yielded :], seen.yielded + 1):
                    here = following if yielded == len(changes) else replace(seen, yielded=yielded)
                    yield change.model_copy(update={"token": here.encode(key)})
                    if change.kind is ChangeKind.CLOSE:
                        return
                seen = following

    async def _newest(self, key: str, count: int, bounds: tuple[int, int]) -> list[MessageChange]:
        """Return the newest messages between positions, as they are by now, as those that were appended."""
        if bounds[0] == bounds[1]:
            return []
        page = await majority_step(self._connection, self._reader.page, key, count, bounds, newest=True)
        return [
            MessageChange(kind=ChangeKind.APPEND, position=message.position, message=message, token="")
            for message in page
        ]

    async def _changes(
        self, key: str, event: StoredDocument, seen: WatchToken
    ) -> tuple[WatchToken, list[MessageChange]]:
        """Return what an event means, and how far it brings the watcher."""
        now = replace(seen, token=dict(event["_id"]), yielded=0)
        in_tail = event["ns"]["coll"] == self._tail.sessions.name
        if in_tail and event["operationType"] == "delete":
            return now, [MessageChange(kind=ChangeKind.CLOSE, token="")]
        if event["operationType"] != "update":
            return now, []
        fields = event["updateDescription"]["updatedFields"]
        if not in_tail:
            start = event["documentKey"]["_id"].rpartition("/")[2]
            return now, await self._changed_messages(key, fields, int(start), known_end=seen.end)
        if fields.get("state", "open") != "open":
            return now, [MessageChange(kind=ChangeKind.CLOSE, token="")]
        if "epoch" in fields:
            return replace(now, base=0, end=0), [MessageChange(kind=ChangeKind.TRUNCATE, token="")]
        if "tail_start" in fields:
            return replace(now, base=fields["tail_start"]), []
        if "next_position" in fields and "messages" in fields:
            # Where that is shorter than saying what is new, as in an empty array, an append tells it whole.
            known = seen.end - seen.base
            fields = {
                f"messages.{index}": message
                for index, message in enumerate(fields["messages"])
                if index >= known
            } | fields
        changes = await self._changed_messages(key, fields, seen.base, known_end=seen.end)
        return replace(now, end=fields.get("next_position", seen.end)), changes

    async def _changed_messages(
        self, key: str, fields: StoredDocument, start: int, known_end: int
    ) -> list[MessageChange]:
        """Return the changes of the messages that an update touched."""
        touched = sorted({int(match[1]) for name in fields if (match := _ELEMENT.fullmatch(name))})
        changes = []
        for index in touched:
            position, whole = start + index, fields.get(f"messages.{index}")
            if whole is None and f"messages.{index}" in fields:
                changes.append(MessageChange(kind=ChangeKind.DELETE, position=position, token=""))
                continue
            kind = ChangeKind.APPEND if position >= known_end else ChangeKind.UPDATE
            message = await self._message(key, whole, position)
            changes.append(MessageChange(kind=kind, position=position, message=message, token=""))
        return changes

    async def _message(self, key: str, stored: StoredDocument | None, position: int) -> Message | None:
        if stored is not None and stored.get("overflow") is None and not parts_of(stored):
            if "stream" in stored:
                stored = join_stream(stored, [], self._connection.clock.now())
            found, _ = to_messages([(position, stored)])
            return found[0] if found else None
        try:
            page = await majority_step(self._connection, self._reader.page, key, 1, (position, None))
        except NotFoundError:
            return None
        return page.items[0] if page.items and page.items[0].position == position else None


def _checksum(key: str, fields: list[Any]) -> str:
    """Return the checksum of a token, by which one that was changed or is of another session is refused."""
    return hashlib.blake2b(f"{key} {fields!r}".encode(), digest_size=8).hexdigest()


def _precedes(event: StoredDocument, document: StoredDocument) -> bool | None:
    """Return whether a document that was read after the stream was opened shows this event already.

    None where the event tells nothing about that.
    """
    fields = event.get("updateDescription", {}).get("updatedFields", {})
    if "edit_count" in fields:
        return bool(fields["edit_count"] <= document["edit_count"])
    return bool(fields["next_position"] <= document["next_position"]) if "next_position" in fields else None
