"""`mongostore import` and `mongostore export`: conversations from elsewhere, and to JSON lines."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, nullcontext, suppress
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mongostore.cli.conversations import House
from mongostore.cli.import_sources import import_source, print_report
from mongostore.cli.terminal import (
    Database,
    Namespace,
    Uri,
    err,
    fail_after,
    open_store,
    open_to_look,
    out,
    plain,
    record_counter,
    warn,
)
from mongostore.errors import InvalidDocumentError, NotFoundError
from mongostore.importers import Options, names
from mongostore.importers.archive import Archive
from mongostore.importers.batches import in_thread
from mongostore.importers.jsonl import message_members, session_members, write_line
from mongostore.importers.lines import Importer, Line, Tally
from mongostore.importers.sources import refuse_compressed
from mongostore.importers.whole_files import whole_file
from mongostore.models import Session
from mongostore.repositories.daemon_threads import DaemonThreads
from mongostore.repositories.sessions import AsyncSessions

_STDIO = Path("-")
_BLOCK_BYTES = 256 * 1024


def _complete_source(context: typer.Context, incomplete: str) -> list[str]:
    """Return the sources that may be meant; behind the first place the shell completes files."""
    if context.params.get("arguments"):
        return []
    return [name for name in sorted(names()) if name.startswith(incomplete)]


def import_conversations(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[SOURCE] PATH|URI",
            help="JSON lines, - for stdin; or a source and its place.",
            autocompletion=_complete_source,
        ),
    ],
    namespace: Namespace = "default",
    session: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The session of messages that name none; else the file's name."),
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="ID", help="The user of all sessions.")] = None,
    files: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the source keeps its files.")
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=OTHER", help="Another name of a table or collection of the source."),
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(metavar="NAME=OTHER", help="Another name of a key of the source.")
    ] = None,
    source_timezone: Annotated[
        str, typer.Option(metavar="NAME", help="The zone of the source's times that name none.")
    ] = "UTC",
    include_deleted: Annotated[bool, typer.Option(help="Take what is softly deleted, too.")] = False,
    include_temporary: Annotated[bool, typer.Option(help="Take what is to expire, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare, and write nothing.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Begin a cut-short import anew.")] = False,
    verify: Annotated[bool, typer.Option(help="Read back what was written.")] = True,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as JSON, with a digest a unit.")
    ] = None,
    uri: Uri = None,
    database: Database = None,
) -> None:
    """Import conversations from JSON lines, or from another program.

    A line is a conversation, as OpenAI's files have it, or one message:
      {"id": …, "name": …, "messages": [{"role": …, "content": …}, …]}
      {"session_id": …, "role": …, "content": …}

    Ids may be left out: a message that was imported before is recognized by
    its content, so a file may be imported twice, or anew when it has grown.
    Members that are not ours go into the data of the message or session.

    A session that is there keeps its name and other members. Bad lines, and
    messages whose id is stored with other content, are named on stderr, and
    the others are imported; the exit code is then 1.

    Sources: agents, chainlit, chatgpt, claude, director, langchain,
    librechat, mongostore, openai, openwebui, roomkit, sharegpt, threadmem.
    No source is ever written. Ids, order and times are kept, a second import
    stores nothing twice, and one that was interrupted continues where it was.
    All that is stored is read back and compared, and each row that is not is
    named.

    Examples:
      mongostore import chats.jsonl --uri mongodb://localhost:27017
      gunzip -c log.jsonl.gz | mongostore import - --session support
      mongostore import chatgpt export.zip --namespace ada --dry-run
      mongostore import chainlit chainlit.db --files ./files
      mongostore import langchain mongodb://localhost/chat_history
    """
    source = arguments[0]
    if source not in names() or Path(source).is_file():
        tally = asyncio.run(_import(_check_files(arguments), namespace, session, uri, database))
        out.print(_table(tally))
        raise typer.Exit(0 if tally.complete else 1)
    if len(arguments) != 2:
        raise typer.BadParameter(f"{source} wants one path or URI")
    options = Options(
        namespace=namespace,
        user_id=user,
        files=files,
        tables=_pairs(table),
        keys=_pairs(key),
        source_timezone=source_timezone,
        with_deleted=include_deleted,
        with_temporary=include_temporary,
    )
    work = import_source(
        source,
        arguments[1],
        options,
        uri=uri,
        database=database,
        dry_run=dry_run,
        restart=restart,
        verify=verify,
        has_digests=report is not None,
    )
    done = asyncio.run(work)
    print_report(done, dry_run=dry_run, file=report)
    raise typer.Exit(0 if done.is_complete else 1)


def _pairs(texts: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts or ()]
    if not all(name and value for name, _, value in pairs):
        raise typer.BadParameter("must be NAME=OTHER")
    return {name: value for name, _, value in pairs}


def export_lines(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", dir_okay=False, help="- is stdout; .zip is an archive.", show_default="-"
        ),
    ] = _STDIO,
    namespace: Namespace = "default",
    session: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only this session; may be repeated."),
    ] = None,
    messages: Annotated[
        bool,
        typer.Option("--messages", help="One line a message: for sessions that are larger than the memory."),
    ] = False,
    house: Annotated[
        list[House] | None,
        typer.Option(metavar="NAME", help="Of an archive: sessions, threads or rooms; may be repeated."),
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="Of an archive: the user of sessions and threads.")
    ] = None,
    uri: Uri = None,
    database: Database = None,
) -> None:
    """Export conversations as JSON lines, one a session, or all as an archive.

    A file that ends in .zip holds everything, in all namespaces: sessions,
    threads, rooms, users, identities and files. `mongostore import mongostore
    FILE.zip` imports it, equal.

    The sessions come oldest activity first, so that an import keeps their
    order; deleted ones are left out. An import of the file gives the same:
    messages with their order, ids, times, data and metadata; sessions with
    their names, data, metadata, context and created_at, and as active as
    their newest message is. Sessions and messages that cannot be read are
    left out and named on stderr, and the exit code is then 1.

    Examples:
      mongostore export backup.jsonl --uri mongodb://localhost:27017
      mongostore export --session s1 --messages | head
      mongostore export all.zip
      mongostore export ada.zip --house threads --user u1
    """
    if file.suffix == ".zip":
        archive = asyncio.run(_export_archive(file, house, user, uri, database))
        for warning in archive.warnings:
            warn(warning)
        err.print(
            "exported " + ", ".join(f"{name}: {count:,}" for name, count in archive.counts.items()),
            soft_wrap=True,
        )
        return
    errors: list[InvalidDocumentError] = []
    counts = asyncio.run(_export(file, namespace, session or [], messages, uri, database, errors))
    err.print("exported sessions: {:,}, messages: {:,}".format(*counts))
    fail_after([*map(str, errors)])


async def _export_archive(
    file: Path, houses: Sequence[House] | None, user: str | None, uri: str | None, database: str | None
) -> Archive:
    async with open_to_look(uri, database) as store:
        archive = Archive(store, user_id=user)
        with record_counter(lambda: archive.counts.total()):
            await archive.write(file, houses or [*House])
        return archive


def _check_files(names: list[str]) -> list[Path]:
    files = [Path(name) for name in names]
    for file in files:
        if file != _STDIO and (file.is_dir() or not file.exists()):
            raise typer.BadParameter(f"there is no file {str(file)!r}")
        if file.is_file():
            refuse_compressed(file)
    return files


async def _import(
    files: Sequence[Path], namespace: str, session: str | None, uri: str | None, database: str | None
) -> Tally:
    async with open_store(uri, database) as store:
        if not store.engine.is_shared:
            warn(f"{store.engine.address} loses all data when this command ends: name a server with --uri")
        importer = Importer(store.sessions.in_namespace(namespace), warn)
        with _progress() as progress:
            async with aclosing(_lines(files, session, progress)) as lines:
                await importer.run(lines)
    return importer.tally


async def _export(
    file: Path,
    namespace: str,
    session_ids: Sequence[str],
    one_a_line: bool,
    uri: str | None,
    database: str | None,
    errors: list[InvalidDocumentError],
) -> tuple[int, int]:
    """Write lines, and return how many sessions and messages; errors of what cannot be read go to a list."""
    count = message_count = 0
    async with open_to_look(uri, database) as store:
        sessions = store.sessions.in_namespace(namespace)
        # Oldest activity first, so that after an import the sessions are listed in the same order.
        known = [] if session_ids else [(one.active_at, one.id) async for one in sessions.iter(errors=errors)]
        wanted = session_ids or [session_id for _, session_id in sorted(known)]
        with (
            nullcontext(sys.stdout.buffer) if file == _STDIO else whole_file(file) as target,
            nullcontext() if file == _STDIO else record_counter(lambda: message_count),
        ):
            for session_id in wanted:
                # One that the command does not name may be deleted before all of it is read.
                with suppress(*([] if session_ids else [NotFoundError])):
                    session = await sessions.get(session_id)
                    async for line, messages in _lines_of(sessions, session, one_a_line, errors):
                        target.write(line)
                        message_count += messages
                    count += 1
    return count, message_count


async def _lines_of(
    sessions: AsyncSessions, session: Session, one_a_line: bool, errors: list[InvalidDocumentError]
) -> AsyncIterator[tuple[bytes, int]]:
    """Yield the lines of a session, each with the number of messages in it."""
    head = session_members(session)
    if session.has_context:
        head["context"] = await sessions.context.get(session.id)
    messages = sessions.messages.iter(session.id, errors=errors)
    if not one_a_line:
        members = [message_members(message) async for message in messages]
        yield write_line({**head, "messages": members}), len(members)
        return
    yield write_line({**head, "messages": []}), 0
    async for message in messages:
        yield write_line({"session_id": session.id, **message_members(message)}), 1


def _progress() -> Progress:
    name = TextColumn("{task.description}", markup=False)
    columns = name, BarColumn(), DownloadColumn(), TimeRemainingColumn()
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


async def _lines(files: Sequence[Path], session: str | None, progress: Progress) -> AsyncGenerator[Line]:
    """Yield the lines of files that are not blank."""
    for file in files:
        name, default = ("stdin", "stdin") if file == _STDIO else (str(file), file.stem)
        first = 1
        # A pipe may let its reader wait for as long as it likes.
        async with aclosing(in_thread(DaemonThreads(), _read(file, progress))) as blocks:
            async for block in blocks:
                for number, text in enumerate(block, first):
                    if text.strip():
                        yield Line(f"{name}:{number}", text, default if session is None else session)
                first += len(block)


def _read(file: Path, progress: Progress) -> Iterator[list[bytes]]:
    """Yield the lines of a file in blocks, showing how far it is read."""
    with nullcontext(sys.stdin.buffer) if file == _STDIO else file.open("rb") as source:
        total = file.stat().st_size if file.is_file() else None
        task = progress.add_task(plain(file.name).plain, total=total)
        while block := source.readlines(_BLOCK_BYTES):
            yield block
            progress.advance(task, sum(map(len, block)))


def _table(tally: Tally) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for title in ("read", "new", "already there", "refused"):
        table.add_column(title, justify="right")
    sessions = tally.new_sessions + tally.existing_sessions
    for name, *numbers in (
        ("lines", tally.lines, None, None, tally.refused_lines),
        ("sessions", sessions, tally.new_sessions, tally.existing_sessions, None),
        ("messages", tally.messages, tally.new_messages, tally.existing_messages, tally.refused_messages),
    ):
        table.add_row(name, *("" if number is None else f"{number:,}" for number in numbers))
    return table
