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
        images: The address below which the images in it are, within the studio.
        look: How its author is drawn.
        whole: Whether nothing of it is left out.
    """

    anchor: str
    label: str
    path: str
    images: str
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
        is_whole = message.position in whole
        content = read_content(message.content, message.data, whole=is_whole)
        has_results = _end_calls(message, content, open_calls, is_whole)
        if has_results and not content.calls and (not content.blocks or "tool_call_id" in message.data):
            continue
        open_calls |= {call.id: call for call in content.calls if call.id and call.status == "open"}
        item = _session_item(message, content, path)
        item.whole, item.is_here = is_whole, message.position == at
        items.append(item)
    return items


def _end_calls(message: Message, content: Content, open_calls: dict[str, Call], whole: bool) -> bool:
    """End the calls whose results a message has, and return whether there are some.

    Results whose calls are elsewhere are calls without arguments.
    """
    results = dict(content.results)
    if isinstance(call_id := message.data.get("tool_call_id"), str):
        results[call_id] = message.content, _is_failure(message.content)
    known = {id: open_calls.pop(id) for id in results if id in open_calls}
    for id, call in known.items():
        result, failed = results[id]
        call.end(result, failed=failed, position=str(message.position))
        call.remark = call.remark or (shorten(_reason(result), 60) if failed else "")
    others = [(id, result) for id, (result, _) in content.results.items() if id not in known]
    content.calls += [Call(id, "result", result=result, whole=whole) for id, result in others]
    return bool(known)


def _session_item(message: Message, content: Content, path: str) -> Item:
    look, icon = look_of(message.role)
    return Item(
        f"m{message.position}",
        str(message.position),
        f"{path}/at/{message.position}",
        f"{path}/at/{message.position}/images",
        name_in(message.role, message.data, message.metadata),
        message.created_at,
        look,
        icon,
        _session_chips(message),
        content.blocks,
        content.calls,
        is_growing=message.status == "streaming",
    )


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
