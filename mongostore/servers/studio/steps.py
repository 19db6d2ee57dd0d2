"""The messages of a thread, of which some are steps of others, as a transcript."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mongostore.models import Element, Feedback, ThreadMessage
from mongostore.servers.studio.addresses import encode_id, path_to
from mongostore.servers.studio.content import read_content
from mongostore.servers.studio.formats import seconds
from mongostore.servers.studio.transcript import Chip, Item, look_of, name_in

# The types of messages that are said, and no steps.
_SPEAKERS = {"user_message": "user", "assistant_message": "assistant", "system_message": "system"}
_ICONS = {
    "tool": "wrench",
    "retrieval": "database",
    "embedding": "database",
    "rerank": "database",
    "llm": "bot",
}
_MOST_DEPTH = 3


@dataclass
class Step:
    """A step, as one line of a waterfall.

    Attributes:
        depth: How deep it is nested, 3 at most.
        left: Where its bar begins, of 200.
        width: How long the bar is.
        took: How long it took, in words.
    """

    id: str
    name: str
    icon: str
    depth: int
    failed: bool
    took: str
    left: float = 0.0
    width: float = 0.0
    kind: str = ""
    is_here: bool = False


@dataclass
class Turn(Item):
    """A message of a thread, with the steps that have led to it."""

    steps: list[Step] = field(default_factory=list)
    elements: list[Element] = field(default_factory=list)
    feedback: Feedback | None = None
    is_pinned: bool = False


def thread_turns(
    messages: Sequence[ThreadMessage],
    elements: Iterable[Element],
    path: str,
    *,
    at: str | None = None,
    first: int | None = 1,
    whole: bool = False,
) -> list[Turn]:
    """Return messages as a transcript, in which steps stand with the message that they have led to.

    Args:
        messages: The messages and steps, in order.
        elements: The things beside them.
        path: The address of the thread.
        at: The message, or step, that is selected.
        first: The number of the first one; None if it is not known.
        whole: Whether nothing is shortened.
    """
    known = {message.id: message for message in messages}
    by_message: dict[str, list[Element]] = {}
    for element in elements:
        by_message.setdefault(element.message_id, []).append(element)
    steps: dict[str, list[ThreadMessage]] = {}
    for message in messages:
        if not _is_spoken(message):
            steps.setdefault(_root(message, known), []).append(message)
    spoken = [message for message in messages if _is_spoken(message)]
    answered = {
        _root(message, known): message.id for message in reversed(spoken) if _speaker(message) != "user"
    }
    turns: list[Turn] = []
    for message in messages:
        root, is_spoken = _root(message, known), _is_spoken(message)
        # Where nothing was said at its end, the root stands for all.
        has_steps = answered.get(root, root) == message.id
        if not is_spoken and not has_steps:
            continue
        turn = _turn(message, path, by_message.get(message.id, []), at, whole)
        turn.label = "" if first is None else str(first + len(turns))
        turn.anchor = f"m{turn.label}" if is_spoken and first is not None else f"s{message.id}"
        if has_steps:
            own = steps.get(root, [])
            turn.steps = waterfall(own, known)
            others = [step for step in own if step is not message]
            turn.elements += [one for step in others for one in by_message.get(step.id, [])]
        turns.append(turn)
    for turn in turns:
        for line in turn.steps:
            line.is_here = line.id == at
        turn.is_here = turn.is_here or any(line.is_here for line in turn.steps)
    return turns


def _turn(message: ThreadMessage, path: str, elements: list[Element], at: str | None, whole: bool) -> Turn:
    role, is_here = _speaker(message), message.id == at
    # The link to all of a text selects its message.
    content = read_content(message.content, message.data, whole=whole or is_here)
    look, icon = look_of(role)
    took = seconds_of(message)
    chips = (
        [Chip(f"{message.data.get('type', 'step')}, {seconds(took)}", "opt")]
        if took and role != "user"
        else []
    )
    if message.pinned:
        chips.append(Chip("pinned", "acc opt"))
    return Turn(
        "",
        "",
        path_to(path, message.id),
        f"{path}/messages/{encode_id(message.id)}/images",
        name_in(role, message.data),
        message.created_at,
        look or ("p" if role == "user" else ""),
        icon,
        chips,
        content.blocks,
        content.calls,
        is_here=is_here,
        elements=list(elements),
        feedback=message.feedback,
        is_pinned=message.pinned,
    )


def waterfall(messages: Sequence[ThreadMessage], known: dict[str, ThreadMessage]) -> list[Step]:
    """Return the steps among messages in the order of their nesting, each run on a scale of its own."""
    steps = [message for message in messages if not _is_spoken(message)]
    runs: dict[str, list[tuple[float, float]]] = {}
    for step in steps:
        if span := _span(step):
            runs.setdefault(_root(step, known), []).append(span)
    # Hours may lie between two runs, beside which the bars of both would be dots.
    scales = {
        root: (begin := min(start for start, _ in spans), max(end for _, end in spans) - begin)
        for root, spans in runs.items()
    }
    lines = []
    for step in _nested(steps):
        took, span = seconds_of(step), _span(step)
        failed = step.data.get("isError") is True
        kind = str(step.data.get("type") or "step")
        icon = (
            "triangle-alert"
            if failed
            else _ICONS.get(kind, "git-branch" if kind in ("run", "step") else "bot")
        )
        line = Step(
            step.id,
            str(step.data.get("name") or kind),
            icon,
            min(_depth(step, known), _MOST_DEPTH),
            failed,
            "failed" if failed else (seconds(took) if took is not None else ""),
            kind="e" if failed else ("t" if kind in ("retrieval", "embedding", "rerank") else ""),
        )
        begin, whole = scales.get(_root(step, known), (0.0, 0.0))
        if span and whole > 0:
            line.left = round(200 * (span[0] - begin) / whole, 1)
            line.width = round(max(200 * (span[1] - span[0]) / whole, 2), 1)
        lines.append(line)
    return lines


def _nested(steps: Sequence[ThreadMessage]) -> list[ThreadMessage]:
    """Return steps in their order, each behind its parent."""
    ids = {step.id for step in steps}
    children: dict[str | None, list[ThreadMessage]] = {}
    for step in steps:
        children.setdefault(step.parent_id if step.parent_id in ids else None, []).append(step)
    ordered: list[ThreadMessage] = []
    pending = children.pop(None, [])[::-1]
    while pending:
        step = pending.pop()
        ordered.append(step)
        pending += children.pop(step.id, [])[::-1]
    # Those that are their own ancestors have no beginning.
    return ordered + [step for rest in children.values() for step in rest]


def _ancestors(message: ThreadMessage, known: dict[str, ThreadMessage]) -> list[ThreadMessage]:
    above: list[ThreadMessage] = []
    ids = {message.id}
    here = message
    while here.parent_id in known and here.parent_id not in ids:
        here = known[here.parent_id]
        ids.add(here.id)
        above.append(here)
    return above


def _root(message: ThreadMessage, known: dict[str, ThreadMessage]) -> str:
    """Return the id of the outermost step that a message belongs to; of one outside of all, its own."""
    above = [message, *_ancestors(message, known)]
    steps = [one for one in above if not _is_spoken(one)]
    return (steps or above)[-1].id


def _depth(step: ThreadMessage, known: dict[str, ThreadMessage]) -> int:
    return sum(not _is_spoken(one) for one in _ancestors(step, known))


def starts_exchange(message: ThreadMessage) -> bool:
    """Return whether it is a user's text, to which the following steps belong."""
    return message.parent_id is None and _is_spoken(message) and _speaker(message) == "user"


def _is_spoken(message: ThreadMessage) -> bool:
    kind = message.data.get("type")
    return kind in _SPEAKERS or not isinstance(kind, str)


def _speaker(message: ThreadMessage) -> str:
    kind = message.data.get("type")
    if isinstance(kind, str):
        return _SPEAKERS.get(kind, "assistant")
    role = message.data.get("role")
    return role if isinstance(role, str) and role else "message"


def _span(message: ThreadMessage) -> tuple[float, float] | None:
    start, end = (_moment(message.data.get(name)) for name in ("start", "end"))
    return None if start is None or end is None or end < start else (start, end)


def seconds_of(message: ThreadMessage) -> float | None:
    """Return how long a step took; None if it does not say so."""
    span = _span(message)
    return None if span is None else span[1] - span[0]


def _moment(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None
