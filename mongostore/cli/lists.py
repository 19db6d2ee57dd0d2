"""`mongostore ls`: the conversations of all houses."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from mongostore.cli.conversations import Conversation, House, list_conversations
from mongostore.cli.filters import Metadata, Participant, Since, Until, to_filter
from mongostore.cli.terminal import (
    AsJson,
    Cursor,
    Database,
    OneNamespace,
    Uri,
    open_to_look,
    out,
    plain,
    print_json_line,
    print_next_page,
    wants_json,
    warn,
)
from mongostore.models import Page

# A UUID.
_ID_WIDTH = 36
# A narrower terminal has no room for the user beside the id and the name.
_USERS_FROM = 100
# With less than this beside the id, the number of messages would leave nothing of the name.
_COUNTS_FROM = 50


def ls(
    house: Annotated[
        House | None,
        typer.Argument(metavar="HOUSE", show_default="all", help="Those of one house."),
    ] = None,
    namespace: OneNamespace = None,
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="The user of sessions and threads; leaves rooms out.")
    ] = None,
    since: Since = None,
    until: Until = None,
    text: Annotated[
        str | None, typer.Option(metavar="WORDS", help="With these words in a message or the name.")
    ] = None,
    metadata: Metadata = None,
    participant: Participant = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="At most so many.")] = 50,
    cursor: Cursor = None,
    uri: Uri = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """List conversations, the most recently active first.

    Sessions, threads and rooms together, or those of one house; rooms stand
    where they were created. In a pipe each is one line of JSON, and the
    cursor of the next page is on stderr.

    Examples:
      mongostore ls --uri mongodb://localhost:27017
      mongostore ls threads --user ada --since 7d --limit 20
      mongostore ls --metadata topic=tea --text "rose trees"
      mongostore ls sessions --json | jq -r .id
    """
    houses = [*House] if house is None else [house]
    filter = to_filter(since, until, metadata, participant) | ({} if text is None else {"text": text})
    if user is not None:
        houses, filter["user_id"] = [one for one in houses if one is not House.ROOMS], user
    page = asyncio.run(_list(uri, database, houses, namespace, filter, limit, cursor))
    for error in page.errors:
        warn(str(error))
    if wants_json(as_json):
        for one in page.items:
            print_json_line(one.to_json())
        print_next_page(page.next_cursor, as_json=True)
        return
    if not page.items:
        out.print("No conversations.")
        return
    out.print(_table(page.items))
    print_next_page(page.next_cursor, as_json=False)


async def _list(
    uri: str | None,
    database: str | None,
    houses: list[House],
    namespace: str | None,
    filter: dict[str, Any],
    limit: int,
    cursor: str | None,
) -> Page[Conversation]:
    async with open_to_look(uri, database) as store:
        return await list_conversations(store, houses, namespace, filter, limit, cursor)


def _table(found: list[Conversation]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("active", no_wrap=True, style="dim", min_width=6)
    table.add_column("house", no_wrap=True, min_width=8)
    # An id is to be copied: it is cut the last.
    ids = [_id(one) for one in found]
    longest = min(max(id.cell_len for id in ids), _ID_WIDTH)
    table.add_column("id", no_wrap=True, overflow="ellipsis", min_width=longest, max_width=longest)
    has_users = out.width >= _USERS_FROM
    if has_users:
        table.add_column("user", no_wrap=True, overflow="ellipsis", max_width=16)
    has_counts = out.width - longest >= _COUNTS_FROM
    if has_counts:
        table.add_column("messages", no_wrap=True, justify="right", min_width=8)
    table.add_column("name, newest message", no_wrap=True, overflow="ellipsis", ratio=1)
    now = datetime.now(UTC)
    for one, id in zip(found, ids, strict=True):
        label = plain(" · ".join(filter(None, (one.name, one.last))))
        label.stylize("bold", 0, len(one.name))
        table.add_row(
            age(one.active_at, now),
            one.house.value,
            id,
            *([plain(one.person)] if has_users else []),
            *(["" if one.count is None else f"{one.count:,}"] if has_counts else []),
            label,
        )
    return table


def _id(one: Conversation) -> Text:
    id = plain(one.head.id, "cyan")
    if one.namespace not in ("", "default"):
        id.append_text(plain(f"  {one.namespace}", "dim"))
    return id


def age(moment: datetime, now: datetime) -> str:
    """Return how long ago a time is, or the date if that is more than a week."""
    seconds = (now - moment).total_seconds()
    if seconds < 60:
        return "now"
    for size, limit, unit in ((60, 3600, "min"), (3600, 86400, "h"), (86400, 7 * 86400, "d")):
        if seconds < limit:
            return f"{int(seconds // size)} {unit}"
    return f"{moment:%Y-%m-%d}"
