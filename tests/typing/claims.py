"""Never run, only type-checked: what a checker accepts, and by each ignored error what it must refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

from pymongo import AsyncMongoClient, MongoClient

from mongostore import AsyncMongoStore, Event, Message, MongoStore, Page, Room, Session, Target


def front_door(client: AsyncMongoClient[dict[str, Any]], blocking: MongoClient[dict[str, Any]]) -> None:
    AsyncMongoStore("mongodb://localhost", "chat", timeout=5.0, client_options={"tls": True}, prefix="chat_")
    AsyncMongoStore(client, "chat")
    AsyncMongoStore(client["chat"])
    MongoStore(blocking["chat"], transactions="off")
    targets: list[Target] = [client, client["chat"], blocking, "mongomock://"]
    MongoStore(targets[0])
    AsyncMongoStore(42)  # type: ignore[arg-type]
    AsyncMongoStore(client, transactions="no")  # type: ignore[arg-type]


async def core(store: AsyncMongoStore) -> None:
    message = await store.sessions.messages.append(
        "s1", Message(role="user", content="Hi"), create={"user_id": "ada"}
    )
    assert_type(message, Message)
    assert_type(await store.sessions.list(text="hi", newest=False, order="created"), Page[Session])
    assert_type(store.rooms.events.iter("r1", types=["message"]), AsyncIterator[Event])
    assert_type(await store.rooms.find("r1"), Room | None)
    Message(role="user", contnet="Hi")  # type: ignore[call-arg]
    message.role = "tool"  # type: ignore[misc]
    await store.sessions.update("s1", nmae="x")  # type: ignore[call-arg]
    await store.sessions.list(user="ada")  # type: ignore[call-arg]
    await store.sessions.messages.append("s1", {"role": "user"})  # type: ignore[arg-type]
    await store.sessions.messages.append("s1", message, create={"userid": "ada"})  # type: ignore[arg-type]


def twin(store: MongoStore) -> None:
    assert_type(store.sessions.messages.list("s1"), Page[Message])
    assert_type(store.sessions.messages.iter("s1"), Iterator[Message])
    with store.sessions.messages.stream("s1", role="assistant", id="a1") as out:
        out.write("Hello")
        assert_type(out.flush(), Message)
    with store as opened:
        assert_type(opened, MongoStore)
