"""Messages, steps and events as pages show them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mongostore.errors import InvalidDocumentError
from mongostore.models import Message
from mongostore.servers.studio.content import (
    Block,
    Call,
    Content,
    images_in,
    read_calls,
    read_content,
    shorten,
)


@dataclass(frozen=True)
class Chip:
    """A short remark beside a name.

    Attributes:
        style: How it looks; `opt` where there is room alone.
        icon: The icon before it.
        path: Where it leads, within the studio or the page.
    """

    text: str
    style: str = ""
    icon: str = ""
    path: str = ""


@dataclass
class Item:
    """One thing said.

    Attributes:
        anchor: Its id in the page.
        label: Its position, as people name it.
        path: The address of all about it, within the studio.
        look: How its author is drawn.
        whole: Whether nothing of it is left out.
    """

    anchor: str
    label: str
    path: str
    name: str
    at: datetime | None
    look: str = ""
    icon: str = ""
    chips: list[Chip] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    whole: bool = False
    is_here: bool = False
    is_growing: bool = False


# How the authors of messages are drawn, by their roles.
_LOOKS = {
    "assistant": ("a", "bot"),
    "ai": ("a", "bot"),
    "model": ("a", "bot"),
    "tool": ("t", "wrench"),
    "function": ("t", "wrench"),
    "system": ("s", "lock"),
    "developer": ("s", "lock"),
}


def look_of(role: str) -> tuple[str, str]:
    """Return how the author of a role is drawn, and the icon; no icon for an initial."""
    return _LOOKS.get(role.lower(), ("", ""))


def name_in(role: str, *sources: dict[str, Any]) -> str:
    """Return who speaks: the name that one of these sources has, else the role."""
    for source in sources:
        if isinstance(name := source.get("name"), str) and name:
            return name.replace("_", " ")
    return role


def session_items(
    messages: Sequence[Message],
    path: str,
    *,
    at: int | None = None,
    whole: Container[int] = (),
) -> list[Item]:
    """Return messages as a transcript: results of tools stand with the calls, where both are there.

    Args:
        messages: The messages, in order.
        path: The address of the session.
        at: The position that is selected.
        whole: The positions of messages that are not shortened.
    """
    items: list[Item] = []
    open_calls: dict[str, Call] = {}
    for message in messages:
        position = message.position or 0
        content = read_content(message.content, whole=position in whole)
        joined = _join_results(message, content, open_calls)
        content.calls += read_calls(message.data)
        for id, (result, _) in content.results.items():
            if id not in joined:
                content.calls.append(Call(id, "result", None, result))
        for call in content.calls:
            call.whole = position in whole
        for image in images_in(message.data):
            content.add_image(image)
        if joined and not content.calls and (not content.blocks or "tool_call_id" in message.data):
            continue
        open_calls |= {call.id: call for call in content.calls if call.id and call.status == "open"}
        look, icon = look_of(message.role)
        item = Item(
            anchor=f"m{position}",
            label=str(position),
            path=f"{path}/at/{position}",
            name=name_in(message.role, message.data, message.metadata),
            at=message.created_at,
            look=look,
            icon=icon,
            chips=_session_chips(message),
            blocks=content.blocks,
            calls=content.calls,
            whole=position in whole,
            is_here=position == at,
            is_growing=message.status == "streaming",
        )
        items.append(item)
    return items


def _join_results(message: Message, content: Content, open_calls: dict[str, Call]) -> set[str]:
    """Give the results that a message has to the calls that wait for them, and return the calls' ids."""
    results = dict(content.results)
    if isinstance(call_id := message.data.get("tool_call_id"), str):
        results[call_id] = message.content, _is_failure(message.content)
    joined = results.keys() & open_calls.keys()
    for id in joined:
        call, (result, failed) = open_calls.pop(id), results[id]
        call.end(result, failed=failed, position=str(message.position or 0))
        call.remark = call.remark or (shorten(_reason(result), 60) if failed else "")
    return joined


def is_of_tools(message: Message) -> bool:
    """Return whether a message calls tools, or has what one of them has returned."""
    content = read_content(message.content)
    return bool(
        content.calls or content.results or "tool_call_id" in message.data or "tool_calls" in message.data
    )


def with_unreadable(
    items: Sequence[Item], errors: Sequence[InvalidDocumentError]
) -> list[Item | InvalidDocumentError]:
    """Return messages in their order, with those that could not be read where they stand."""
    sources = {id(item): int(item.label) for item in items}
    both: list[Item | InvalidDocumentError] = [*items, *errors]
    return sorted(both, key=lambda one: sources.get(id(one), getattr(one, "position", None) or 0))


def _session_chips(message: Message) -> list[Chip]:
    chips = []
    if message.status == "streaming":
        chips.append(Chip("being written", "acc"))
    elif message.status == "interrupted":
        chips.append(Chip("interrupted", "warn"))
    for source in (message.data, message.metadata):
        if isinstance(model := source.get("model"), str):
            chips.append(Chip(model, "opt"))
            break
    if message.updated_at and message.created_at and message.updated_at > message.created_at:
        chips.append(Chip("changed", "out opt"))
    return chips


def _is_failure(result: Any) -> bool:
    return isinstance(result, dict) and bool(result.get("error"))


def _reason(result: Any) -> Any:
    return result.get("error") if isinstance(result, dict) and result.get("error") else result
