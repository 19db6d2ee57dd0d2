"""`mongostore search`: words in the conversations of all houses, with excerpts."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, NamedTuple

import typer
from rich.padding import Padding
from rich.text import Text

from mongostore.cli.conversations import (
    Conversation,
    House,
    Part,
    list_conversations,
    list_parts,
    speaker_of,
)
from mongostore.cli.filters import Since, Until, to_filter
from mongostore.cli.formats import position_of, prefix_of
from mongostore.cli.terminal import (
    AsJson,
    Cursor,
    Database,
    OneNamespace,
    Uri,
    headline,
    open_to_look,
    out,
    plain,
    print_json_line,
    print_next_page,
    wants_json,
    warn,
)
from mongostore.repositories.search.texts import texts_in
from mongostore.repositories.search.words import Terms
from mongostore.store import AsyncMongoStore

_EXCERPTS = 3
# So many of the newest messages of a conversation are looked at for excerpts.
_LOOKED_AT = 1_000
_PAGE = 100
_BEFORE, _AFTER = 40, 120


class Hit(NamedTuple):
    """A conversation that has the words, with some of the messages in which they are."""

    conversation: Conversation
    parts: list[Part]


def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words, which are all in one message or name.")],
    house: Annotated[
        House | None, typer.Option(metavar="NAME", help="sessions, threads or rooms alone.")
    ] = None,
    namespace: OneNamespace = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="At most so many conversations.")
    ] = 20,
    cursor: Cursor = None,
    uri: Uri = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Search the conversations of all houses for words.

    Case and accents make no difference; a word of three letters or more is
    found as the beginning of one, too. The most recently active come first,
    each with the newest of its messages that have the words. In a pipe each
    is one line of JSON, and the cursor of the next page is on stderr.

    Examples:
      mongostore search "rose trees" --uri mongodb://localhost:27017
      mongostore search refund --house threads --since 90d --json
    """
    houses = [*House] if house is None else [house]
    filter = {"text": text, **to_filter(since, until, None, None)}
    as_json = wants_json(as_json)
    searching = _search(uri, database, houses, namespace, filter, limit, cursor, as_json)
    count, next_cursor = asyncio.run(searching)
    if not count and not as_json:
        out.print("Nothing found.")
    print_next_page(next_cursor, as_json)


async def _search(
    uri: str | None,
    database: str | None,
    houses: list[House],
    namespace: str | None,
    filter: dict[str, Any],
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> tuple[int, str | None]:
    """Print the conversations that are found, and return their number and the cursor of the next page."""
    count, terms = 0, Terms.parse(filter["text"])
    if terms is None:
        raise typer.BadParameter("there is nothing to search for", param_hint="TEXT")
    async with open_to_look(uri, database) as store:
        # The pages of a search may be short.
        while count < limit:
            page = await list_conversations(store, houses, namespace, filter, limit - count, cursor)
            for error in page.errors:
                warn(str(error))
            for one in page.items:
                hit = Hit(one, await _parts_with(store, one, terms))
                _print_json(hit) if as_json else _print(hit, terms)
            count, cursor = count + len(page.items), page.next_cursor
            if cursor is None:
                break
    return count, cursor


async def _parts_with(store: AsyncMongoStore, conversation: Conversation, terms: Terms) -> list[Part]:
    """Return the newest messages that have the terms, the newest first."""
    found: list[Part] = []
    cursor: str | None = None
    for _ in range(0, _LOOKED_AT, _PAGE):
        page = await list_parts(store, conversation, newest=True, limit=_PAGE, cursor=cursor)
        for part in reversed(page.items):
            if terms.is_in(_texts_of(part)):
                found.append(part)
                if len(found) == _EXCERPTS:
                    return found
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def _texts_of(part: Part) -> list[str]:
    return [*texts_in(part.content), *texts_in(part.data)]


def _print(hit: Hit, terms: Terms) -> None:
    one = hit.conversation
    title = plain(one.name or one.head.id, "bold")
    _highlight(title, terms)
    about = plain(f"{one.house.value.removesuffix('s')} {one.head.id}", "cyan")
    about.append_text(plain(f"  {one.person}" if one.person else "", "dim"))
    about.append_text(plain(f"  {one.active_at:%Y-%m-%d}", "dim"))
    out.print(headline(title, about), soft_wrap=True)
    for part in hit.parts:
        line = Text.assemble((prefix_of(part), "dim"), plain(speaker_of(part), "green"), " ")
        line.append_text(_excerpt(part, terms))
        out.print(Padding(line, (0, 0, 0, 2)))
    out.print()


def _excerpt(part: Part, terms: Terms) -> Text:
    """Return the text around the first of the words, with all of them highlighted."""
    texts = [*texts_in(part.content)]
    # The names and tool calls of a message are in its data.
    text = " ".join(" ".join(texts if terms.is_in(texts) else _texts_of(part)).split())
    first, _ = next(terms.spans(text), (0, 0))
    start, end = max(first - _BEFORE, 0), first + _AFTER
    if start:
        # Behind the word that would be cut.
        start = text.find(" ", start, first) + 1 or start
    excerpt = plain(text[start:end])
    _highlight(excerpt, terms)
    return Text.assemble("…" if start else "", excerpt, "…" if end < len(text) else "")


def _highlight(text: Text, terms: Terms) -> None:
    for span in terms.spans(text.plain):
        text.stylize("bold black on yellow", *span)


def _print_json(hit: Hit) -> None:
    one = hit.conversation
    messages = [
        {"id": part.id, "position": position_of(part).removeprefix("#") or None, "texts": _texts_of(part)}
        for part in hit.parts
    ]
    where = {"house": one.house.value} | ({"namespace": one.namespace} if one.namespace else {})
    print_json_line({**where, "id": one.head.id, "name": one.name, "messages": messages})
