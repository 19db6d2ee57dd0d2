"""The import of a source: unit by unit, with a report, and going on where it was cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, aclosing
from itertools import groupby, islice

from mongostore.errors import MongoStoreError
from mongostore.importers.batches import in_thread
from mongostore.importers.files import write_files
from mongostore.importers.ledger import Ledger, identity_of, is_server
from mongostore.importers.pace import Pace
from mongostore.importers.report import REFUSALS, UNREADABLE, RefusedError, Report, reason_of
from mongostore.importers.rooms import RecordImport, RoomImport
from mongostore.importers.sessions import SessionImport
from mongostore.importers.sources import Options, Reading, SourceError, find_reader
from mongostore.importers.threads import LooseMessageImport, ThreadImport, UserImport
from mongostore.importers.units import (
    FileUnit,
    LooseMessageUnit,
    RecordUnit,
    RoomUnit,
    SessionUnit,
    ThreadUnit,
    Unit,
    UserUnit,
)
from mongostore.store import AsyncMongoStore

# Units are small as a rule, so that a server is best kept busy by several at once.
_AT_ONCE = 8
_BATCH_UNITS = 64
_BATCH_FILES = 16

Importable = UserUnit | SessionUnit | ThreadUnit | LooseMessageUnit | RoomUnit | RecordUnit
Progress = Callable[[Report, int, int | None], None]


class Importer:
    """Stores sources in a store; what is there already is compared and left as it is.

    Args:
        store: An open store.
        dry_run: Whether to compare only, and write nothing.
        verify: Whether to read back what was written.
    """

    def __init__(self, store: AsyncMongoStore, *, dry_run: bool = False, verify: bool = True) -> None:
        self._store = store
        self._writes = not dry_run
        self._verifies = verify
        self._pace = Pace(lambda: store.sessions.exists("any"))

    async def run(
        self,
        source: str,
        location: str,
        options: Options | None = None,
        *,
        report: Report | None = None,
        restart: bool = False,
        progress: Progress | None = None,
    ) -> Report:
        """Import a source, and return the report.

        One that was cut short goes on where it was; that of a server, which may have changed since, compares
        all of it again.

        Args:
            source: The name of the source, such as `chainlit`.
            location: Its path or URI.
            options: The choices that its format leaves open.
            report: Collects the results; a new one by default.
            restart: Whether to begin anew where an earlier import was cut short.
            progress: Called after each batch of units with the report, the number of units that are done, and
                the number of all if it is known.

        Raises:
            ConfigurationError: If there is no such source, or the location is none.
            MongoStoreError: If the store cannot be used.
        """
        options = options or Options()
        report = report or Report()
        read = find_reader(source)
        with ExitStack() as stack:
            # One thread, for a source is read by one at a time.
            thread = stack.enter_context(ThreadPoolExecutor(1, "mongostore-import"))
            reading = Reading(location, options, report, stack)
            identity = identity_of(source, location, options)
            # Units of a server that are gone by now would be others that are not stored yet.
            is_recorded = self._writes and not is_server(location)
            ledger = Ledger(self._store, identity, source, writes=is_recorded)
            done = 0 if restart else await ledger.find_done(report)
            source_units = _readable(read(reading), source)
            stack.callback(source_units.close)
            units = in_thread(thread, _in_batches(_skip_done(source_units, done, report)))
            async with aclosing(units):
                async for batch in units:
                    await self._store_batch(batch, options, report, thread)
                    done += len(batch)
                    await ledger.record(done, report)
                    if progress is not None:
                        progress(report, done, reading.total)
            await ledger.finish()
        return report

    async def _store_batch(
        self, batch: list[Unit], options: Options, report: Report, thread: Executor
    ) -> None:
        free = asyncio.Semaphore(_AT_ONCE)

        async def store(unit: Unit) -> None:
            async with free:
                await self._store_unit(unit, options, report, thread)

        # Users before their threads.
        for _, units in groupby(batch, type):
            try:
                async with asyncio.TaskGroup() as tasks:
                    for unit in units:
                        tasks.create_task(store(unit))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def _store_unit(self, unit: Unit, options: Options, report: Report, thread: Executor) -> None:
        if isinstance(unit, FileUnit):
            await write_files(self._store, [unit], report, self._writes)
            return
        one = self._import_of(unit, options, report, thread)
        noun, _, key = one.key.partition("/")
        counts = report.of(noun)
        counts.read += 1
        try:
            outcome, digest = await one.run(verifies=self._verifies)
        except (*REFUSALS, RefusedError) as error:
            counts.refused += 1
            report.refuse(noun, key, str(error))
        except MongoStoreError:
            raise
        except UNREADABLE as error:
            counts.refused += 1
            report.refuse(noun, key, reason_of(error))
        else:
            setattr(counts, outcome, getattr(counts, outcome) + 1)
            report.add_digest(one.key, digest)

    def _import_of(
        self, unit: Importable, options: Options, report: Report, thread: Executor
    ) -> SessionImport | ThreadImport | UserImport | LooseMessageImport | RoomImport | RecordImport:
        match unit:
            case SessionUnit():
                namespace = options.namespace
                return SessionImport(
                    self._store, namespace, unit, report, thread, self._pace, writes=self._writes
                )
            case ThreadUnit():
                return ThreadImport(self._store, unit, report, thread, self._pace, writes=self._writes)
            case UserUnit():
                return UserImport(self._store, unit, report, writes=self._writes)
            case LooseMessageUnit():
                return LooseMessageImport(self._store, unit, report, writes=self._writes)
            case RoomUnit():
                return RoomImport(self._store, unit, report, thread, self._pace, writes=self._writes)
            case RecordUnit():
                return RecordImport(self._store, unit, report, writes=self._writes)


def _in_batches(units: Iterator[Unit]) -> Iterator[list[Unit]]:
    """Yield units in batches, in which there are not too many files."""
    batch: list[Unit] = []
    files = 0
    for unit in units:
        batch.append(unit)
        files += len(unit.files) if isinstance(unit, SessionUnit | ThreadUnit) else 0
        if len(batch) == _BATCH_UNITS or files > _BATCH_FILES:
            yield batch
            batch, files = [], 0
    if batch:
        yield batch


def _readable(units: Iterator[Unit], source: str) -> Generator[Unit]:
    """Yield the units of a source.

    Raises:
        SourceError: If something between them is not of its format.
    """
    try:
        yield from units
    except MongoStoreError:
        raise
    except UNREADABLE as error:
        raise SourceError(f"{source}: the source cannot be read to its end: {reason_of(error)}") from None


def _skip_done(units: Iterator[Unit], done: int, report: Report) -> Iterator[Unit]:
    """Yield the units behind the first ones, which an earlier import has stored and reported."""
    with report.muted():
        for _ in islice(units, done):
            pass
    yield from units
