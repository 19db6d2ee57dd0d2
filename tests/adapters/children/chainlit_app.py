"""An application of Chainlit that shows all that a data layer keeps."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import chainlit as cl

from mongostore.adapters.chainlit import MongoDataLayer


def picture() -> bytes:
    """A red square of 40 pixels, as PNG."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + b"\xff\0\0" * 40 for _ in range(40))
    header = struct.pack(">2I5B", 40, 40, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@cl.data_layer
def data_layer() -> MongoDataLayer:
    return MongoDataLayer()


@cl.password_auth_callback
async def authenticate(name: str, password: str) -> cl.User | None:
    return cl.User(identifier=name) if password == "secret" else None


@cl.on_shared_thread_view
async def may_view(thread: Any, viewer: Any) -> bool:
    return bool((thread["metadata"] or {}).get("is_shared"))


@cl.on_chat_start
async def start() -> None:
    await cl.Message(content="Welcome").send()


@cl.on_chat_resume
async def resume(thread: Any) -> None:
    cl.user_session.set("resumed", cl.user_session.get("count"))


@cl.on_message
async def answer(texts: cl.Message) -> None:
    count = (cl.user_session.get("count") or 0) + 1
    cl.user_session.set("count", count)
    async with cl.Step(name="outer", type="tool") as outer:
        outer.input = texts.content
        async with cl.Step(name="inner", type="tool") as inner:
            inner.output = f"inner of {texts.content}"
        outer.output = f"outer of {texts.content}"
    elements = [
        cl.Image(name="square", content=picture(), display="inline"),
        cl.Text(name="notes", content=f"notes on {texts.content}", display="inline"),
        cl.CustomElement(name="Counter", props={"count": count}, display="inline"),
    ]
    await cl.Message(content=f"Answer {count} to {texts.content}", elements=elements).send()
