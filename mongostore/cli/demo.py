"""`mongostore demo`: real dialogues stored, resumed and watched, step by step."""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.live import Live
from rich.progress import track
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from mongostore.cli.terminal import Database, Uri, err, open_store, out, plain, target_of, warn
from mongostore.codec import preview_text
from mongostore.engines import Capability
from mongostore.engines.mongod_process import MongodProcess
from mongostore.errors import ConfigurationError
from mongostore.importers.jsonl import line_digest
from mongostore.importers.lines import Importer, Line
from mongostore.index_definitions import IndexState
from mongostore.models import ChangeKind, Message
from mongostore.repositories.sessions import AsyncSessions
from mongostore.store import AsyncMongoStore

_NAMESPACE = "demo"
_LONG = "demo:all-in-one"
_LIVE = "demo:live"
_LONG_MESSAGES = 300
_WORDS = 40
_WORD_SECONDS = 0.03
# The position of a message by whose changes the writer learns that the watcher listens.
_MARKER_POSITION = 0
_SESSION_LIMIT = 12
_MESSAGE_LIMIT = 4
_FIRST_SCRIPT = """\
    store.sessions.ensure('first', user_id='ada')
    hello = Message(role='user', content='Hello?')
    store.sessions.messages.append('first', hello)
    for message in store.sessions.messages.iter('first'):
        print(message.role, message.content)"""


def demo(
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, help="Dialogues of yours, as `import` takes them."
        ),
    ] = None,
    uri: Uri = None,
    database: Database = None,
) -> None:
    """Store real dialogues, resume one, and watch another grow.

    Everything goes to the namespace "demo", and may be done again and again.
    Without a URI it happens inside this process, with nothing to install.

    Examples:
      mongostore demo
      mongostore demo --uri mongodb://localhost:27017 --file chats.jsonl
    """
    asyncio.run(_run_steps(file, uri, database))


async def _run_steps(file: Path | None, uri: str | None, database: str | None) -> None:
    uri = target_of(uri)
    if uri == "mongomock://":
        # Nameless data belong to one store; the demo opens a second.
        uri = "mongomock://demo"
    dialogues = _dialogues(file)
    async with open_store(uri, database, ensure_indexes=False) as store:
        await _open(store)
        ids = await _store(store.sessions.in_namespace(_NAMESPACE), dialogues)
    async with open_store(uri, database, ensure_indexes=False) as store:
        sessions = store.sessions.in_namespace(_NAMESPACE)
        await _resume(sessions, ids[0])
        await _list(sessions)
        await _watch(store, ids[0])
        await _measure(store)
        _show_code(store, database, ids[0])


def _join_names(capabilities: Iterable[Capability]) -> str:
    return ", ".join(capability.replace("_", " ") for capability in capabilities)


def _dialogues(file: Path | None) -> list[tuple[str, bytes]]:
    """Return the lines of a file, or of those that come with the package, each with its location."""
    shipped = (entry for entry in files("mongostore.samples").iterdir() if entry.name.endswith(".jsonl"))
    sources = [file] if file else sorted(shipped, key=lambda entry: entry.name)
    return [
        (f"{source.name}:{number}", line)
        for source in sources
        for number, line in enumerate(source.read_bytes().splitlines(), 1)
        if line.strip()
    ]


async def _open(store: AsyncMongoStore) -> None:
    _print_step(1, "Open a store")
    deployment = await store.describe()
    missing = [report for report in await store.check_indexes() if report.state is IndexState.MISSING]
    present = sum(report.state is IndexState.PRESENT for report in await store.apply_indexes())
    lacking = [capability for capability in Capability if capability not in store.capabilities]
    out.print(Text(f"{store.address}: {deployment.server}, {deployment.topology}"))
    if not store.engine.is_shared:
        out.print("This is the embedded engine: it lives in this process, and its data is lost at exit.")
    out.print(f"It has {_join_names(sorted(store.capabilities))}.")
    if lacking:
        out.print(f"It lacks {_join_names(lacking)}.")
    out.print(f"Indexes: {len(missing)} created, {present - len(missing)} there already.")


async def _store(sessions: AsyncSessions, dialogues: Sequence[tuple[str, bytes]]) -> list[str]:
    _print_step(2, "Store dialogues")
    importer = Importer(sessions, warn)
    await importer.run(_lines(dialogues))
    tally, ids = importer.tally, importer.session_ids
    if not ids:
        raise ConfigurationError("the file holds no messages; `mongostore import --help` shows its format")
    out.print(f"Sessions: {tally.new_sessions} stored, {tally.existing_sessions} there already.")
    out.print(f"Messages: {tally.new_messages} stored, {tally.existing_messages} there already.")
    count = await _store_in_one(sessions, ids)
    out.print(f"And {count} of them once more in one long session, a conversation each dialogue.")
    return ids


async def _lines(dialogues: Sequence[tuple[str, bytes]]) -> AsyncIterator[Line]:
    for location, line in track(
        dialogues, "storing", console=err, transient=True, disable=not err.is_terminal
    ):
        yield Line(location, line, Path(location.rpartition(":")[0]).stem)


async def _store_in_one(sessions: AsyncSessions, ids: Sequence[str]) -> int:
    await sessions.delete(_LONG)
    await sessions.create(_LONG, name="All in one")
    count = 0
    for session_id in ids:
        page = await sessions.messages.list(session_id)
        for message in page.items:
            copy = {"id": line_digest(session_id, message.id), "conversation_id": session_id}
            await sessions.messages.append(_LONG, message.model_copy(update=copy))
            count += 1
            if count == _LONG_MESSAGES:
                return count
    return count


async def _resume(sessions: AsyncSessions, session_id: str) -> None:
    _print_step(3, "Close the store, open it again, resume a dialogue")
    session = await sessions.get(session_id)
    name = plain(session.name or session.id, "bold")
    out.print(Text.assemble(name, f", {session.count:,} messages, the last:"))
    page = await sessions.messages.list(session_id, limit=_MESSAGE_LIMIT, newest=True)
    out.print(_chat(page.items))


async def _list(sessions: AsyncSessions) -> None:
    _print_step(4, "List the sessions, newest activity first")
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("session", no_wrap=True)
    table.add_column("messages", justify="right", no_wrap=True)
    table.add_column("last message")
    page = await sessions.list(limit=_SESSION_LIMIT)
    for session in page.items:
        last = plain(session.last.text if session.last else "", "dim")
        last.no_wrap, last.overflow = True, "ellipsis"
        table.add_row(plain(session.name or session.id), f"{session.count:,}", last)
    out.print(table)
    if page.next_cursor:
        out.print(f"… and {await sessions.count() - len(page.items):,} more.")


async def _watch(store: AsyncMongoStore, session_id: str) -> None:
    _print_step(5, "Watch a message grow")
    if Capability.CHANGE_STREAMS not in store.capabilities:
        out.print("Left out: a standalone server has no change streams, a replica set of one has.")
        return
    sessions = store.sessions.in_namespace(_NAMESPACE)
    script = (await sessions.messages.list(session_id, limit=2, newest=True)).items
    await sessions.delete(_LIVE)
    await sessions.create(_LIVE, name="Live")
    watching = asyncio.Event()
    with Live(console=out, refresh_per_second=20) as live:
        kinds, _ = await asyncio.gather(
            _tail(sessions, live, watching), _type_messages(sessions, script, watching)
        )
    if not out.is_terminal:
        out.print()
    changes = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
    out.print(f"One task wrote, another received: {changes}.")


async def _tail(sessions: AsyncSessions, live: Live, watching: asyncio.Event) -> Counter[ChangeKind]:
    """Show messages until the session is deleted, and return the number of changes of each kind."""
    kinds: Counter[ChangeKind] = Counter()
    visible: dict[str, Message] = {}
    async for change in sessions.messages.watch(_LIVE):
        watching.set()
        if change.position == _MARKER_POSITION:
            continue
        kinds[change.kind] += 1
        if change.message:
            visible[change.message.id] = change.message
            live.update(_chat(list(visible.values())))
    return kinds


async def _type_messages(sessions: AsyncSessions, script: Sequence[Message], watching: asyncio.Event) -> None:
    """Write the messages word by word, as a model streams them, and delete the session."""
    # The watcher listens once its stream is open, of which its first change is the only sign.
    marker = await sessions.messages.append(_LIVE, Message(role="system"))
    while not watching.is_set():
        await sessions.messages.update(_LIVE, marker.id, content="")
        await asyncio.sleep(_WORD_SECONDS)
    for message in script:
        words = preview_text(message.content).split()[:_WORDS]
        draft = Message(role=message.role, data=message.data, content="")
        await sessions.messages.append(_LIVE, draft)
        for number in range(1, len(words) + 1):
            await sessions.messages.update(_LIVE, draft.id, content=" ".join(words[:number]))
            await asyncio.sleep(_WORD_SECONDS)
    await sessions.delete(_LIVE)


async def _measure(store: AsyncMongoStore) -> None:
    _print_step(6, "See the collections")
    table = Table("collection", box=box.SIMPLE_HEAD)
    table.add_column("documents", justify="right")
    table.add_column("bytes", justify="right")
    for usage in await store.usage():
        if not usage.documents:
            continue
        table.add_row(usage.collection, f"{usage.documents:,}", f"{usage.bytes:,}")
    out.print(table)
    layout = await store.sessions.in_namespace(_NAMESPACE).describe_storage(_LONG)
    out.print(
        f"The long session keeps its newest {layout.in_tail} messages in its own document and "
        f"{layout.in_segments} older ones in {layout.segments} segments."
    )


def _show_code(store: AsyncMongoStore, database: str | None, session_id: str) -> None:
    if not store.engine.is_shared:
        _print_step(7, "Write your own")
        _show_first_script()
        return
    _print_step(7, "Read the same in Python")
    arguments = ", ".join(repr(value) for value in (store.address, database) if value)
    if Capability.TRANSACTIONS not in store.capabilities:
        arguments += ", transactions='off'"
    body = (
        f"    sessions = store.sessions.in_namespace({_NAMESPACE!r})\n"
        f"    for message in sessions.messages.iter({session_id!r}):\n"
        f"        print(message.role, message.content)"
    )
    _print_script("MongoStore", arguments, body)
    target = f"--uri {shlex.quote(store.address)}" + (
        f" --database {shlex.quote(database)}" if database else ""
    )
    out.print("\nTry next:")
    for command in (f"ls --namespace {_NAMESPACE}", f"show {session_id}", "studio"):
        out.print(Text(f"  mongostore {command} {target}"), soft_wrap=True)


def _show_first_script() -> None:
    """Show a script whose data last, if a server can run on this machine."""
    try:
        MongodProcess.find_binary()
    except ConfigurationError:
        _print_script("Message, MongoStore", "'mongomock://'", _FIRST_SCRIPT)
        out.print("It forgets at its end. To keep it, install mongostore[mongod] and run the demo again,")
        out.print("or use a server that you have: mongostore demo --uri mongodb://localhost:27017")
        return
    uri = f"mongod://{Path.cwd() / 'mongostore-data'}"
    _print_script("Message, MongoStore", repr(uri), _FIRST_SCRIPT)
    out.print("\nThe data last in that folder. Try next:")
    for command in ("ls", "show first", "studio"):
        out.print(Text(f"  mongostore {command} --uri {shlex.quote(uri)}"), soft_wrap=True)


def _print_script(names: str, arguments: str, body: str) -> None:
    code = f"from mongostore import {names}\n\nwith MongoStore({arguments}) as store:\n{body}"
    out.print(Syntax(code, "python", theme="ansi_dark", background_color="default", word_wrap=True))


def _print_step(number: int, text: str) -> None:
    out.print(Text.assemble("\n", (f"{number}", "bold cyan"), "  ", (text, "bold")))


def _chat(messages: Sequence[Message]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    for message in messages:
        name = message.data.get("name")
        speaker = plain(name if isinstance(name, str) else message.role)
        speaker.stylize("cyan" if message.role == "user" else "green")
        table.add_row(speaker, plain(preview_text(message.content)))
    return table
