"""Conversations in the forms of frameworks for agents: OpenAI's chat, Claude's messages, Pydantic AI's."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from mongostore.cli.conversations import Part, role_of, text_of
from mongostore.models import Event, Message

_DATA_URL = re.compile(r"data:([\w.+/-]{1,100});base64,")
_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system", "tool": "tool"}
# The members that a message of OpenAI's chat form may have beside its role and content.
_CHAT_MEMBERS = {
    *("name", "tool_calls", "tool_call_id"),
    *("refusal", "annotations", "audio", "function_call"),
}
_CHAT_PARTS = {"text", "image_url", "input_audio", "file", "refusal"}


@dataclass(frozen=True)
class Words:
    """A text."""

    role: str
    text: str


@dataclass(frozen=True)
class Image:
    """An image at an address, which may hold all of it."""

    role: str
    url: str


@dataclass(frozen=True)
class Call:
    """A call of a tool."""

    id: str
    name: str
    arguments: Any
    role: str = "assistant"

    @property
    def arguments_text(self) -> str:
        """The arguments as JSON text."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments or {})

    @property
    def arguments_dict(self) -> dict[str, Any]:
        """The arguments by name."""
        try:
            found = json.loads(self.arguments_text)
        except ValueError:
            found = self.arguments
        return found if isinstance(found, dict) else {"arguments": found}


@dataclass(frozen=True)
class Result:
    """The result of a call."""

    id: str
    text: str
    role: str = "tool"


Piece = Words | Image | Call | Result


@dataclass
class Turn:
    """Pieces of one role that follow each other.

    Attributes:
        part: The stored message in which they begin.
    """

    role: str
    pieces: list[Piece]
    part: Part

    def is_continued_by(self, other: Turn) -> bool:
        """Return whether another one is more calls, or results, of the same step."""
        return self.role == other.role and isinstance(other.pieces[0], Call | Result)


class OpenAIForm:
    """Messages of OpenAI's chat form."""

    async def messages(self, parts: AsyncIterator[Part]) -> AsyncIterator[dict[str, Any]]:
        """Yield the messages of a conversation; those that have that form already as they are."""
        async for turn in _turns(parts, _chat_turns):
            if not turn.pieces and isinstance(turn.part, Message):
                yield turn.part.to_openai()
            elif turn.role == "tool":
                for one in turn.pieces:
                    if isinstance(one, Result):
                        yield {"role": "tool", "tool_call_id": one.id, "content": one.text}
            else:
                yield _chat_message(turn)

    def end(self) -> dict[str, Any]:
        """Return the members beside the messages."""
        return {}


class ClaudeForm:
    """Messages of Claude's API, whose texts of the system stand beside them."""

    def __init__(self) -> None:
        self._system: list[str] = []

    async def messages(self, parts: AsyncIterator[Part]) -> AsyncIterator[dict[str, Any]]:
        """Yield the messages of a conversation."""
        async for turn in _turns(parts, _turns_of):
            if turn.role == "system":
                self._system += [one.text for one in turn.pieces if isinstance(one, Words)]
            else:
                role = "assistant" if turn.role == "assistant" else "user"
                yield {"role": role, "content": [_claude_block(one) for one in turn.pieces]}

    def end(self) -> dict[str, Any]:
        """Return the members beside the messages."""
        return {"system": "\n\n".join(self._system)} if self._system else {}


class PydanticForm:
    """Messages that `ModelMessagesTypeAdapter` of Pydantic AI reads."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    async def messages(self, parts: AsyncIterator[Part]) -> AsyncIterator[dict[str, Any]]:
        """Yield the messages of a conversation."""
        async for turn in _turns(parts, _turns_of):
            created_at = turn.part.created_at
            time = {"timestamp": created_at.isoformat()} if created_at else {}
            found = [*self._parts(turn)]
            if turn.role == "assistant":
                yield {"kind": "response", "parts": found, **time}
            else:
                yield {"kind": "request", "parts": [{**one, **time} for one in found]}

    def end(self) -> dict[str, Any]:
        """Return the members beside the messages."""
        return {}

    def _parts(self, turn: Turn) -> Iterator[dict[str, Any]]:
        if turn.role == "user":
            contents = [one.text if isinstance(one, Words) else _pydantic_image(one) for one in turn.pieces]
            is_text = len(contents) == 1 and isinstance(contents[0], str)
            yield {"part_kind": "user-prompt", "content": contents[0] if is_text else contents}
            return
        for one in turn.pieces:
            match one:
                case Words(text=text):
                    kind = "system-prompt" if turn.role == "system" else "text"
                    yield {"part_kind": kind, "content": text}
                case Image(url=url):
                    yield {"part_kind": "text", "content": url}
                case Call(id=id, name=name):
                    self._names[id] = name
                    members = {"tool_name": name, "args": one.arguments, "tool_call_id": id}
                    yield {"part_kind": "tool-call", **members}
                case Result(id=id, text=text):
                    members = {"tool_name": self._names.get(id, ""), "content": text, "tool_call_id": id}
                    yield {"part_kind": "tool-return", **members}


async def _turns(parts: AsyncIterator[Part], turns_of: Callable[[Part], list[Turn]]) -> AsyncIterator[Turn]:
    """Yield the turns of a conversation, calls or results of one step in one, as each form wants them."""
    open_turn: Turn | None = None
    async for part in parts:
        for turn in turns_of(part):
            if open_turn is not None and turn.pieces and open_turn.is_continued_by(turn):
                open_turn.pieces += turn.pieces
                continue
            if open_turn is not None:
                yield open_turn
            open_turn = turn
    if open_turn is not None:
        yield open_turn


def _turns_of(part: Part) -> list[Turn]:
    return [Turn(role, [*some], part) for role, some in groupby(_pieces(part), lambda one: one.role)]


def _chat_turns(part: Part) -> list[Turn]:
    """Return one turn without pieces for a message that has OpenAI's chat form already."""
    return [Turn("", [], part)] if isinstance(part, Message) and _is_chat(part) else _turns_of(part)


def _pieces(part: Part) -> Iterator[Piece]:
    role = _ROLES.get(role_of(part), "user")
    if role == "tool" and isinstance(id := part.data.get("tool_call_id"), str):
        yield Result(id, text_of(part.content))
        return
    yield from _read(part.content, role)
    beside = part.data.get("tool_calls")
    for call in beside if isinstance(beside, list) else ():
        match call:
            case {"id": id, "function": {"name": name, **rest}}:
                yield Call(str(id), str(name), rest.get("arguments"))


def _read(value: Any, role: str) -> Iterator[Piece]:
    """Yield the pieces of a content; thoughts, which belong to the model that had them, are left out."""
    match value:
        case None | "":
            return
        case list():
            for one in value:
                yield from _read(one, role)
        case {"type": "composite", "parts": list(parts)} if role != "tool":
            yield from _read(parts, role)
        case {"type": "thinking" | "reasoning" | "redacted_thinking"}:
            return
        case {"type": "system", "body": str(text)}:
            yield Words("system", text)
        case {"type": "tool_use", "id": id, "name": name}:
            yield Call(str(id), str(name), value.get("input"))
        case {"type": "tool_result", "tool_use_id": id}:
            yield Result(str(id), text_of(value.get("content")))
        case {"type": "image_url", "image_url": {"url": str(url)}} | {
            "type": "input_image",
            "image_url": str(url),
        }:
            yield Image(role, url)
        case {"type": "image", "source": {"media_type": str(kind), "data": str(data)}} | {
            "kind": "binary",
            "media_type": str(kind),
            "data": str(data),
        }:
            yield Image(role, f"data:{kind};base64,{data}")
        case {"type": "image", "source": {"url": str(url)}} | {"kind": "image-url", "url": str(url)}:
            yield Image(role, url)
        case _ if role == "tool":
            yield Result("", text_of(value))
        case _:
            yield Words(role, text_of(value))


def _is_chat(message: Message) -> bool:
    """Return whether a message has OpenAI's chat form already."""
    parts = message.content if isinstance(message.content, list) else []
    return (
        message.data.keys() <= _CHAT_MEMBERS
        and isinstance(message.content, str | list | None)
        and all(isinstance(part, dict) and part.get("type") in _CHAT_PARTS for part in parts)
    )


def _chat_message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": _chat_content(turn.pieces)}
    if isinstance(turn.part, Event) and turn.part.participant_id:
        message["name"] = turn.part.participant_id
    if calls := [_chat_call(one) for one in turn.pieces if isinstance(one, Call)]:
        message["tool_calls"] = calls
    return message


def _chat_content(pieces: Sequence[Piece]) -> Any:
    visible = [one for one in pieces if isinstance(one, Words | Image)]
    if not any(isinstance(one, Image) for one in visible):
        return "\n".join(one.text for one in visible if isinstance(one, Words)) or None
    return [
        {"type": "text", "text": one.text}
        if isinstance(one, Words)
        else {"type": "image_url", "image_url": {"url": one.url}}
        for one in visible
    ]


def _chat_call(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments_text}
    return {"id": call.id, "type": "function", "function": function}


def _claude_block(piece: Piece) -> dict[str, Any]:
    match piece:
        case Words(text=text):
            return {"type": "text", "text": text}
        case Image(url=url):
            found = _DATA_URL.match(url)
            inline = found and {"type": "base64", "media_type": found[1], "data": url[found.end() :]}
            return {"type": "image", "source": inline or {"type": "url", "url": url}}
        case Call(id=id, name=name):
            return {"type": "tool_use", "id": id, "name": name, "input": piece.arguments_dict}
        case Result(id=id, text=text):
            return {"type": "tool_result", "tool_use_id": id, "content": text}


def _pydantic_image(piece: Any) -> dict[str, Any]:
    if found := _DATA_URL.match(piece.url):
        return {"kind": "binary", "media_type": found[1], "data": piece.url[found.end() :]}
    return {"kind": "image-url", "url": piece.url}
