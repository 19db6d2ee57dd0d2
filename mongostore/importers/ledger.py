"""How far an import has come, kept in the store so that the same import goes on there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from mongostore.errors import AlreadyExistsError, NotFoundError
from mongostore.importers.digests import digest_of
from mongostore.importers.report import Report
from mongostore.importers.sources import Options
from mongostore.store import AsyncMongoStore

NAMESPACE = "mongostore.imports"
_ROWS = 200


def is_server(location: str) -> bool:
    """Return whether a source is a server, whose changes have no time as those of files have."""
    return "://" in location


def identity_of(source: str, location: str, options: Options) -> str:
    """Return the digest of an import: it differs for another source, a changed one, or other options."""
    path = Path(location)
    state = []
    if not is_server(location) and path.exists():
        files = sorted(path.rglob("*")) if path.is_dir() else [path, Path(f"{path}-wal")]
        state = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
    return digest_of(source, location, state, repr(options))


class Ledger:
    """The record of one import.

    Args:
        store: Where it is kept, as a session in a namespace of its own.
        identity: The id of the import.
        source: The name of the source.
        writes: Whether to keep a record at all.
    """

    def __init__(self, store: AsyncMongoStore, identity: str, source: str, *, writes: bool) -> None:
        self._sessions = store.sessions.in_namespace(NAMESPACE)
        self._id = identity
        self._source = source
        self._writes = writes

    async def find_done(self, report: Report) -> int:
        """Return the number of units that an import which was cut short has done, and load its report."""
        known = await self._sessions.find(self._id) if self._writes else None
        if known is None:
            return 0
        report.load(known.data["report"])
        return int(known.data["done"])

    async def record(self, done: int, report: Report) -> None:
        """Record that so many units are done."""
        if not self._writes:
            return
        data: dict[str, Any] = {"done": done, "report": report.to_json(rows=_ROWS)}
        while True:
            with suppress(AlreadyExistsError):
                await self._sessions.create(self._id, name=self._source, data=data)
                return
            with suppress(NotFoundError):
                await self._sessions.update(self._id, data=data)
                return
            # The same import has ended elsewhere, or another program has hidden the record.
            await self._sessions.delete(self._id)

    async def finish(self) -> None:
        """Delete the record: the next import of the same source compares all of it."""
        if self._writes:
            await self._sessions.delete(self._id)
