"""Never run, only type-checked: the public API as its users write it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, assert_type

from mongostore import (
    ApiKey,
    AsyncMongoStore,
    Binding,
    Conversation,
    Event,
    File,
    FullRoom,
    Identity,
    Integration,
    IntegrationStatus,
    Lease,
    Message,
    MessageChange,
    MongoStore,
    Page,
    Room,
    Session,
    SessionParticipant,
    Task,
    Thread,
    ThreadMessage,
    Turn,
    User,
)
from mongostore.beanie import Session as SessionDocument
from mongostore.beanie import SessionSummary
from mongostore.beanie import ThreadMessage as ThreadMessageDocument


async def async_use(store: AsyncMongoStore) -> None:
    sessions = store.sessions.in_namespace("acme")
    assert_type(await sessions.create("s", metadata={"k": 1}), Session)
    assert_type(await sessions.find("s"), Session | None)
    assert_type(await sessions.update("s", name="n", metadata={"k": None}, revision=3), Session)
    message = await sessions.messages.append("s", Message(role="user", content="hi"))
    assert_type(message, Message)
    assert_type(await sessions.messages.update("s", message.id, content=[1]), Message)
    assert_type(await sessions.messages.upsert("s", message), Message)
    page = await sessions.messages.list("s", newest=True, limit=20)
    assert_type(page, Page[Message])
    assert_type(page.items[0].position, int | None)
    assert_type(await sessions.list(user_id="u", cursor=page.next_cursor), Page[Session])
    assert_type(await sessions.conversations.list("s"), Page[Conversation])
    async for one in sessions.messages.iter("s"):
        assert_type(one, Message)
    assert_type(await sessions.create("t", participants=["a"]), Session)
    assert_type(await sessions.list(order="created"), Page[Session])
    assert_type(await sessions.participants.ensure("s", "a"), SessionParticipant)
    assert_type(await sessions.participants.list("s"), Page[SessionParticipant])
    assert_type(await sessions.turns.append_many("s", "a", [Turn(role="user")]), list[Turn])
    assert_type(await sessions.turns.list("s", "a", after=3), Page[Turn])
    async for turn in sessions.turns.iter("s", "a"):
        assert_type(turn.number, int | None)

    async def insights_of(participant: str, turns: Sequence[Turn]) -> list[str]:
        return [f"{participant} {turn.role}" for turn in turns]

    integration = await sessions.turns.integrate("s", insights_of)
    assert_type(integration, Integration)
    assert_type(integration.results[0].status, IntegrationStatus)
    async for change in sessions.messages.watch("s"):
        assert_type(change, MessageChange)


async def async_use_of_rooms(store: AsyncMongoStore) -> None:
    room = await store.rooms.create("r", metadata={"k": 1})
    assert_type(room, Room)
    assert_type(await store.rooms.get_full("r"), FullRoom)
    event = await store.rooms.events.append("r", Event(channel_id="c", content="hi"))
    assert_type(event.index, int | None)
    assert_type(await store.rooms.events.list("r", types=["message"], newest=True), Page[Event])
    async for one in store.rooms.events.watch("r", after=-1):
        assert_type(one, Event)
    async for binding in store.rooms.bindings.iter("r"):
        assert_type(binding, Binding)
    assert_type(await store.rooms.identities.find_by_address("sms", "+1"), Identity | None)
    assert_type(await store.rooms.tasks.list("r", status="done"), Page[Task])
    assert_type(await store.leases.acquire("l", "me", 10), Lease | None)
    async with store.leases.hold("l", wait=5) as lease:
        assert_type(lease, Lease)


async def async_use_of_threads(store: AsyncMongoStore) -> None:
    assert_type(await store.threads.users.upsert("ada@example.com"), User)
    await store.threads.merge("t", name="First", metadata={"k": None})
    await store.threads.messages.merge("t", "m", content="hi", data={"type": "user_message"})
    assert_type(await store.threads.list(user_id="u", text="hi"), Page[Thread])
    assert_type(await store.threads.update("t", unset=["metadata.k"]), Thread)
    assert_type(await store.threads.messages.list_pinned("u"), Page[ThreadMessage])
    assert_type(await store.threads.files.read("key"), bytes)
    async for message in store.threads.messages.iter("t", errors=[]):
        assert_type(message, ThreadMessage)
    assert_type(await store.threads.files.upload("key", b"content"), File)
    async for piece in store.threads.files.iter_content("key", start=1, end=2):
        assert_type(piece, bytes)


async def async_use_of_keys(store: AsyncMongoStore) -> None:
    assert_type(await store.keys.create(name="n", namespaces=["acme"]), ApiKey)
    assert_type(await store.keys.verify("token"), ApiKey | None)
    assert_type(await store.keys.list(limit=10), Page[ApiKey])


def blocking_use(store: MongoStore) -> None:
    sessions = store.sessions.in_namespace("acme")
    assert_type(sessions.create("s", metadata={"k": 1}), Session)
    assert_type(sessions.update("s", name="n", revision=3), Session)
    assert_type(sessions.messages.list("s", newest=True, limit=20), Page[Message])
    assert_type(sessions.messages.truncate("s"), Session)
    for message in sessions.messages.iter("s"):
        assert_type(message, Message)
    for turn in sessions.turns.iter("s", "a"):
        assert_type(turn, Turn)
    assert_type(sessions.turns.integrate("s", lambda _, turns: [len(turns)], executor=None), Integration)
    for change in sessions.messages.watch("s"):
        assert_type(change, MessageChange)
    assert_type(store.rooms.events.append("r", Event(channel_id="c")), Event)
    with store.leases.hold("l", seconds=10) as lease:
        assert_type(lease, Lease)
    for binding in store.rooms.bindings.iter("r"):
        assert_type(binding, Binding)
    assert_type(store.rooms.bindings.list("r"), Page[Binding])
    assert_type(store.rooms.update("r", metadata={"k": 1}), Room)
    for piece in store.threads.files.iter_content("key"):
        assert_type(piece, bytes)


async def read_through_beanie(store: AsyncMongoStore, moment: datetime) -> None:
    documents = store.documents
    assert_type(documents.Session, type[SessionDocument])
    assert_type(documents.ThreadMessage, type[ThreadMessageDocument])
    found = documents.Session.find(documents.Session.user_id == "ada", documents.Session.created_at > moment)
    sessions = await found.sort("-active_at").to_list()
    assert_type(sessions[0].messages[0].content, Any)
    assert_type(await found.project(SessionSummary).to_list(), list[SessionSummary])
