"""The events of a room as pages show them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape

from mongostore.models import Binding, Event, RoomParticipant
from mongostore.servers.studio.content import read_content, shorten
from mongostore.servers.studio.formats import visible
from mongostore.servers.studio.transcript import Chip, Item, look_of

# Events that say something; all others say that something has happened.
_SPOKEN = frozenset({"message", "instruction"})
_CHANNELS = {
    "sms": "message-circle",
    "mms": "message-circle",
    "whatsapp": "message-circle",
    "email": "mail",
    "voice": "phone",
    "realtime_voice": "phone",
    "websocket": "globe",
    "web": "globe",
    "ai": "bot",
    "internal": "headset",
}
_WORDS = re.compile(r"\s+|[^\s]+")
_MOST_COMPARED = 4000
# Where lanes begin and end, in the units of the drawing.
_LEFT, _RIGHT = 70, 256
_LOOKS = ("bl", "o", "p", "")


@dataclass
class Entry(Item):
    """An event in a timeline.

    Attributes:
        kind: `said` for a message, `sys` for all else.
        html: The text of a `sys` event, or the difference of an edit.
        target: The index of the event that it changes, if that is in the page.
        reply: The index of the event that it replies to, likewise.
        deliveries: How it has reached each channel.
    """

    kind: str = "said"
    channel: str = ""
    channel_icon: str = "hash"
    html: Markup = field(default_factory=Markup)
    is_internal: bool = False
    is_deleted: bool = False
    target: int | None = None
    changed_by: int | None = None
    reply: int | None = None
    deliveries: list[Chip] = field(default_factory=list)


@dataclass(frozen=True)
class Lane:
    """A channel in the drawing of who said what when.

    Attributes:
        dots: The events, each by where it stands and its index.
        read: Up to where the channel has read.
    """

    channel: str
    look: str
    dots: list[tuple[float, int]]
    read: float | None


def timeline(
    events: Sequence[Event],
    participants: Iterable[RoomParticipant],
    path: str,
    *,
    at: int | None = None,
    replies: dict[str, Any] | None = None,
    whole: bool = False,
) -> list[Entry]:
    """Return events as a timeline; with `whole`, nothing is shortened."""
    names = {participant.id: name_of(participant) for participant in participants}
    looks = {name: _LOOKS[number % len(_LOOKS)] for number, name in enumerate(names)}
    by_id = {event.id: event for event in events}
    edits: dict[str, list[Event]] = {}
    for event in events:
        if event.change is not None and event.target_event_id is not None:
            edits.setdefault(event.target_event_id, []).append(event)
    entries = []
    for event in events:
        entry = _entry(event, names, looks, path, at, whole)
        target = by_id.get(event.target_event_id or "")
        entry.target = target.index if target else None
        changes = edits.get(event.id, [])
        if changes:
            entry.changed_by = changes[-1].index
        answered = by_id.get(event.responds_to or "") or by_id.get(event.parent_event_id or "")
        entry.reply = answered.index if answered else None
        if event.metadata.get("deleted") is True or any(change.change == "delete" for change in changes):
            entry.is_deleted, entry.blocks = True, []
        elif len(texts := [text for change in changes if (text := _new_text(change)) is not None]) > 1:
            # What it was at first is stored no more; what an edit has replaced is.
            entry.html = difference(texts[-2], texts[-1])
        if summary := (replies or {}).get(event.id):
            entry.chips.append(Chip(f"{summary.count} replies" if summary.count != 1 else "1 reply", "out"))
        entries.append(entry)
    return entries


def _entry(
    event: Event, names: dict[str, str], looks: dict[str, str], path: str, at: int | None, whole: bool
) -> Entry:
    index = event.index or 0
    name = names.get(event.participant_id or "", event.participant_id or event.channel_id)
    is_bot = event.channel_type == "ai"
    look, icon = look_of("assistant") if is_bot else (looks.get(event.participant_id or "", ""), "")
    content = read_content(event.content, whole=whole)
    entry = Entry(
        f"e{index}",
        str(index),
        f"{path}/at/{index}",
        f"{path}/at/{index}/images",
        name,
        event.created_at,
        look,
        icon,
        [],
        content.blocks,
        content.calls,
        is_here=index == at,
        kind="said" if event.type in _SPOKEN or (content.calls and not event.change) else "sys",
        channel=event.channel_id,
        channel_icon=_CHANNELS.get(event.channel_type or "", _CHANNELS.get(event.channel_id, "hash")),
    )
    entry.is_internal = event.visibility == "internal"
    entry.deliveries = [*_deliveries(event.delivery_results)]
    if event.status in ("blocked", "failed"):
        entry.chips.append(Chip(event.status, "bad", "x"))
    if entry.kind == "sys":
        entry.html = _describe(event, name)
    return entry


def _describe(event: Event, name: str) -> Markup:
    """Return what a page says of an event that says nothing itself."""
    if event.change is not None:
        return Markup("{} {}").format(visible(name), "edited" if event.change == "edit" else "deleted")
    content = event.content if isinstance(event.content, dict) else {}
    body = content.get("body") if isinstance(content.get("body"), str) else None
    words = event.type.replace("_", " ")
    if body:
        return escape(visible(body[:500]))
    rest = shorten(event.content, 160) if event.content not in (None, {}) else ""
    return Markup('{} <span class="mono">{}</span> {}').format(visible(name), words, rest)


def _deliveries(results: dict[str, Any]) -> Iterable[Chip]:
    for channel, result in list(results.items())[:20]:
        match result:
            case {"status": "failed"} | {"success": False}:
                yield Chip(f"{channel}: {_failure(result)}", "bad", "x")
            case {"status": "queued" | "pending"}:
                yield Chip(f"{channel}, waiting", "warn", "clock")
            case {"duration_ms": int() | float() as took}:
                yield Chip(f"{channel}, {took:.0f} ms", "acc", "check")
            case _:
                yield Chip(channel, "acc", "check")


def _failure(result: dict[str, Any]) -> str:
    error = result.get("error")
    if isinstance(error, dict):
        error = error.get("message") or error.get("code")
    tries = result.get("attempts")
    text = shorten(error, 80) if error else "failed"
    return f"{text}, {tries} tries" if isinstance(tries, int) and tries > 1 else text


def _new_text(change: Event) -> str | None:
    content = change.content if isinstance(change.content, dict) else {}
    new = content.get("new_content")
    text = new.get("body") if isinstance(new, dict) else new
    return text if change.change == "edit" and isinstance(text, str) else None


def difference(old: str, new: str) -> Markup:
    """Return a text with what an edit has taken out and put in."""
    before, after = (_WORDS.findall(visible(text[:_MOST_COMPARED])) for text in (old, new))
    parts: list[Markup] = []
    for kind, start, end, begin, stop in difflib.SequenceMatcher(
        None, before, after, autojunk=False
    ).get_opcodes():
        if kind == "equal":
            parts.append(escape("".join(before[start:end])))
            continue
        if end > start:
            parts.append(Markup("<del>{}</del>").format("".join(before[start:end])))
        if stop > begin:
            parts.append(Markup("<ins>{}</ins>").format("".join(after[begin:stop])))
    return Markup("").join(parts)


def lanes(
    events: Sequence[Event],
    bindings: Iterable[Binding],
    read: dict[str, int],
) -> list[Lane]:
    """Return the channels of a page of events, each with its events and how far it has read."""
    if not events:
        return []
    first, last = events[0].index or 0, events[-1].index or 0
    step = (_RIGHT - _LEFT) / max(last - first, 1)
    channels = dict.fromkeys(
        [*(binding.channel_id for binding in bindings), *(event.channel_id for event in events)]
    )
    looks = ("", "w", "v", "m")
    return [
        Lane(
            channel,
            looks[number % len(looks)],
            [
                (round(_LEFT + ((event.index or 0) - first) * step, 1), event.index or 0)
                for event in events
                if event.channel_id == channel
            ],
            round(_LEFT + (min(max(read[channel], first), last) - first) * step, 1)
            if channel in read
            else None,
        )
        for number, channel in enumerate([*channels][:12])
    ]


def name_of(participant: RoomParticipant) -> str:
    """Return the name of a participant of a room."""
    for key in ("display_name", "name"):
        if isinstance(name := participant.data.get(key), str) and name:
            return name
    return participant.id
