"""The parts of tests of a data layer: messages, steps, elements, and a storage of files."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import chainlit
from chainlit.data.storage_clients.base import BaseStorageClient
from chainlit.types import Pagination, ThreadFilter

BEGIN = datetime(2026, 1, 1, 10)
THREAD = "thread-1"
ODD: dict[str, Any] = {"a.b": 1, "$x": {"": [None, 2**80]}, "": True, "_id": "mine", "x\0": "\0", "ü": "🙂"}
# Where the addresses of files of the storage begin.
STORAGE_URL = "https://storage.example/"
CONTENT = bytes(range(256)) * 4096


def at(seconds: float) -> str:
    """A time as Chainlit writes it: without a fraction where it has none."""
    return (BEGIN + timedelta(seconds=seconds)).isoformat() + "Z"


def message(id: str, output: str = "", seconds: float = 0, **more: Any) -> dict[str, Any]:
    """The result of `Message.to_dict`."""
    return {
        "id": id,
        "threadId": THREAD,
        "parentId": None,
        "createdAt": at(seconds),
        "command": None,
        "modes": None,
        "start": None,
        "end": None,
        "output": output,
        "name": "ada",
        "type": "user_message",
        "language": None,
        "streaming": False,
        "isError": False,
        "waitForAnswer": False,
        "metadata": {},
        "tags": None,
        **more,
    }


def step(id: str, output: str = "", seconds: float = 0, **more: Any) -> dict[str, Any]:
    """The result of `Step.to_dict`."""
    return {
        "name": "lookup",
        "type": "tool",
        "id": id,
        "threadId": THREAD,
        "parentId": None,
        "streaming": False,
        "metadata": {},
        "tags": None,
        "input": "",
        "isError": False,
        "output": output,
        "createdAt": at(seconds),
        "start": at(seconds),
        "end": None,
        "language": None,
        "defaultOpen": False,
        "autoCollapse": False,
        "showInput": False,
        "generation": None,
        **more,
    }


def received(step: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a step: None counts as absent."""
    return {key: value for key, value in step.items() if value is not None}


async def claim(layer: Any, *thread_ids: str, identifier: str = "ada") -> str:
    """Give threads to a user, and return the user's id."""
    user = await layer.create_user(chainlit.User(identifier=identifier))
    assert user is not None
    for thread_id in thread_ids:
        await layer.update_thread(thread_id, name=thread_id, user_id=user.id)
    return str(user.id)


async def listed(layer: Any, user_id: str | None, first: int = 20, **wanted: Any) -> list[str]:
    """The ids of a user's threads, as a sidebar shows them."""
    cursor = wanted.pop("cursor", None)
    page = await layer.list_threads(
        Pagination(first=first, cursor=cursor), ThreadFilter(userId=user_id, **wanted)
    )
    return [thread["id"] for thread in page.data]


async def steps_of(layer: Any, thread_id: str = THREAD) -> dict[str, Any]:
    """The texts of the steps of a thread by their ids, in their order."""
    thread = await layer.get_thread(thread_id)
    return {one["id"]: received(one) for one in thread["steps"]} if thread else {}


def element(kind: str = "Image", **members: Any) -> Any:
    """An element of the message `m`."""
    return getattr(chainlit, kind)(**{"name": "it.bin", "for_id": "m", "thread_id": THREAD} | members)


async def stored(layer: Any, **members: Any) -> dict[str, Any]:
    """An element in the form in which it is read."""
    sent = element(**members)
    await layer.create_element(sent)
    found = await layer.get_element(THREAD, sent.id)
    assert found is not None
    return dict(found)


class FakeStorage(BaseStorageClient):
    """A storage of files in memory, which records what is asked of it."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes | str, str]] = {}
        self.closed: int = 0
        self.fails = False

    async def upload_file(
        self,
        object_key: str,
        data: bytes | str,
        mime: str = "application/octet-stream",
        overwrite: bool = True,
        content_disposition: str | None = None,
    ) -> dict[str, Any]:
        await asyncio.sleep(0)
        if self.fails:
            return {}
        self.files[object_key] = data, mime
        return {"object_key": object_key, "url": f"{STORAGE_URL}{object_key}"}

    async def delete_file(self, object_key: str) -> bool:
        return self.files.pop(object_key, None) is not None

    async def get_read_url(self, object_key: str) -> str:
        return f"{STORAGE_URL}{object_key}?read={uuid4().hex}"

    async def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise OSError("it does not close")
