"""`mongostore show`: one conversation in the form that is asked for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated, Final

import typer

from mongostore.cli import formats
from mongostore.cli.agent_forms import ClaudeForm, OpenAIForm, PydanticForm
from mongostore.cli.conversations import Conversation, House, Part, find_conversation, iter_parts
from mongostore.cli.terminal import Database, Uri, headline, json_line, open_to_look, out, plain, warn
from mongostore.errors import InvalidDocumentError

_LIMIT = 50


class Form(StrEnum):
    """How a conversation is shown."""

    TEXT = "text"
    JSON = "json"
    OPENAI = "openai"
    CLAUDE = "claude"
    PYDANTIC = "pydantic"
    MARKDOWN = "markdown"
    HTML = "html"


AgentForm = OpenAIForm | ClaudeForm | PydanticForm
_AGENT_FORMS: Final[dict[Form, type[AgentForm]]] = {
    Form.OPENAI: OpenAIForm,
    Form.CLAUDE: ClaudeForm,
    Form.PYDANTIC: PydanticForm,
}


def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The id of a session, thread or room.")],
    form: Annotated[
        Form | None,
        typer.Option("--as", help="The form.", show_default="text; json in a pipe", case_sensitive=False),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="The newest N messages; 0 for all.", show_default="text: 50, else: 0"
        ),
    ] = None,
    house: Annotated[
        House | None, typer.Option(metavar="NAME", help="sessions, threads or rooms, if several have it.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(metavar="NAME", help="The namespace of the session, if several have it.")
    ] = None,
    uri: Uri = None,
    database: Database = None,
) -> None:
    """Show a conversation.

    As text it is the newest messages; as json a line for the conversation and
    one for each message; as openai, claude or pydantic one line of OpenAI's
    chat form, of Claude's messages, or of Pydantic AI's, with the texts,
    images, tool calls and results that any framework has stored; as markdown
    or html one file. An html file needs no other, runs nothing, loads
    nothing, and shows stored markup as text.

    Examples:
      mongostore show s1 --uri mongodb://localhost:27017
      mongostore show t1 --as html > t1.html
      mongostore show s1 --as json --limit 10 | jq .content
    """
    if form is None:
        form = Form.TEXT if out.is_terminal else Form.JSON
    if limit is None:
        limit = _LIMIT if form is Form.TEXT else 0
    for error in asyncio.run(_show(uri, database, id, form, limit, house, namespace)):
        warn(str(error))


async def _show(
    uri: str | None,
    database: str | None,
    id: str,
    form: Form,
    limit: int,
    house: House | None,
    namespace: str | None,
) -> list[InvalidDocumentError]:
    errors: list[InvalidDocumentError] = []
    async with open_to_look(uri, database) as store:
        conversation = await find_conversation(store, id, house, namespace)
        if make := _AGENT_FORMS.get(form):
            await _print_messages(make(), iter_parts(store, conversation, limit, errors))
            return errors
        _begin(conversation, form)
        count = 0
        async for part in iter_parts(store, conversation, limit, errors):
            _print(part, form)
            count += 1
        _end(conversation, form, count)
    return errors


async def _print_messages(form: AgentForm, parts: AsyncIterator[Part]) -> None:
    """Print the messages of a framework as one line."""
    _write('{"messages": [')
    separator = ""
    async for message in form.messages(parts):
        _write(separator + json_line(message))
        separator = ", "
    beside = form.end()
    _write(f"], {json_line(beside)[1:]}\n" if beside else "]}\n")


def _begin(conversation: Conversation, form: Form) -> None:
    head = conversation.head
    match form:
        case Form.TEXT:
            about = f"{conversation.house.value.removesuffix('s')} {head.id}"
            if conversation.person:
                about += f"  {conversation.person}"
            out.print(
                headline(plain(conversation.name or head.id, "bold"), plain(about, "dim")), soft_wrap=True
            )
            out.print()
        case Form.JSON:
            _write(json_line(conversation.to_json()) + "\n")
        case Form.MARKDOWN:
            _write(formats.markdown_head(conversation) + "\n")
        case Form.HTML:
            _write(formats.html_head(conversation))


def _print(part: Part, form: Form) -> None:
    match form:
        case Form.TEXT:
            out.print(formats.text_blocks(part))
        case Form.JSON:
            _write(json_line(formats.part_members(part)) + "\n")
        case Form.MARKDOWN:
            _write(formats.markdown_part(part) + "\n")
        case Form.HTML:
            _write(formats.html_part(part))


def _end(conversation: Conversation, form: Form, count: int) -> None:
    match form:
        case Form.TEXT:
            total = conversation.count
            if count == _LIMIT and (total is None or total > count):
                number = "" if total is None else f"{total:,} "
                out.print(plain(f"the newest {count} of {number}messages: --limit 0 for all", "dim"))
        case Form.HTML:
            _write(formats.html_end())


def _write(text: str) -> None:
    sys.stdout.write(text)
