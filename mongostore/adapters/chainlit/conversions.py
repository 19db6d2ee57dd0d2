"""Chainlit's dicts as values of the store, and back; what comes from Chainlit is never changed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

from chainlit.element import Element, ElementDict
from chainlit.step import StepDict
from chainlit.types import FeedbackDict, ThreadDict
from chainlit.user import PersistedUser

from mongostore import models
from mongostore.models.threads import element_file_key

# As long as Chainlit's own layer lets names be; the first message, which a name is made of, is kept whole.
NAME_CHARACTERS = 255
# Set by the route that shares a thread, and copied by the sessions that resume it.
SHARING = ("is_shared", "shared_at")
_OF_STEP = ("id", "threadId", "parentId", "output", "feedback")
_OF_ELEMENT = ("id", "threadId", "forId", "objectKey")


def to_text(time: datetime) -> str:
    """Return a time as Chainlit writes it."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def from_text(text: object) -> datetime | None:
    """Return the time in a text, in UTC unless the text has another zone; None if there is none."""
    with suppress(TypeError, ValueError):
        time = datetime.fromisoformat(cast(str, text))
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    return None


def to_user(user: models.User | None) -> PersistedUser | None:
    """Return a stored user as Chainlit knows them."""
    if user is None:
        return None
    return PersistedUser(
        id=user.id,
        identifier=user.identifier,
        metadata=to_plain(user.metadata),
        createdAt=to_text(user.created_at),
    )


def to_plain(value: Any) -> Any:
    """Return a value as strict JSON in UTF-8 can say it: what cannot be sent would hide all else."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, list) else value


def from_step(step: Mapping[str, Any], *, is_start: bool) -> models.ThreadMessageUpdate:
    """Return the members of a message in a step: all keys, but an update by None changes nothing."""
    members = models.ThreadMessageUpdate(
        data={
            key: value
            for key, value in step.items()
            if key not in _OF_STEP and (is_start or value is not None)
        }
    )
    if step.get("parentId") is not None:
        members["parent_id"] = step["parentId"]
    if step.get("output") is not None:
        members["content"] = step["output"]
    if (created_at := from_text(step.get("createdAt"))) is not None:
        members["created_at"] = created_at
    if step.get("metadata") is not None:
        members["pinned"] = step["metadata"].get("favorite") is True
    return members


def to_step(message: models.ThreadMessage) -> StepDict:
    """Return a stored message as a step."""
    assert message.created_at is not None, "a stored message has its time"
    data = to_plain(message.data)
    step = {
        **data,
        "id": message.id,
        "threadId": message.thread_id,
        "parentId": message.parent_id,
        "createdAt": data.get("createdAt") or to_text(message.created_at),
        "output": "" if message.content is None else to_plain(message.content),
        "metadata": data.get("metadata") or {},
        # No server streams it any more, even if the one that did has died.
        "streaming": False,
        "feedback": None if message.feedback is None else _to_feedback(message.feedback),
    }
    return cast(StepDict, step)


def _to_feedback(feedback: models.Feedback) -> FeedbackDict:
    return cast(
        FeedbackDict,
        {
            "id": feedback.id,
            "forId": feedback.message_id,
            "value": feedback.value,
            "comment": feedback.comment,
        },
    )


def parents_first(steps: Iterable[StepDict]) -> list[StepDict]:
    """Return steps in their order, but none before its parent: the front end drops what it cannot place."""
    known = {step["id"]: step for step in steps}
    ordered: dict[str, StepDict] = {}
    for step in known.values():
        above: dict[str, StepDict] = {}
        here: StepDict | None = step
        while here is not None and here["id"] not in ordered and here["id"] not in above:
            above[here["id"]] = here
            here = known.get(here.get("parentId") or "")
        ordered.update(reversed(above.items()))
    return list(ordered.values())


def file_key_of(element: Element) -> str:
    """Return what the file of an element is stored as."""
    return element_file_key(element.thread_id, element.id, to_plain(element.name or "file"))


def from_element(element: Element) -> dict[str, Any]:
    """Return all that belongs to an element beside what it is found by."""
    return {key: value for key, value in element.to_dict().items() if key not in _OF_ELEMENT}


def to_element(element: models.Element, url: str | None) -> ElementDict:
    """Return a stored element as Chainlit knows it, with the address of its file or its own."""
    data = to_plain(element.data)
    members = {
        **data,
        "id": element.id,
        "threadId": element.thread_id,
        "forId": element.message_id,
        "objectKey": element.file_key or data.get("objectKey"),
        "url": url or data.get("url"),
        "props": data.get("props") or {},
    }
    return cast(ElementDict, members)


def without_old_sharing(metadata: dict[str, Any], shared_at: object) -> dict[str, Any]:
    """Return metadata without what a session has copied of a thread that was shared at a time at least.

    To share it again is said with a later time, and to end that with none.
    """
    if not isinstance(shared_at, str) or str(metadata["shared_at"]) > shared_at:
        return metadata
    return {key: value for key, value in metadata.items() if key not in SHARING}


def to_thread(
    thread: models.Thread, *, created_at: datetime, steps: list[StepDict], elements: list[ElementDict]
) -> ThreadDict:
    """Return a stored thread as Chainlit knows it."""
    return {
        "id": thread.id,
        "createdAt": to_text(created_at),
        "name": to_plain(thread.name),
        "userId": thread.user_id,
        "userIdentifier": thread.user_identifier,
        "tags": thread.tags,
        "metadata": to_plain(thread.metadata),
        "steps": steps,
        "elements": elements,
    }
