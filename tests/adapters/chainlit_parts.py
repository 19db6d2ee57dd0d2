"""Chainlit, imported where it does no harm, and what tests of its data layer are made of."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import tempfile
import warnings
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

# Where it is imported it leaves its settings, so that is no folder of ours.
ROOT = tempfile.mkdtemp(prefix="chainlit-")
atexit.register(shutil.rmtree, ROOT, ignore_errors=True)
os.environ["CHAINLIT_APP_ROOT"] = ROOT
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import chainlit
        from chainlit.context import ChainlitContext, context_var
        from chainlit.data.base import BaseDataLayer
        from chainlit.data.storage_clients.base import BaseStorageClient
        from chainlit.server import app
        from chainlit.session import HTTPSession, WebsocketSession
        from chainlit.types import Feedback, Pagination, ThreadFilter

        from mongostore.adapters.chainlit import GridFSStorageClient, MongoDataLayer
        from mongostore.adapters.chainlit.records import parents_first
except ImportError:
    if os.environ.get("CI"):
        raise
    pytest.skip("Chainlit is not installed", allow_module_level=True)
finally:
    del os.environ["CHAINLIT_APP_ROOT"]

__all__ = [
    "BaseDataLayer",
    "Feedback",
    "GridFSStorageClient",
    "MongoDataLayer",
    "Pagination",
    "Shelf",
    "ThreadFilter",
    "app",
    "at",
    "chainlit",
    "claim",
    "element",
    "enter",
    "http_session",
    "listed",
    "message",
    "parents_first",
    "socket_session",
    "step",
    "steps_of",
    "stored",
    "zones",
]

BEGIN = datetime(2026, 1, 1, 10)
SECRET = "s" * 64
THREAD = "thread-1"
zones = pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland"], indirect=True)


def at(seconds: float) -> str:
    """A time as Chainlit writes it: without a fraction where it has none."""
    return (BEGIN + timedelta(seconds=seconds)).isoformat() + "Z"


def message(id: str, output: str = "", seconds: float = 0, **more: Any) -> dict[str, Any]:
    """What `Message.to_dict` makes."""
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
    """What `Step.to_dict` makes."""
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


def enter(session: Any) -> None:
    """Do what follows as Chainlit does it in a session."""
    context_var.set(ChainlitContext(session))


def http_session(thread_id: str = THREAD) -> HTTPSession:
    """A session in which nothing is queued."""
    return HTTPSession(id=uuid4().hex, client_type="webapp", thread_id=thread_id)


def socket_session(thread_id: str = THREAD) -> WebsocketSession:
    """A session of a browser in which nobody has said anything yet."""

    async def emit(*_: Any) -> None: ...

    return WebsocketSession(
        id=uuid4().hex,
        socket_id=uuid4().hex,
        emit=emit,
        emit_call=emit,
        user_env={},
        client_type="webapp",
        thread_id=thread_id,
    )


async def claim(layer: BaseDataLayer, *thread_ids: str, identifier: str = "ada") -> str:
    """Make threads somebody's, and return that user's id."""
    user = await layer.create_user(chainlit.User(identifier=identifier))
    assert user is not None
    for thread_id in thread_ids:
        await layer.update_thread(thread_id, name=thread_id, user_id=user.id)
    return str(user.id)


async def listed(layer: MongoDataLayer, user_id: str, first: int = 20, **wanted: Any) -> list[str]:
    """The ids of a user's threads, as a sidebar shows them."""
    cursor = wanted.pop("cursor", None)
    page = await layer.list_threads(
        Pagination(first=first, cursor=cursor), ThreadFilter(userId=user_id, **wanted)
    )
    return [thread["id"] for thread in page.data]


async def steps_of(layer: MongoDataLayer, thread_id: str = THREAD) -> dict[str, Any]:
    """The steps of a thread by their ids, in their order."""
    thread = await layer.get_thread(thread_id)
    return {one["id"]: one for one in thread["steps"]} if thread else {}


def element(kind: str = "Image", **members: Any) -> Any:
    """An element of the message `m`."""
    return getattr(chainlit, kind)(**{"name": "it.bin", "for_id": "m", "thread_id": THREAD} | members)


async def stored(layer: MongoDataLayer, **members: Any) -> dict[str, Any]:
    """What an element is read as once it is stored."""
    given = element(**members)
    await layer.create_element(given)
    found = await layer.get_element(THREAD, given.id)
    assert found is not None
    return dict(found)


class Shelf(BaseStorageClient):
    """A storage of files in memory, which notes what is asked of it."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes | str, str]] = {}
        self.closed = 0
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
        return {"object_key": object_key, "url": f"https://shelf.example/{object_key}"}

    async def delete_file(self, object_key: str) -> bool:
        return self.files.pop(object_key, None) is not None

    async def get_read_url(self, object_key: str) -> str:
        return f"https://shelf.example/{object_key}?read={uuid4().hex}"

    async def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise OSError("it does not close")
