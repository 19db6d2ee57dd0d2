"""The texts and values of the suites of role threads."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

URL = "https://example.com/a.png"
OTHER = "https://example.com/b.png"


def again(one: Any) -> Any:
    """Return a thread or a message as another process sees it."""
    [found] = type(one).find(id=one.id)
    return found


def texts(thread: Any) -> list[str]:
    return [message.text for message in thread.messages()]


def ids(found: list[Any]) -> list[str]:
    return [one.id for one in found]


def role(threadmem: Any, name: str = "boss") -> Any:
    return threadmem.V1Role(name=name, user_id="u1", user_name="Ada", icon="icon.png")


def text() -> str:
    """Return a text that no other test uses."""
    return f"said {uuid4().hex}"
