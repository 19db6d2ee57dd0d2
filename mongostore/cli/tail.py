"""`mongostore tail`: the newest messages, and those that come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

import typer

from mongostore.cli import formats
from mongostore.cli.conversations import (
    Conversation,
    House,
    Part,
    find_conversation,
    iter_parts,
    list_conversations,
    list_parts,
)
from mongostore.cli.terminal import (
    AsJson,
    Database,
    Namespace,
    Uri,
    open_to_look,
    out,
    plain,
    print_json_line,
    wants_json,
    warn,
)
from mongostore.engines import Capability
from mongostore.errors import InvalidDocumentError
from mongostore.models import ChangeKind, Event, Message, MessageChange, Session, Thread
from mongostore.store import AsyncMongoStore

_POLL_SECONDS = 1.0


def tail(
    id: Annotated[
        str | None, typer.Argument(metavar="ID", help="The conversation; else the most recent ones.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    limit: Annotated[int, typer.Option("-n", "--limit", metavar="N", min=1, help="Begin with N.")] = 10,
    namespace: Namespace = "default",
    uri: Uri = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest messages, and follow them.

    With an id those of one conversation, in which -f shows edits and
    deletions, too; it goes on after a lost connection where it was. Without
    an id one line a conversation, and with -f another one whenever it becomes
    active.

    Examples:
      mongostore tail -f s1 --uri mongodb://localhost:27017
      mongostore tail -f --json | jq .id
    """
    with suppress(KeyboardInterrupt):
        asyncio.run(_tail(uri, database, id, follow, limit, namespace, wants_json(as_json)))


async def _tail(
    uri: str | None,
    database: str | None,
    id: str | None,
    follow: bool,
    limit: int,
    namespace: str,
    as_json: bool,
) -> None:
    async with open_to_look(uri, database) as store:
        if id is None:
            await _tail_all(store, namespace, limit, follow, as_json)
            return
        conversation = await find_conversation(store, id, None, None)
        errors: list[InvalidDocumentError] = []
        last: Part | None = None
        async for part in iter_parts(store, conversation, limit, errors):
            last = part
            _print_part(part, as_json)
        for error in errors:
            warn(str(error))
        if follow:
            async for part in _follow(store, conversation, last, as_json):
                _print_part(part, as_json)


async def _tail_all(store: AsyncMongoStore, namespace: str, limit: int, follow: bool, as_json: bool) -> None:
    """Print the most recently active conversations, and those that become so."""
    seen: dict[tuple[str, str], Any] = {}
    while True:
        page = await list_conversations(store, [*House], namespace, {}, limit, None)
        news = [one for one in page.items if seen.get((one.house, one.head.id)) != one.active_at]
        for one in reversed(news):
            seen[one.house, one.head.id] = one.active_at
            _print_conversation(one, as_json)
        if not follow:
            return
        limit = 100
        await asyncio.sleep(_POLL_SECONDS)


async def _follow(
    store: AsyncMongoStore, conversation: Conversation, last: Part | None, as_json: bool
) -> AsyncIterator[Part]:
    """Yield the messages or events that come after the last one."""
    head = conversation.head
    if Capability.CHANGE_STREAMS not in store.capabilities or isinstance(head, Thread):
        async for part in _poll(store, conversation, last):
            yield part
    elif isinstance(head, Session):
        async for part in _watch_session(store, conversation, head, last, as_json):
            yield part
    else:
        after = last.index if isinstance(last, Event) else None
        async for event in store.rooms.events.watch(head.id, after=-1 if after is None else after):
            yield event


async def _poll(store: AsyncMongoStore, conversation: Conversation, last: Part | None) -> AsyncIterator[Part]:
    """Yield what comes, of a house or a server that nothing can be watched in."""
    while True:
        for part in await _read_after(store, conversation, last):
            last = part
            yield part
        await asyncio.sleep(_POLL_SECONDS)


async def _read_after(store: AsyncMongoStore, conversation: Conversation, last: Part | None) -> list[Part]:
    """Return the messages or events after the last one."""
    found: list[Part] = []
    options: dict[str, Any] = {}
    if isinstance(last, Message | Event):
        options["after"] = last.position if isinstance(last, Message) else last.index
    elif last is not None:
        options["cursor"] = store.threads.messages.cursor_of(last)
    while True:
        page = await list_parts(store, conversation, limit=100, **options)
        found += page.items
        if page.next_cursor is None:
            return found
        options["cursor"] = page.next_cursor


async def _watch_session(
    store: AsyncMongoStore, conversation: Conversation, session: Session, last: Part | None, as_json: bool
) -> AsyncIterator[Part]:
    """Yield the messages that come, with those that came before the stream was open."""
    newest = _position_of(last)
    changes = store.sessions.in_namespace(session.namespace).messages.watch(session.id)
    waiting = asyncio.ensure_future(anext(changes, None))
    try:
        while True:
            done, _ = await asyncio.wait([waiting], timeout=_POLL_SECONDS)
            change = waiting.result() if done else None
            if done and change is None:
                return
            if change is not None:
                waiting = asyncio.ensure_future(anext(changes, None))
                if change.position is None or change.position <= newest:
                    if change.kind is not ChangeKind.APPEND:
                        _print_change(change, as_json)
                    if change.kind is ChangeKind.TRUNCATE:
                        last, newest = None, -1
                    continue
            for message in await _read_after(store, conversation, last):
                last, newest = message, _position_of(message)
                yield message
    finally:
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting


def _position_of(part: Part | None) -> int:
    """Return the position of a message, -1 without one."""
    return part.position or 0 if isinstance(part, Message) else -1


def _print_conversation(one: Conversation, as_json: bool) -> None:
    if as_json:
        print_json_line(one.to_json())
        return
    line = plain(f"{one.active_at:%Y-%m-%d %H:%M:%S}  ", "dim")
    line.append_text(plain(f"{one.house.value.removesuffix('s')} {one.head.id}", "cyan"))
    line.append_text(plain("  " + " · ".join(filter(None, (one.name, one.last)))))
    out.print(line, no_wrap=True, overflow="ellipsis")


def _print_part(part: Part, as_json: bool) -> None:
    if as_json:
        print_json_line(formats.part_members(part))
    else:
        out.print(formats.text_blocks(part))


def _print_change(change: MessageChange, as_json: bool) -> None:
    if as_json:
        members = formats.part_members(change.message) if change.message else {"position": change.position}
        print_json_line({"change": change.kind.value, **members})
        return
    position = "" if change.position is None else f" #{change.position}"
    out.print(plain(f"{change.kind.value}{position}", "dim"))
    if change.message:
        out.print(formats.text_blocks(change.message))
