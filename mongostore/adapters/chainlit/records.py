"""Chainlit's dicts as values of the store, and back; what comes from Chainlit is never changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

from chainlit.element import Element, ElementDict
from chainlit.step import StepDict
from chainlit.types import FeedbackDict, ThreadDict
from chainlit.user import PersistedUser

from mongostore import models

# As long as Chainlit's own layer lets names be; the first message, which a name is made of, is kept whole.
NAME_CHARACTERS = 255
_OF_STEP = ("id", "threadId", "parentId", "output", "feedback")
_OF_ELEMENT = ("id", "threadId", "forId", "objectKey")


def to_text(time: datetime) -> str:
    """Return a time as Chainlit writes it."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def from_text(text: object) -> datetime | None:
    """Return the time that a text says, in UTC unless it says otherwise; None where it says none."""
    with suppress(TypeError, ValueError):
        time = datetime.fromisoformat(cast(str, text))
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    return None


def to_user(user: models.User | None) -> PersistedUser | None:
    """Return a stored user as Chainlit knows them."""
    if user is None:
        return None
    return PersistedUser(
        id=user.id, identifier=user.identifier, metadata=user.metadata, createdAt=to_text(user.created_at)
    )


def from_step(step: Mapping[str, Any]) -> models.ThreadMessageMembers:
    """Return what a step says of a message: all keys as they come, and only those that are there."""
    members = models.ThreadMessageMembers(
        data={key: value for key, value in step.items() if key not in _OF_STEP}
    )
    if "parentId" in step:
        members["parent_id"] = step["parentId"]
    if step.get("output") is not None:
        members["content"] = step["output"]
    if (created_at := from_text(step.get("createdAt"))) is not None:
        members["created_at"] = created_at
    if "metadata" in step:
        members["pinned"] = (step["metadata"] or {}).get("favorite") is True
    return members


def to_step(message: models.ThreadMessage) -> StepDict:
    """Return a stored message as a step."""
    assert message.created_at is not None, "a stored message has its time"
    step = {
        "createdAt": to_text(message.created_at),
        **message.data,
        "id": message.id,
        "threadId": message.thread_id,
        "parentId": message.parent_id,
        "output": "" if message.content is None else message.content,
        "metadata": message.data.get("metadata") or {},
        # Nobody streams it any more, even if the server that did has died.
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
        above: list[StepDict] = []
        here: StepDict | None = step
        while here is not None and here["id"] not in ordered and here not in above:
            above.append(here)
            here = known.get(here.get("parentId") or "")
        ordered |= {one["id"]: one for one in reversed(above)}
    return list(ordered.values())


def from_element(element: Element) -> dict[str, Any]:
    """Return all that belongs to an element beside what it is found by."""
    return {key: value for key, value in element.to_dict().items() if key not in _OF_ELEMENT}


def to_element(element: models.Element, url: str | None) -> ElementDict:
    """Return a stored element as Chainlit knows it, with the address of its file or its own."""
    members = {
        **element.data,
        "id": element.id,
        "threadId": element.thread_id,
        "forId": element.message_id,
        "objectKey": element.file_key or element.data.get("objectKey"),
        "url": url or element.data.get("url"),
        "props": element.data.get("props") or {},
    }
    return cast(ElementDict, members)


def to_thread(
    thread: models.Thread, *, created_at: datetime, steps: list[StepDict], elements: list[ElementDict]
) -> ThreadDict:
    """Return a stored thread as Chainlit knows it."""
    return {
        "id": thread.id,
        "createdAt": to_text(created_at),
        "name": thread.name,
        "userId": thread.user_id,
        "userIdentifier": thread.user_identifier,
        "tags": thread.tags,
        "metadata": thread.metadata,
        "steps": steps,
        "elements": elements,
    }
