"""Whatever comes in the place of an id, a filter, a cursor or a text is refused, or taken as it is."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from types import UnionType
from typing import Any, Union, Unpack, get_args, get_origin, get_type_hints
from uuid import uuid4

import pytest
from bson import Code, Int64, ObjectId, Regex
from pydantic import BaseModel

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    Binding,
    ConflictError,
    DocumentTooLargeError,
    Element,
    Event,
    Feedback,
    Identity,
    InvalidValueError,
    Lease,
    Message,
    NotFoundError,
    Observation,
    Person,
    Room,
    RoomParticipant,
    RoomState,
    Session,
    Task,
    Thread,
    ThreadMessage,
    Turn,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)
from mongostore.arguments import decode_cursor, encode_cursor
from tests.contract.command_log import repositories_of
from tests.contract.edge_cases import BOTTOMLESS, Loud
from tests.contract.fixtures import altered

SOON = datetime(2030, 1, 1, tzinfo=UTC)
NEIGHBOUR = "neighbour"
LITERAL = ["$_id", "$$ROOT", "a.b", "a.$[]", "$where", "\0", "*", "../x", "%2E;", "'; return true; //"]
NO_TEXT: list[Any] = [
    {"$ne": None},
    {"$gt": ""},
    {"$in": ["", None]},
    {"$where": "true"},
    {"$regex": ".*"},
    {"$expr": {"$eq": ["$_id", "$_id"]}},
    re.compile("."),
    Regex("."),
    Code("true"),
    ObjectId(),
    ["x"],
    [{"$ne": None}],
    ("x", "x"),
    b"x",
    True,
    7,
    -1,
    2**70,
    float("nan"),
    object(),
    Loud("x"),
    "\ud800",
]
PAYLOADS = [*LITERAL, "x" * 100_000, *NO_TEXT]
OPERATORS: list[Any] = [{"$gt": ""}, {"$ne": None}, ["$gt"], "$_id", None, True, -1, 2**63, 10**30, 1.5]
FORGED = [
    *("", "x", "e30=", "ÿ", "\ud800", BOTTOMLESS),
    *map(
        encode_cursor,
        (None, {}, [], [5], [{"$gt": ""}, "x"], [5, {"$gt": ""}], [5, {"a": {"$ne": 1}, "b": ""}]),
    ),
    *map(encode_cursor, ([5, {"a": "", "b": "", "$gt": ""}], [{"_data": {"$ne": 1}}, 0, 0, 0])),
    *(encode_cursor([{"_data": data}, 0, 0, 0]) for data in ("", "zz", "82", "00" * 20, "x" * 10_000, "\0")),
    *(encode_cursor([{"_data": "00", "$gt": ""}, 0, 0, 0]), encode_cursor([{"_data": "00"}, -1, 2**70, {}])),
]
# GridFS gives what it stores ids of its own.
GRIDFS = ("files.files", "files.chunks")
# What a call may say beside what it returns.
OURS = (InvalidValueError, NotFoundError, AlreadyExistsError, ConflictError, DocumentTooLargeError)


class Names:
    """The ids of whatever belongs to somebody."""

    def __init__(self, who: str) -> None:
        self.who = who

    def __getattr__(self, kind: str) -> str:
        return f"{self.who}-{kind}"

    @property
    def new(self) -> str:
        """An id that is free."""
        return f"{self.who}-{uuid4().hex}"


async def furnish(store: AsyncMongoStore, n: Names) -> None:
    """Store two of each kind, so that lists have a second page; all of it says whose it is."""
    say: dict[str, Any] = {"content": n.text, "data": {"k": n.text}, "metadata": {"k": n.text}}
    data: dict[str, Any] = {"data": {"k": n.text}}
    await store.threads.users.upsert(n.user, metadata={"k": n.text})
    user = await store.threads.users.find_by_identifier(n.user)
    assert user
    for s in ("", "2"):
        session = n.session + s
        await store.sessions.create(session, user_id=n.user, name=n.text, participants=[n.participant])
        await store.sessions.messages.append(session, Message(id=n.message, role="user", **say))
        await store.sessions.turns.append_many(session, n.participant, [Turn(role="user", content=n.text)])
        await store.sessions.turns.append_many(session, n.participant, [Turn(role="user", content=n.text)])
        await store.sessions.context.set(session, n.text)
        await store.rooms.create(
            n.room + s, organization_id=n.org, status=n.status, data={"k": n.text}, metadata={"k": n.text}
        )
        await store.rooms.set_private(n.room + s, "k", n.text)
        await store.rooms.bindings.upsert(
            n.room, Binding(channel_id=n.channel + s, channel_type="sms", participant_id=n.person, **data)
        )
        await store.rooms.participants.upsert(
            n.room, RoomParticipant(id=n.person + s, identity_id=n.identity, channel_ids=[n.channel])
        )
        await store.rooms.events.append(
            n.room, Event(id=n.event + s, channel_id=n.channel, idempotency_key=n.key + s, **say)
        )
        await store.rooms.identities.create(
            Identity(id=n.identity + s, organization_id=n.org, addresses={"sms": [n.address + s]}, **data)
        )
        await store.rooms.verifications.upsert(
            Verification(
                identity_id=n.identity + s, organization_id=n.org, status=n.status, expires_at=SOON, **data
            )
        )
        await store.rooms.verifications.requests.create(
            VerificationRequest(id=n.request + s, identity_id=n.identity, **data)
        )
        await store.rooms.tasks.create(n.room, Task(id=n.task + s, **data))
        await store.rooms.observations.create(n.room, Observation(id=n.observation + s, **data))
        await store.rooms.voice_deliveries.claim(
            n.room, VoiceDelivery(key=n.key + s, content_hash=n.text, attempt_id=n.attempt)
        )
        await store.leases.acquire(n.lease + s, n.who, 3600)
        await store.threads.create(n.thread + s, user_id=user.id, name=n.text, **data)
        await store.threads.messages.merge(n.thread, n.message + s, only_missing=True, pinned=True, **data)
        await store.threads.feedback.upsert(
            n.thread, Feedback(id=n.feedback + s, message_id=n.message + s, value=1)
        )
        await store.threads.files.upload(n.file + s, n.text.encode(), data={"k": n.text})
        await store.threads.elements.upsert(
            n.thread, Element(id=n.element + s, message_id=n.message, file_key=n.file + s, **data)
        )
        await store.keys.create(name=n.text, namespaces=[n.namespace], owner_id=n.user)
    await store.rooms.read_markers.advance(n.room, n.channel)
    n.__dict__["user_id"] = user.id


def is_plain(value: Any) -> bool:
    """Whether something that is stored is made of what JSON has, and bytes."""
    if isinstance(value, dict):
        return all(map(is_plain, value.values()))
    if isinstance(value, list):
        return all(map(is_plain, value))
    return value is None or type(value) in (str, int, float, bool, bytes, Int64, datetime)


async def stored(store: AsyncMongoStore) -> dict[str, dict[Any, Any]]:
    """Return all that is stored, by collections and keys, but for words: any search prepares those of all."""
    database = store.engine.database
    names = await database.list_collection_names()
    remaining = {"words": 0, "unindexed": 0}
    return {
        name: {repr(document["_id"]): document async for document in database[name].find({}, remaining)}
        for name in names
    }


async def counted(participant: str, turns: Any) -> list[Any]:
    return [len(turns)]


def message(n: Names) -> Message:
    return Message(id=n.new, role="user", content=n.text, created_at=SOON)


def event(n: Names) -> Event:
    return Event(room_id=n.room, channel_id=n.channel, content=n.text)


def path_to(n: Names) -> dict[str, Any]:
    return {"session_id": n.session, "participant_id": n.participant}


def there(n: Names) -> dict[str, Any]:
    return {"room_id": n.room, "channel_id": n.channel}


def of_org(n: Names) -> dict[str, Any]:
    return {"status": n.status, "organization_id": n.org}


PAGED = {"limit": 1, "cursor": None}
BOTH_WAYS = {"newest": True, **PAGED}
WALKED = {"newest": True, "errors": None}
SIGNS = {"data": {}, "metadata": {}}
NEW_ROOM = {
    **dict.fromkeys(("created_at", "updated_at", "paused_at", "closed_at", "active_at"), SOON),
    **{"name": "", "status": "", "event_count": 0, "latest_index": 0, "delivered_index": 0, "next_index": 0},
    **SIGNS,
}
ABOUT_ROOM = {
    **dict.fromkeys(("organization_id", "name", "status"), ""),
    **dict.fromkeys(("paused_at", "closed_at", "active_at"), SOON),
    **{"unset": [], **SIGNS},
}
OF_EVENT = {
    **dict.fromkeys(("visibility", "channel_id", "channel_type", "participant_id"), ""),
    **dict.fromkeys(("correlation_id", "responds_to", "parent_event_id"), ""),
    **{"types": ["x"], "exclude_types": ["x"]},
    **dict.fromkeys(("created_after", "created_before"), SOON),
    **{"top_level": True, "blocked": True},
}
OF_THREAD = {
    "kind": "",
    "owner_id": "",
    "user_id": "",
    "name": "",
    "tags": [],
    **SIGNS,
    "unset": [],
}
SOME_THREADS = {"kind": "", "owner_id": "", "name": "", "data": {}, "metadata": {}, "vote": 1}
SOME_MESSAGES = {"kind": "", "content": "", "data": {}, "pinned": True}
OF_SESSION = {
    **{"user_id": "", "name": "", "description": "", "created_at": SOON, "participants": []},
    **SIGNS,
}
OF_APPEND = {"create": False, "update": {}, "after": 0, "revision": 1}

# How each verb is called about what is one's own: with what it needs, and with what else it takes.
CALLS: dict[str, Callable[[Names], tuple[dict[str, Any], dict[str, Any]]]] = {
    "sessions.turns.append_many": lambda n: ({**path_to(n), "turns": [Turn(role="user")]}, {"revision": 1}),
    "sessions.messages.append": lambda n: ({"session_id": n.session, "message": message(n)}, OF_APPEND),
    "sessions.messages.append_many": lambda n: (
        {"session_id": n.session, "messages": [message(n)]},
        OF_APPEND,
    ),
    "sessions.branches.append_many": lambda n: (
        {"session_id": n.session, "messages": [message(n)]},
        {"parent_id": n.new, "create": False, "update": {}, "revision": 1},
    ),
    "sessions.branches.list": lambda n: ({"session_id": n.session, "message_id": n.message}, BOTH_WAYS),
    "sessions.branches.find_by_message": lambda n: ({"message_id": n.message}, {}),
    "sessions.participants.ensure": lambda n: (path_to(n), {}),
    "sessions.conversations.list": lambda n: (
        {"session_id": n.session},
        {"newest": True, **PAGED},
    ),
    "sessions.count": lambda n: ({"user_id": n.user}, {"deleted": None, "limit": 1}),
    "sessions.messages.count": lambda n: (
        {"session_id": n.session},
        {"limit": 1, "conversation_id": ""},
    ),
    "sessions.messages.cursor_of": lambda n: (
        {"message": altered(Message(id=n.message, role="user"), position=0)},
        {},
    ),
    "sessions.create": lambda n: ({"session_id": n.new}, OF_SESSION),
    "sessions.cursor_of": lambda n: (
        {"session": Session(id=n.session, created_at=SOON, updated_at=SOON, active_at=SOON)},
        {"order": "active"},
    ),
    "sessions.ensure": lambda n: ({"session_id": n.new}, OF_SESSION),
    "sessions.soft_delete": lambda n: ({"session_id": n.new}, {"revision": 1}),
    "sessions.context.delete": lambda n: ({"session_id": n.session}, {}),
    "sessions.messages.delete": lambda n: ({"session_id": n.session, "message_id": n.new}, {}),
    "sessions.messages.delete_many": lambda n: ({"session_id": n.session, "message_ids": []}, {}),
    "sessions.messages.truncate": lambda n: ({"session_id": n.new}, {}),
    "sessions.exists": lambda n: ({"session_id": n.session}, {}),
    "sessions.find": lambda n: ({"session_id": n.session}, {"deleted": False}),
    "sessions.get": lambda n: ({"session_id": n.session}, {}),
    "sessions.context.get": lambda n: ({"session_id": n.session}, {}),
    **{
        f"sessions.messages.{verb}": lambda n: ({"session_id": n.session, "message_id": n.message}, {})
        for verb in ("exists", "find", "get")
    },
    "sessions.messages.describe_document": lambda n: ({"session_id": n.session, "position": 0}, {}),
    "sessions.in_namespace": lambda n: ({"namespace": n.namespace}, {}),
    "sessions.turns.integrate": lambda n: (
        {"session_id": n.session, "integrator": counted},
        {"executor": None, "revision": 1},
    ),
    "sessions.iter": lambda n: ({"user_id": n.user}, {"deleted": None, **WALKED}),
    "sessions.turns.iter": lambda n: (path_to(n), WALKED),
    "sessions.messages.iter": lambda n: (
        {"session_id": n.session},
        {"conversation_id": "", "newest": True, "errors": None},
    ),
    "sessions.describe_storage": lambda n: ({"session_id": n.session}, {"outline": False}),
    "sessions.list": lambda n: (
        {"user_id": n.user},
        {"deleted": None, "order": "created", "newest": True, **PAGED},
    ),
    "sessions.turns.append": lambda n: ({**path_to(n), "turn": Turn(role="user")}, {"revision": 1}),
    "sessions.turns.count": lambda n: (path_to(n), {"limit": 1}),
    "sessions.turns.list": lambda n: (path_to(n), {"after": 0, **BOTH_WAYS}),
    "sessions.messages.list": lambda n: (
        {"session_id": n.session},
        {**PAGED, "newest": True, "before": 0, "after": 0, "around": 0, "conversation_id": ""},
    ),
    "sessions.participants.list": lambda n: ({"session_id": n.session}, {"newest": True, **PAGED}),
    **{f"sessions.participants.{verb}": lambda n: (path_to(n), {}) for verb in ("get", "find")},
    "sessions.participants.create": lambda n: (path_to(n), {"revision": 1}),
    "sessions.delete": lambda n: ({"session_id": n.new}, {"revision": 1}),
    "sessions.undelete": lambda n: ({"session_id": n.session}, {}),
    "sessions.context.find": lambda n: ({"session_id": n.session}, {}),
    "sessions.context.set": lambda n: ({"session_id": n.session, "value": n.text}, {}),
    "sessions.truncate": lambda n: ({"session_id": n.new}, {"revision": 1}),
    "sessions.participants.delete": lambda n: ({**path_to(n), "participant_id": n.new}, {"revision": 1}),
    "sessions.update": lambda n: (
        {"session_id": n.session},
        {"revision": 1, "user_id": "", "name": "", "description": "", "unset": [], **SIGNS},
    ),
    "sessions.messages.update": lambda n: (
        {"session_id": n.session, "message_id": n.message},
        {"conversation_id": "", "role": "", "content": "", "unset": [], **SIGNS},
    ),
    "sessions.messages.upsert": lambda n: (
        {"session_id": n.session, "message": message(n)},
        {"create": False},
    ),
    "sessions.messages.pop": lambda n: ({"session_id": n.new}, {}),
    "sessions.messages.replace": lambda n: ({"session_id": n.session, "message": message(n)}, {}),
    "sessions.messages.replace_newest": lambda n: (
        {"session_id": n.session, "message_ids": [], "messages": [message(n)]},
        {},
    ),
    "sessions.namespaces.exists": lambda n: ({"namespace": n.namespace}, {}),
    "sessions.namespaces.iter_sessions": lambda n: ({"session_id": n.session}, {}),
    "sessions.namespaces.iter": lambda n: ({}, {}),
    "sessions.namespaces.list": lambda n: ({}, BOTH_WAYS),
    "sessions.namespaces.list_sessions": lambda n: (
        {"user_id": n.user},
        {"deleted": None, "newest": True, **PAGED},
    ),
    "sessions.messages.watch": lambda n: ({"session_id": n.session}, {"after": ""}),
    "rooms.advance_delivered_index": lambda n: ({"room_id": n.room, "index": 0}, {"force": True}),
    "rooms.count": lambda n: (of_org(n), {"limit": 1, "metadata": {}}),
    "rooms.create": lambda n: ({"room_id": n.new, "organization_id": n.org}, NEW_ROOM),
    "rooms.cursor_of": lambda n: ({"room": Room(id=n.room, created_at=SOON)}, {"order": "created"}),
    "rooms.delete": lambda n: ({"room_id": n.new}, {}),
    "rooms.ensure": lambda n: ({"room_id": n.new, "organization_id": n.org}, NEW_ROOM),
    "rooms.exists": lambda n: ({"room_id": n.room}, {}),
    "rooms.find": lambda n: ({"room_id": n.room}, {}),
    "rooms.find_by_binding": lambda n: (
        {"channel_id": n.channel, "names": [n.person]},
        {"recipient": (n.text, n.text), **of_org(n)},
    ),
    "rooms.find_by_participant": lambda n: ({"participant_id": n.person}, {"channel_type": "", **of_org(n)}),
    "rooms.find_by_route": lambda n: ({"channel_id": n.channel, "names": [n.person]}, of_org(n)),
    "rooms.find_private": lambda n: ({"room_id": n.room, "key": "k"}, {}),
    "rooms.get": lambda n: ({"room_id": n.room}, {}),
    "rooms.get_full": lambda n: ({"room_id": n.room}, {}),
    "rooms.iter": lambda n: (of_org(n), {"metadata": {}, **WALKED}),
    "rooms.list": lambda n: (of_org(n), {"metadata": {}, "order": "created", **BOTH_WAYS}),
    "rooms.list_by_channel": lambda n: (
        {"channel_id": n.channel},
        {"group": False, **BOTH_WAYS, **of_org(n)},
    ),
    "rooms.replace": lambda n: (
        {"room": Room(id=n.room, organization_id=n.org, status=n.status)},
        {"expected": RoomState(n.status, None, None)},
    ),
    "rooms.set_private": lambda n: ({"room_id": n.room, "key": "k", "value": n.text}, {}),
    "rooms.update": lambda n: ({"room_id": n.room}, ABOUT_ROOM),
    "rooms.events.append": lambda n: (
        {"room_id": n.room, "event": event(n)},
        {"create": False, "target": event(n), "activity": True},
    ),
    "rooms.events.count": lambda n: ({"room_id": n.room}, {"limit": 1, **OF_EVENT}),
    "rooms.events.create": lambda n: ({"room_id": n.room, "event": event(n)}, {}),
    "rooms.events.cursor_of": lambda n: ({"event": altered(event(n), index=0)}, {}),
    "rooms.events.delete": lambda n: ({"room_id": n.room, "event_id": n.new}, {"replies": True}),
    "rooms.events.exists": lambda n: ({"room_id": n.room, "event_id": n.event}, {}),
    "rooms.events.describe_document": lambda n: ({"room_id": n.room, "event_id": n.event}, {}),
    "rooms.events.find": lambda n: ({"room_id": n.room, "event_id": n.event}, {}),
    "rooms.events.find_by_id": lambda n: ({"event_id": n.event}, {}),
    "rooms.events.find_by_key": lambda n: ({"room_id": n.room, "key": n.key}, {"channel_id": ""}),
    "rooms.events.get": lambda n: ({"room_id": n.room, "event_id": n.event}, {}),
    "rooms.events.iter": lambda n: ({"room_id": n.room}, {**WALKED, **OF_EVENT}),
    "rooms.events.list": lambda n: (
        {"room_id": n.room},
        {"before": 0, "after": 0, "around": 0, **BOTH_WAYS, **OF_EVENT},
    ),
    "rooms.events.pop": lambda n: ({"room_id": n.room, "event_id": n.new}, {"replies": True}),
    "rooms.events.replace": lambda n: (
        {"room_id": n.room, "event": altered(event(n), id=n.event)},
        {"erase_edits": True},
    ),
    "rooms.events.summarize_replies": lambda n: ({"room_id": n.room, "event_ids": [n.event]}, {}),
    "rooms.events.update": lambda n: (
        {"room_id": n.room, "event_id": n.event},
        {"status": "", "visibility": "", "content": "", "delivery_results": {}, "unset": [], **SIGNS},
    ),
    "rooms.events.watch": lambda n: ({"room_id": n.room}, {"after": 0}),
    **{f"rooms.bindings.{verb}": lambda n: (there(n), {}) for verb in ("exists", "find", "get")},
    "rooms.bindings.delete": lambda n: ({"room_id": n.room, "channel_id": n.new}, {}),
    "rooms.bindings.upsert": lambda n: ({"room_id": n.room, "binding": Binding(channel_id=n.channel)}, {}),
    **{
        f"rooms.participants.{verb}": lambda n: ({"room_id": n.room, "participant_id": n.person}, {})
        for verb in ("exists", "find", "get")
    },
    "rooms.participants.delete": lambda n: ({"room_id": n.room, "participant_id": n.new}, {}),
    "rooms.participants.upsert": lambda n: (
        {"room_id": n.room, "participant": RoomParticipant(id=n.person)},
        {},
    ),
    **{
        f"rooms.{kind}.{verb}": lambda n, options=options: ({"room_id": n.room}, options)
        for kind in ("bindings", "participants", "observations", "read_markers")
        for verb, options in (("iter", WALKED), ("list", BOTH_WAYS))
    },
    "rooms.identities.create": lambda n: ({"identity": Identity(id=n.new, addresses={"sms": [n.new]})}, {}),
    "rooms.identities.find": lambda n: ({"identity_id": n.identity}, {}),
    "rooms.identities.find_by_address": lambda n: (
        {"channel_type": "sms", "address": n.address},
        {"organization_id": ""},
    ),
    "rooms.identities.delete": lambda n: ({"identity_id": n.new}, {}),
    "rooms.identities.get": lambda n: ({"identity_id": n.identity}, {}),
    "rooms.identities.iter": lambda n: ({"organization_id": n.org}, {"errors": None}),
    "rooms.identities.link_address": lambda n: (
        {"identity_id": n.identity, "channel_type": "sms", "address": n.new},
        {"organization_id": n.org},
    ),
    "rooms.identities.list": lambda n: ({"organization_id": n.org}, BOTH_WAYS),
    "rooms.identities.unlink_address": lambda n: (
        {"identity_id": n.identity, "channel_type": "sms", "address": n.new},
        {"organization_id": n.org},
    ),
    "rooms.verifications.find": lambda n: ({"identity_id": n.identity}, {"organization_id": n.org}),
    "rooms.verifications.iter_expiring": lambda n: ({"status": n.status}, {"errors": None}),
    "rooms.verifications.upsert": lambda n: (
        {"verification": Verification(identity_id=n.identity, organization_id=n.org, status="")},
        {},
    ),
    "rooms.verifications.requests.create": lambda n: (
        {"request": VerificationRequest(id=n.new, identity_id=n.identity)},
        {},
    ),
    "rooms.verifications.requests.find": lambda n: ({"request_id": n.request}, {}),
    "rooms.verifications.requests.get": lambda n: ({"request_id": n.request}, {}),
    "rooms.verifications.requests.upsert": lambda n: (
        {"request": VerificationRequest(id=n.request, identity_id=n.identity)},
        {},
    ),
    "rooms.tasks.create": lambda n: ({"room_id": n.room, "task": Task(id=n.new)}, {}),
    "rooms.tasks.delete": lambda n: ({"room_id": n.room, "task_id": n.new}, {}),
    "rooms.tasks.find": lambda n: ({"room_id": n.room, "task_id": n.task}, {}),
    "rooms.tasks.find_by_id": lambda n: ({"task_id": n.task}, {}),
    "rooms.tasks.get": lambda n: ({"room_id": n.room, "task_id": n.task}, {}),
    "rooms.tasks.iter": lambda n: ({"room_id": n.room}, {"status": "", **WALKED}),
    "rooms.tasks.list": lambda n: ({"room_id": n.room}, {"status": "", **BOTH_WAYS}),
    "rooms.tasks.upsert": lambda n: ({"room_id": n.room, "task": Task(id=n.task)}, {}),
    "rooms.observations.create": lambda n: ({"room_id": n.room, "observation": Observation(id=n.new)}, {}),
    "rooms.observations.delete": lambda n: ({"room_id": n.room, "observation_id": n.new}, {}),
    "rooms.read_markers.advance": lambda n: (there(n), {"event_id": n.event, "index": 0}),
    "rooms.read_markers.count_unread": lambda n: (there(n), {"limit": 1}),
    "rooms.read_markers.find": lambda n: (there(n), {}),
    "rooms.voice_deliveries.claim": lambda n: (
        {"room_id": n.room, "delivery": VoiceDelivery(key=n.new, content_hash=n.text)},
        {},
    ),
    "rooms.voice_deliveries.complete": lambda n: (
        {
            "room_id": n.room,
            "delivery": VoiceDelivery(key=n.key, content_hash=n.text, attempt_id=n.attempt, outcome={}),
        },
        {},
    ),
    "rooms.voice_deliveries.find": lambda n: ({"room_id": n.room, "key": n.key}, {}),
    "leases.acquire": lambda n: ({"name": n.lease, "owner": n.who, "seconds": 3600}, {}),
    "sessions.messages.stream": lambda n: (
        {"session_id": n.session},
        {
            **{"create": False, "flush_every": 0.2, "id": n.new, "conversation_id": "", "role": "x"},
            **{"content": "", **SIGNS},
        },
    ),
    "retention.prune": lambda n: (
        {"idle": timedelta(days=3650)},
        {
            **{"older": None, "namespaces": [n.namespace], "houses": ["sessions"]},
            **{"keep_pinned": True, "limit": 1, "dry_run": True},
        },
    ),
    **{
        f"people.{verb}": lambda n: ({"name": n.new}, {"namespaces": None, "organization_id": None})
        for verb in ("find", "get")
    },
    "people.export": lambda n: ({"person": Person(names=[n.new], counts={})}, {}),
    "people.erase": lambda n: (
        {"person": Person(names=[n.new], counts={})},
        {"mode": "delete", "dry_run": True},
    ),
    "leases.hold": lambda n: ({"name": n.new}, {"seconds": 3600, "wait": 0}),
    "leases.release": lambda n: ({"lease": Lease(n.new, n.who, 1, 3600)}, {}),
    "leases.renew": lambda n: ({"lease": Lease(n.lease, n.who, 1, 3600)}, {"seconds": 3600}),
    "threads.users.count": lambda n: ({}, {"limit": 1}),
    "threads.users.create": lambda n: (
        {"identifier": n.new},
        {"metadata": {}, "user_id": n.new, "created_at": SOON},
    ),
    "threads.users.delete": lambda n: ({"user_id": n.new}, {}),
    "threads.users.ensure": lambda n: ({"identifier": n.user}, {"metadata": {}}),
    "threads.users.find": lambda n: ({"user_id": n.user_id}, {}),
    "threads.users.find_by_identifier": lambda n: ({"identifier": n.user}, {}),
    "threads.users.get": lambda n: ({"user_id": n.user_id}, {}),
    "threads.users.iter": lambda n: ({}, WALKED),
    "threads.users.list": lambda n: ({}, {"newest": True, **PAGED}),
    "threads.users.upsert": lambda n: ({"identifier": n.user}, {"metadata": {}}),
    "threads.files.delete": lambda n: ({"key": n.new}, {}),
    "threads.files.exists": lambda n: ({"key": n.file}, {}),
    "threads.files.find": lambda n: ({"key": n.file}, {}),
    "threads.files.get": lambda n: ({"key": n.file}, {}),
    "threads.files.iter": lambda n: ({"prefix": n.who}, {}),
    "threads.files.iter_content": lambda n: ({"key": n.file}, {"start": 0, "end": 1}),
    "threads.files.list": lambda n: ({"prefix": n.who}, {"newest": True, **PAGED}),
    "threads.files.read": lambda n: ({"key": n.file}, {}),
    "threads.files.upload": lambda n: ({"key": n.file, "content": b"x"}, {"content_type": "", "data": {}}),
    "threads.count": lambda n: ({"user_id": n.user_id}, {"limit": 1, **SOME_THREADS}),
    "threads.create": lambda n: ({"thread_id": n.new}, {"created_at": SOON, **OF_THREAD}),
    "threads.cursor_of": lambda n: (
        {"thread": Thread(id=n.thread, created_at=SOON, active_at=SOON)},
        {"order": "active"},
    ),
    "threads.delete": lambda n: ({"thread_id": n.new}, {}),
    "threads.ensure": lambda n: ({"thread_id": n.new}, OF_THREAD),
    "threads.exists": lambda n: ({"thread_id": n.thread}, {}),
    "threads.find": lambda n: ({"thread_id": n.thread}, {}),
    "threads.get": lambda n: ({"thread_id": n.thread}, {}),
    "threads.iter": lambda n: ({"user_id": n.user_id}, {**WALKED, **SOME_THREADS}),
    "threads.list": lambda n: (
        {"user_id": n.user_id},
        {"text": "", "order": "active", "newest": True, **SOME_THREADS, **PAGED},
    ),
    "threads.merge": lambda n: ({"thread_id": n.thread}, {"if_absent": True, "begun_at": SOON, **OF_THREAD}),
    "threads.update": lambda n: ({"thread_id": n.thread}, OF_THREAD),
    "threads.messages.count": lambda n: ({"thread_id": n.thread}, {"limit": 1}),
    "threads.messages.cursor_of": lambda n: ({"message": ThreadMessage(id=n.message, created_at=SOON)}, {}),
    "threads.messages.delete": lambda n: ({"thread_id": n.thread, "message_id": n.new}, {}),
    **{
        f"threads.messages.{verb}": lambda n: ({"thread_id": n.thread, "message_id": n.message}, {})
        for verb in ("describe_document", "exists", "find", "get")
    },
    "threads.messages.find_by_id": lambda n: ({"message_id": n.message}, {}),
    "threads.messages.iter": lambda n: ({"thread_id": n.thread}, {**WALKED, **SOME_MESSAGES}),
    "threads.messages.list": lambda n: (
        {"thread_id": n.thread},
        {"newest": True, **SOME_MESSAGES, **PAGED},
    ),
    "threads.messages.list_pinned": lambda n: ({"user_id": n.user_id}, {"newest": True, **PAGED}),
    "threads.messages.merge": lambda n: (
        {"thread_id": n.thread, "message_id": n.message},
        {"only_missing": True, "begun_at": SOON, "parent_id": "", "created_at": SOON, **SOME_MESSAGES},
    ),
    "threads.feedback.delete": lambda n: ({"thread_id": n.thread, "message_id": n.new}, {}),
    "threads.feedback.find": lambda n: ({"thread_id": n.thread, "message_id": n.message}, {}),
    "threads.feedback.find_by_id": lambda n: ({"feedback_id": n.feedback}, {}),
    "threads.feedback.list": lambda n: ({}, {"value": 1, **BOTH_WAYS}),
    "threads.feedback.upsert": lambda n: (
        {"thread_id": n.thread, "feedback": Feedback(message_id=n.message, value=1)},
        {},
    ),
    "threads.elements.delete": lambda n: ({"thread_id": n.thread, "element_id": n.new}, {}),
    "threads.elements.find": lambda n: ({"thread_id": n.thread, "element_id": n.element}, {}),
    "threads.elements.find_by_id": lambda n: ({"element_id": n.element}, {}),
    "threads.elements.get": lambda n: ({"thread_id": n.thread, "element_id": n.element}, {}),
    "threads.elements.iter": lambda n: ({"thread_id": n.thread}, WALKED),
    "threads.elements.list": lambda n: (
        {"thread_id": n.thread},
        {"message_id": "", "newest": True, **PAGED},
    ),
    "threads.elements.upsert": lambda n: (
        {"thread_id": n.thread, "element": Element(id=n.element, message_id=n.message)},
        {"begun_at": SOON},
    ),
    "keys.count": lambda n: ({}, {"limit": 1}),
    "keys.create": lambda n: ({"name": n.text}, {"namespaces": [], "owner_id": "", "expires_at": SOON}),
    "keys.delete": lambda n: ({"key_id": n.new}, {}),
    "keys.find": lambda n: ({"key_id": n.new}, {}),
    "keys.get": lambda n: ({"key_id": n.new}, {}),
    "keys.list": lambda n: ({}, {"newest": True, **PAGED}),
    "keys.verify": lambda n: ({"token": n.new}, {}),
}
FILTERS = {"text": "", "participant_id": "", "since": SOON, "until": SOON, "metadata": {}}
EXPIRY = {"expires_at": SOON, "expires_in": timedelta(days=1)}


def also(verb: str, members: dict[str, Any]) -> None:
    """Let a verb be called with more members."""
    call = CALLS[verb]

    def with_more(n: Names) -> tuple[dict[str, Any], dict[str, Any]]:
        required, optional = call(n)
        return required, {**members, **optional}

    CALLS[verb] = with_more


for house in ("sessions", "threads", "rooms"):
    for name in ("list", "iter", "count"):
        also(f"{house}.{name}", FILTERS)
    for name in (
        ("create", "ensure", "update", "merge") if house == "threads" else ("create", "ensure", "update")
    ):
        also(f"{house}.{name}", EXPIRY)
also("sessions.namespaces.list_sessions", FILTERS)
also("sessions.messages.update", {"expected": None, "status": ""})
also("sessions.messages.delete", {"expected": None})
also("sessions.messages.watch", {"last": 1})
also("rooms.events.watch", {"last": 1})
also("sessions.context.set", {"create": False, "expected": None})
also("sessions.context.delete", {"expected": None})


# What is code, and no more than called.
CODE = {"sessions.turns.integrate": {"integrator", "executor"}}
# Verbs that show to whoever may call them what belongs to everybody.
OF_ALL = {"keys.list", "threads.users.iter", "threads.users.list"}
# A token that is none is as good as an unknown one.
LENIENT = {("keys.verify", "token")}


# Refused, if only by the driver or the server and in their words for it.
EVERY_VERB = [
    f"{path}.{name}"
    for path, repository in repositories_of(AsyncMongoStore("mongomock://")).items()
    for name, _ in inspect.getmembers(type(repository), inspect.isfunction)
    if not name.startswith("_")
]
# One of each house, with each fourth payload, for the shapes come in turns of three; all is for the long run.
IN_EVERY_RUN = {"sessions", "threads.messages", "rooms"}
KINDS = list(dict.fromkeys(verb.rpartition(".")[0] for verb in EVERY_VERB))


def hints_of(verb: Any) -> dict[str, Any]:
    """Return the types of a verb's parameters, of each member that `**members` takes, too."""
    hints = get_type_hints(verb)
    hints.pop("return", None)
    for name, hint in list(hints.items()):
        if get_origin(hint) is Unpack:
            del hints[name]
            hints |= get_type_hints(get_args(hint)[0])
    return hints


def plain_types(hint: Any) -> set[Any] | None:
    """Return the types of a parameter that takes plain values, None for one that takes anything else."""
    kinds = set(get_args(hint)) if get_origin(hint) in (Union, UnionType) else {hint}
    kinds |= {int} if float in kinds else set()
    return kinds if kinds <= {str, int, bool, float, bytes, datetime, type(None)} else None


def instead_of(sample: Any, hint: Any) -> Iterator[Any]:
    """Yield what is tried in the place of one argument."""
    yield from PAYLOADS
    if plain_types(hint) is None:
        for payload in PAYLOADS:
            yield [payload]
            yield {"k": payload}
            if type(payload) is str:
                yield {payload: "x"}
            if isinstance(sample, tuple):
                yield ("x", payload)
                yield (payload, "x")
    if isinstance(sample, list) and sample and isinstance(sample[0], BaseModel):
        yield from ([one] for one in instead_of(sample[0], hint))
    if isinstance(sample, BaseModel):
        for name in type(sample).model_fields:
            for payload in PAYLOADS:
                for value in (payload, [payload], {"k": payload}):
                    yield sample.model_copy(update={name: value})
    if dataclasses.is_dataclass(sample) and not isinstance(sample, type):
        for field in dataclasses.fields(sample):
            for payload in PAYLOADS:
                yield dataclasses.replace(sample, **{field.name: payload})
                yield dataclasses.replace(sample, **{field.name: [payload]})


def forged(valid: str | None) -> Iterator[Any]:
    """Yield cursors that no page gave, some of them made from one that a page gave."""
    yield from FORGED
    fields = decode_cursor(valid)
    for forgery in OPERATORS:
        for index in range(len(fields) if isinstance(fields, list) else 0):
            changed = [*fields]
            changed[index] = forgery
            yield encode_cursor(changed)
            if isinstance(fields[index], dict):
                changed[index] = dict.fromkeys(fields[index], forgery)
                yield encode_cursor(changed)


async def outcome_of(verb: Any, arguments: dict[str, Any]) -> Any:
    """Call a verb and return what it returns or yields, or the error that it raises."""
    try:
        result = verb(**arguments)
        if inspect.iscoroutine(result):
            return await result
        if isinstance(result, AbstractAsyncContextManager):
            async with result as entered:
                return entered
        if inspect.isasyncgen(result):
            async with aclosing(result):
                try:
                    async with asyncio.timeout(0.05 if verb.__name__ == "watch" else 60):
                        return [item async for item in result]
                except TimeoutError:
                    return []
        return result
    except Exception as error:  # whatever it is, the test tells
        return error


def judged(verb: str, name: str, payload: Any, hint: Any, outcome: Any) -> str | None:
    """Return what is wrong with what became of a call, None if nothing is."""
    kinds = plain_types(hint)
    fits = not kinds or type(payload) in kinds or (verb, name) in LENIENT
    # A subclass may be taken for the text that it is.
    if not fits and not (str in kinds and isinstance(payload, str)):
        return None if type(outcome) is InvalidValueError else f"is not refused but gives {printed(outcome)}"
    if isinstance(outcome, BaseException):
        return None if type(outcome) in OURS else f"raises {printed(outcome)}"
    if NEIGHBOUR in repr(outcome) and verb not in OF_ALL:
        return "shows what is the neighbour's"
    if isinstance(payload, str) and str(getattr(outcome, name, payload)) != str(payload):
        return f"is taken for {printed(getattr(outcome, name))}"
    return None


def printed(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 100 else f"{text[:100]}…"


async def attempts(
    store: AsyncMongoStore, verb: str, n: Names, every: int
) -> AsyncIterator[tuple[str, Any, Any, Any]]:
    """Call a verb with each n-th payload in the place of each argument, and yield what becomes of it."""
    call = attrgetter(verb)(store)
    required, optional = CALLS[verb](n)
    for parameter, hint in hints_of(call).items():
        if parameter in CODE.get(verb, ()):
            continue
        payloads = list(instead_of({**required, **optional}[parameter], hint))
        if parameter in ("cursor", "after", "before"):
            page = await call(**required, limit=1) if "limit" in optional else None
            payloads += forged(None if page is None else page.next_cursor)
        for payload in payloads[::every]:
            arguments = {**CALLS[verb](n)[0], parameter: payload}
            yield parameter, payload, hint, await outcome_of(call, arguments)


def test_every_parameter_of_every_verb_is_called() -> None:
    assert set(CALLS) == set(EVERY_VERB)
    store = AsyncMongoStore("mongomock://")
    for verb, sent in CALLS.items():
        required, optional = sent(Names("x"))
        assert not required.keys() & optional.keys()
        assert {*required, *optional} == set(hints_of(attrgetter(verb)(store))), verb


@pytest.mark.parametrize(
    ("kind", "every"),
    [
        *(pytest.param(kind, 4, id=f"{kind}-few") for kind in KINDS if kind in IN_EVERY_RUN),
        *(pytest.param(kind, 1, id=kind, marks=pytest.mark.long) for kind in KINDS),
    ],
)
async def test_nothing_in_the_place_of_an_argument_reaches_what_is_anothers(
    store: AsyncMongoStore, kind: str, every: int
) -> None:
    await furnish(store, Names(NEIGHBOUR))
    theirs = await stored(store)
    await furnish(store, me := Names("caller"))
    wrong = []
    for verb in EVERY_VERB:
        if verb.rpartition(".")[0] == kind:
            async for parameter, payload, hint, outcome in attempts(store, verb, me, every):
                if reason := judged(verb, parameter, payload, hint, outcome):
                    wrong.append(f"{verb}({parameter}={printed(payload)}) {reason}")
            now = await stored(store)
            for name, documents in theirs.items():
                for key, document in documents.items():
                    if now[name].get(key) != document:
                        wrong.append(f"{verb} changes {name} {key}")
            wrong += [
                f"{verb} stores {printed(document)}"
                for name, documents in now.items()
                for document in documents.values()
                if name not in GRIDFS and not is_plain(document)
            ]
    assert not wrong, "\n".join(wrong)
