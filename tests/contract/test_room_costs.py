"""What the verbs of rooms and all that hangs on them cost on a real server, counted and explained."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import chain
from types import SimpleNamespace
from typing import Any

import bson
import pytest
from pymongo import MongoClient

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    Binding,
    Event,
    EventFilter,
    Identity,
    NotFoundError,
    Observation,
    Room,
    RoomFilter,
    RoomParticipant,
    RoomState,
    Task,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)
from mongostore.index_definitions import load_indexes
from mongostore.repositories import Repository
from mongostore.repositories.rooms.offsets import Offsets
from tests.contract import sharding
from tests.contract.command_log import (
    Case,
    CommandLog,
    Observed,
    Sent,
    Verbs,
    count_affected,
    executed_by_indexes,
    logged_store,
    nested,
    stages_of,
    verbs_of,
)

pytestmark = pytest.mark.server

T = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SECOND = timedelta(seconds=1)
# More than an iteration or a search asks for at once, and many times what a page shows.
ROOMS = 240
EVENTS = 900
PAGE = 4
KINDS = (
    *("rooms", "events", "bindings", "participants", "identities", "verifications", "requests"),
    *("tasks", "observations", "read_markers", "voice_deliveries", "leases", "offsets"),
)


def repositories(store: AsyncMongoStore) -> dict[str, Repository]:
    """Return those that the cases call, by the names that they have there."""
    rooms = store.rooms
    named = {"rooms": rooms, "leases": store.leases, "offsets": Offsets.of(rooms)}
    named["requests"] = rooms.verifications.requests
    return {kind: named.get(kind) or getattr(rooms, kind) for kind in KINDS}


def event(n: int, room_id: str = "long") -> Event:
    """Event `n` of a long room: a third is blocked, of which there is one long run."""
    return Event(
        id=f"{room_id}-{n}",
        room_id=room_id,
        type=("message", "tool")[n % 20 == 0],
        status="blocked" if 300 <= n < 600 or n % 10 == 0 else "delivered",
        visibility=("all", "internal")[n % 2],
        channel_id=f"c{n % 3}",
        channel_type=("sms", "email")[n % 2],
        participant_id=f"p{n % 7}",
        content="x" * 100,
        correlation_id=f"run{n % 50}" if n % 2 else None,
        responds_to=f"{room_id}-{n - 1}" if n % 5 == 1 else None,
        parent_event_id=f"{room_id}-{n // 30 * 30}" if n % 4 == 3 else None,
        idempotency_key=f"k{n}" if n % 2 else None,
        change="edit" if n % 100 == 50 else None,
        target_event_id=f"{room_id}-{n - 1}" if n % 100 == 50 else None,
        created_at=T + n * SECOND,
    )


async def make_room(store: AsyncMongoStore, n: int) -> None:
    await store.rooms.create(
        f"r{n:04}",
        organization_id=f"o{n % 5}" if n % 2 else None,
        status=("active", "paused", "closed")[n % 3],
        created_at=T + n // 3 * SECOND,
        metadata={"n": n, "seventh": n % 7 == 0, "tags": ["a", n % 10], "of": {"n": n, "all": [n]}},
    )


async def make_visit(store: AsyncMongoStore, n: int) -> None:
    """Make a room of somebody who comes again and again: of 60 the oldest is open, some were closed later."""
    closed = {"status": "closed"} if n % 2 else {}
    await store.rooms.create(f"visit{n}", created_at=T + n * SECOND, **closed)
    await store.rooms.bindings.upsert(f"visit{n}", Binding(channel_id="visits", participant_id="regular"))
    person = RoomParticipant(id="regular", channel_ids=["visits"])
    await store.rooms.participants.upsert(f"visit{n}", person)
    if n:
        await store.rooms.update(f"visit{n}", status="closed")


async def in_turns(calls: Iterable[Awaitable[object]], width: int = 100) -> None:
    batch: list[Awaitable[object]] = []
    for call in calls:
        batch.append(call)
        if len(batch) == width:
            await asyncio.gather(*batch)
            batch = []
    await asyncio.gather(*batch)


async def populate(store: AsyncMongoStore) -> None:
    """Make hundreds of rooms, events and people, so that a bad plan shows."""
    names = ("long", "crowded", "busy", "doomed", "watched")
    await in_turns(make_room(store, n) for n in range(ROOMS))
    await in_turns(store.rooms.create(name, created_at=T) for name in names)
    await in_turns(
        store.rooms.events.append(name, event(n, name))
        for name in ("long", "busy")
        for n in range(EVENTS // 2)
    )
    await in_turns(store.rooms.events.append("long", event(n)) for n in range(EVENTS // 2, EVENTS))
    await in_turns(store.rooms.events.append("doomed", event(n, "doomed")) for n in range(100))
    # Transactions that meet are tried again: a few at once, or most of the work is done in vain.
    for name in ("crowded", "doomed"):
        await in_turns((member(store, name, f"c{n}", n) for n in range(120)), width=5)
    await in_turns((member(store, f"r{n:04}", f"c{n % 3}", n) for n in range(ROOMS)), width=10)
    await in_turns((make_visit(store, n) for n in range(60)), width=10)
    await in_turns((store.rooms.tasks.create("crowded", Task(id=f"t{n}")) for n in range(100)), width=5)
    await in_turns(
        (store.rooms.observations.create("crowded", Observation(id=f"o{n}")) for n in range(100)), width=5
    )
    await in_turns((store.rooms.identities.create(identity(n)) for n in range(100)), width=10)
    await in_turns(store.rooms.verifications.upsert(verification(n)) for n in range(200))
    await in_turns(store.rooms.read_markers.advance("long", f"c{n}", "long-10") for n in range(100))
    await in_turns((store.rooms.voice_deliveries.claim("long", delivery(n)) for n in range(100)), width=5)


async def member(store: AsyncMongoStore, room_id: str, channel_id: str, n: int) -> None:
    await store.rooms.bindings.upsert(
        room_id,
        Binding(
            channel_id=channel_id,
            channel_type=("sms", "email")[n % 2],
            participant_id=f"p{4 + n % 4}" if n % 2 else None,
            group=n % 4 == 0,
            metadata={"to": f"+{n % 40}"},
        ),
    )
    await store.rooms.participants.upsert(
        room_id,
        RoomParticipant(
            id=f"p{4 + n % 4}" if room_id[0] == "r" else f"p{n}",
            identity_id=f"i{n % 40}",
            channel_ids=[channel_id],
        ),
    )


def identity(n: int) -> Identity:
    return Identity(
        id=f"i{n:03}", organization_id="o" if n % 2 else None, addresses={"sms": [f"+{n}"], "email": [f"{n}"]}
    )


def verification(n: int) -> Verification:
    return Verification(
        identity_id=f"i{n:03}",
        status=("verified", "revoked")[n % 5 == 0],
        expires_at=T if n % 10 == 3 else None,
    )


def delivery(n: int, **members: Any) -> VoiceDelivery:
    made = VoiceDelivery(room_id="long", key=f"k{n}", content_hash="h", attempt_id="a")
    return made.model_copy(update=members)


async def length(items: AsyncIterator[Any]) -> int:
    return len([item async for item in items])


async def refused(call: Awaitable[object]) -> None:
    with pytest.raises(AlreadyExistsError):
        await call


async def missing(call: Awaitable[object]) -> None:
    with pytest.raises(NotFoundError):
        await call


async def channel_pages(rooms: Any, **options: Any) -> None:
    page = await rooms.list_by_channel("c1", limit=PAGE, **options)
    next_page = await rooms.list_by_channel("c1", limit=PAGE, cursor=page.next_cursor, **options)
    assert len(next_page) == PAGE


async def second_page(repository: Any, *args: Any, **options: Any) -> None:
    page = await repository.list(*args, limit=PAGE, **options)
    next_page = await repository.list(*args, limit=PAGE, cursor=page.next_cursor, **options)
    assert len(next_page) == PAGE


async def rooms_by_offset(s: Any) -> None:
    cursor = await s.offsets.find_room_cursor(40)
    assert len(await s.rooms.list(order="created", newest=False, limit=20, cursor=cursor)) == 20


async def events_by_offset(s: Any, *, newest: bool) -> None:
    cursor = await s.offsets.find_event_cursor("long", 200, newest=newest)
    assert len(await s.events.list("long", limit=20, cursor=cursor, newest=newest)) == 20


async def watched(s: Any) -> None:
    async with aclosing(s.events.watch("watched")) as events:
        first = asyncio.ensure_future(anext(events))
        while not (await asyncio.wait([first], timeout=0.3))[0]:
            await s.events.append("watched", Event(channel_id="c"))
        assert await first


async def watched_last(s: Any) -> None:
    async with aclosing(s.events.watch("long", last=1)) as events:
        assert await anext(events)


async def leased(s: Any) -> None:
    lease = await s.leases.acquire("l", "o", 60)
    await s.leases.renew(lease, 70)
    assert await s.leases.release(lease)


def edit(n: int, **members: Any) -> Event:
    return Event(room_id="long", channel_id="c", change="edit", target_event_id=f"long-{n}", **members)


ERASURE = Event(room_id="long", channel_id="c", type="delete", change="delete", target_event_id="long-49")
ACTIVE, LATE = RoomFilter(status="active"), RoomFilter(status=["active", "paused"])
OF_O1 = RoomFilter(organization_id="o1")
BY_CREATION: Any = {"order": "created", "newest": False}
DICT = {"n": 77, "all": [77]}
BOTH = RoomFilter(status="active", organization_id="o1")
ALL = EventFilter(blocked=True)

# In this order, on one database: later cases find what earlier ones left.
CASES = [
    # The first one, before others write what has no words yet.
    Case("rooms: search what none has", 4, lambda s: s.rooms.list(text="nowhere")),
    Case("rooms: create", 1, lambda s: s.rooms.create("new")),
    Case("rooms: create again", 1, lambda s: refused(s.rooms.create("new"))),
    Case("rooms: ensure", 1, lambda s: s.rooms.ensure("ensured")),
    Case("rooms: ensure what is there", 2, lambda s: s.rooms.ensure("long")),
    Case("rooms: get", 1, lambda s: s.rooms.get("long")),
    Case("rooms: find", 1, lambda s: s.rooms.find("unknown")),
    Case("rooms: exists", 1, lambda s: s.rooms.exists("long")),
    Case("rooms: get_full", 1, lambda s: s.rooms.get_full("r0007")),
    Case("rooms: get_full of a crowded room", 2, lambda s: s.rooms.get_full("crowded")),
    Case("rooms: get_full of no room", 1, lambda s: missing(s.rooms.get_full("unknown"))),
    Case("rooms: update", 2, lambda s: s.rooms.update("new", status="active", metadata={"k": 1, "l": None})),
    Case(
        "rooms: update with unset",
        2,
        lambda s: s.rooms.update("new", metadata={"k": 1}, unset=["metadata.l"]),
    ),
    Case("rooms: replace", 2, lambda s: s.rooms.replace(Room(id="new"))),
    Case(
        "rooms: replace what is expected",
        3,
        lambda s: s.rooms.replace(Room(id="new"), expected=RoomState("active", None, None)),
    ),
    Case("rooms: advance_delivered_index", 1, lambda s: s.rooms.advance_delivered_index("long", 0)),
    Case("rooms: force the index", 1, lambda s: s.rooms.advance_delivered_index("long", 9, force=True)),
    Case("rooms: set_private", 1, lambda s: s.rooms.set_private("new", "k", {"x": 1})),
    Case("rooms: find_private", 1, lambda s: s.rooms.find_private("new", "k")),
    Case("rooms: list", 2, lambda s: s.rooms.list(limit=20)),
    Case("rooms: list two pages", 4, lambda s: second_page(s.rooms)),
    Case("rooms: list with an offset", 3, rooms_by_offset),
    Case("rooms: list of a status", 2, lambda s: s.rooms.list(**ACTIVE, limit=20)),
    Case("rooms: list of two statuses", 4, lambda s: second_page(s.rooms, **LATE)),
    Case("rooms: list of an organization", 4, lambda s: second_page(s.rooms, **OF_O1)),
    Case("rooms: list of both", 4, lambda s: second_page(s.rooms, **BOTH)),
    Case("rooms: list of unknown", 1, lambda s: s.rooms.list(status=["unknown"], organization_id="unknown")),
    Case("rooms: list with metadata", 2, lambda s: s.rooms.list(metadata={"n": 77})),
    Case("rooms: list with a dict in metadata", 2, lambda s: s.rooms.list(metadata={"of": DICT})),
    Case("rooms: list a few with metadata", 2, lambda s: s.rooms.list(metadata={"seventh": True}, limit=5)),
    Case("rooms: list the newest", 4, lambda s: second_page(s.rooms, order="created")),
    *(
        Case(
            f"rooms: list by creation, of {filter}",
            4,
            lambda s, f=filter: second_page(s.rooms, **f, **BY_CREATION),
        )
        for filter in ({}, ACTIVE, LATE, OF_O1, BOTH)
    ),
    Case("rooms: list the longest idle", 4, lambda s: second_page(s.rooms, newest=False)),
    Case("rooms: list since", 2, lambda s: s.rooms.list(since=T, until=T + 900 * SECOND, limit=20)),
    Case("rooms: count since", 4, lambda s: s.rooms.count(since=T, until=T + 900 * SECOND)),
    Case("rooms: iter", 4, lambda s: length(s.rooms.iter())),
    Case("rooms: iter of an organization", 2, lambda s: length(s.rooms.iter(**OF_O1))),
    Case("rooms: count", 1, lambda s: s.rooms.count()),
    Case("rooms: count of a status", 1, lambda s: s.rooms.count(**ACTIVE)),
    Case("rooms: count of two statuses", 1, lambda s: s.rooms.count(**LATE)),
    Case("rooms: count of an organization", 1, lambda s: s.rooms.count(**OF_O1)),
    Case("rooms: count of both", 1, lambda s: s.rooms.count(**BOTH)),
    Case("rooms: count with metadata", 1, lambda s: s.rooms.count(metadata={"n": 77})),
    Case("rooms: find_by_participant", 3, lambda s: s.rooms.find_by_participant("p7")),
    Case(
        "rooms: find_by_participant of a type",
        3,
        lambda s: s.rooms.find_by_participant("p7", channel_type="sms"),
    ),
    Case("rooms: find_by_participant of a status", 3, lambda s: s.rooms.find_by_participant("p7", **ACTIVE)),
    Case("rooms: find_by_participant of nobody", 2, lambda s: s.rooms.find_by_participant("nobody")),
    Case("rooms: find_by_binding", 2, lambda s: s.rooms.find_by_binding("c1", ["p7", "i7"])),
    Case(
        "rooms: find_by_binding of a recipient",
        2,
        lambda s: s.rooms.find_by_binding("c1", ["nobody"], recipient=("to", "+10"), **LATE),
    ),
    Case("rooms: find_by_route", 2, lambda s: s.rooms.find_by_route("c1", ["p7", "i7"])),
    Case("rooms: list_by_channel", 2, lambda s: s.rooms.list_by_channel("c1", limit=2)),
    Case(
        "rooms: list_by_channel, no group", 2, lambda s: s.rooms.list_by_channel("c1", group=False, limit=2)
    ),
    Case("rooms: list_by_channel in pages", 4, lambda s: channel_pages(s.rooms, newest=True)),
    Case("rooms: list_by_channel of a status", 2, lambda s: s.rooms.list_by_channel("c1", **LATE, limit=2)),
    *(
        Case(f"rooms: past the closed {claim}", most, call)
        for claim, most, call in (
            ("find_by_binding", 2, lambda s: s.rooms.find_by_binding("visits", ["regular", "x"], **LATE)),
            ("find_by_route", 2, lambda s: s.rooms.find_by_route("visits", ["regular", "x"], **LATE)),
            ("find_by_participant", 3, lambda s: s.rooms.find_by_participant("regular", **LATE)),
            ("list_by_channel", 2, lambda s: s.rooms.list_by_channel("visits", **LATE, limit=1)),
        )
    ),
    Case("rooms: close", 6, lambda s: s.rooms.update("visit0", status="closed")),
    Case("rooms: open", 6, lambda s: s.rooms.update("visit0", status="active")),
    # The first activity of a second is one command more, which lists the room by it.
    Case("events: append", 3, lambda s: s.events.append("long", Event(channel_id="c"))),
    Case(
        "events: append to create", 4, lambda s: s.events.append("begun", Event(channel_id="c"), create=True)
    ),
    Case(
        "events: append, which may create",
        3,
        lambda s: s.events.append("long", Event(channel_id="c"), create=True),
    ),
    Case("events: append an edit", 4, lambda s: s.events.append("long", edit(5), target=event(5))),
    Case("events: append a delete", 5, lambda s: s.events.append("long", ERASURE, target=event(49))),
    Case("events: append a taken key", 3, lambda s: refused(s.events.append("long", taken_key()))),
    Case("events: append a taken id", 2, lambda s: refused(s.events.append("long", event(2)))),
    Case(
        "events: append 50 at once",
        2,
        lambda s: in_turns(s.events.append("long", one) for one in fifty()),
    ),
    # What is before and behind a refused event goes on in groups.
    Case("events: append 50 at once, a taken key among them", 5, lambda s: in_turns(poisoned(s.events))),
    Case("events: create", 1, lambda s: s.events.create("long", Event(channel_id="c"))),
    Case(
        "events: create at an index",
        1,
        lambda s: s.events.create("long", event(9000).model_copy(update={"index": 9000})),
    ),
    Case("events: update", 1, lambda s: s.events.update("long", "long-77", metadata={"k": 1, "l": None})),
    Case("events: replace", 1, lambda s: s.events.replace("long", event(77))),
    Case("events: replace and erase", 3, lambda s: s.events.replace("long", event(149), erase_edits=True)),
    Case(
        "events: update its delivery",
        1,
        lambda s: s.events.update("long", "long-77", delivery_results={"c": 1}),
    ),
    Case("events: get", 1, lambda s: s.events.get("long", "long-77")),
    Case("events: describe_document", 1, lambda s: s.events.describe_document("long", "long-77")),
    Case("events: find", 1, lambda s: s.events.find("long", "unknown")),
    Case("events: find_by_id", 1, lambda s: s.events.find_by_id("long-77")),
    Case("events: exists", 1, lambda s: s.events.exists("long", "long-77")),
    Case("events: find_by_key", 1, lambda s: s.events.find_by_key("long", "k77", channel_id="c2")),
    Case("events: find_by_key in any channel", 1, lambda s: s.events.find_by_key("long", "k77")),
    Case("events: find_by_key that is free", 1, lambda s: s.events.find_by_key("long", "free")),
    Case("events: list the first", 1, lambda s: s.events.list("long", limit=20)),
    Case("events: list around one", 2, lambda s: s.events.list("long", around=100, limit=20)),
    Case("events: list the newest", 1, lambda s: s.events.list("long", newest=True, limit=20)),
    Case(
        "events: list after an index, past the blocked",
        1,
        lambda s: s.events.list("long", after=299, limit=20),
    ),
    Case(
        "events: list before an index, past the blocked",
        1,
        lambda s: s.events.list("long", before=600, limit=20),
    ),
    Case("events: list with an offset", 2, lambda s: events_by_offset(s, newest=False)),
    Case("events: list the newest with an offset", 2, lambda s: events_by_offset(s, newest=True)),
    Case("events: list the blocked too", 1, lambda s: s.events.list("long", **ALL, after=350)),
    *(
        Case(f"events: list by {name}", 1, lambda s, where=where: s.events.list("long", **where, limit=10))
        for name, where in {
            "types": EventFilter(types=["message"]),
            "exclude_types": EventFilter(exclude_types=["message"], blocked=True),
            "visibility": EventFilter(visibility="internal"),
            "channel_id": EventFilter(channel_id="c2"),
            "channel_type": EventFilter(channel_type="email"),
            "participant_id": EventFilter(participant_id="p5"),
            "correlation_id": EventFilter(correlation_id="run7"),
            "responds_to": EventFilter(responds_to="long-770"),
            "parent_event_id": EventFilter(parent_event_id="long-600"),
            "top_level": EventFilter(top_level=True),
            "a rare type": EventFilter(types=["delete"]),
            "rare types of one kind": EventFilter(types=["delete", "edit"], visibility="all"),
            "rare types of both kinds": EventFilter(types=["delete", "tool"]),
            "a late time": EventFilter(created_after=T + 895 * SECOND),
            "time": EventFilter(created_after=T + 200 * SECOND, created_before=T + 205 * SECOND),
            "much": EventFilter(types=["message"], channel_id="c1", participant_id="p1", top_level=True),
        }.items()
    ),
    # Where nothing is found, whether the room is there is looked at.
    Case("events: list nothing that is", 2, lambda s: s.events.list("long", participant_id="unknown")),
    Case("events: list by types that are all blocked", 2, lambda s: s.events.list("long", types=["tool"])),
    Case("events: list of no room", 2, lambda s: missing(s.events.list("unknown"))),
    Case("events: count of no room", 2, lambda s: missing(s.events.count("unknown"))),
    Case("events: list two pages", 2, lambda s: second_page(s.events, "long", newest=True)),
    Case("events: iter backwards", 2, lambda s: length(s.events.iter("long", newest=True))),
    Case("events: iter", 2, lambda s: length(s.events.iter("long"))),
    Case("events: count", 1, lambda s: s.events.count("long", **ALL)),
    Case("events: count what a list shows", 1, lambda s: s.events.count("long")),
    Case("events: count a few", 1, lambda s: s.events.count("long", limit=10)),
    Case(
        "events: count by type",
        1,
        lambda s: s.events.count("long", types=["tool"], blocked=True),
    ),
    Case("events: count the top level", 1, lambda s: s.events.count("long", top_level=True)),
    Case(
        "events: summarize_replies", 1, lambda s: s.events.summarize_replies("long", ["long-600", "long-630"])
    ),
    Case("events: delete", 7, lambda s: s.events.delete("long", "long-600")),
    Case("events: pop", 6, lambda s: s.events.pop("long", "long-900")),
    Case("events: delete nothing", 2, lambda s: s.events.delete("long", "unknown")),
    Case("events: watch", 12, watched),
    Case("events: watch the last", 8, watched_last),
    Case("bindings: upsert a new one", 4, lambda s: s.bindings.upsert("new", Binding(channel_id="c"))),
    Case("bindings: upsert again", 1, lambda s: s.bindings.upsert("new", Binding(channel_id="c"))),
    Case("bindings: get", 1, lambda s: s.bindings.get("crowded", "c7")),
    Case("bindings: find", 1, lambda s: s.bindings.find("crowded", "unknown")),
    Case("bindings: exists", 1, lambda s: s.bindings.exists("crowded", "c7")),
    Case("bindings: list", 2, lambda s: second_page(s.bindings, "crowded")),
    Case("bindings: iter", 1, lambda s: length(s.bindings.iter("crowded"))),
    Case("bindings: delete", 1, lambda s: s.bindings.delete("crowded", "c7")),
    Case(
        "participants: upsert a new one",
        4,
        lambda s: s.participants.upsert("new", RoomParticipant(id="p")),
    ),
    Case("participants: upsert again", 1, lambda s: s.participants.upsert("new", RoomParticipant(id="p"))),
    Case("participants: get", 1, lambda s: s.participants.get("crowded", "p7")),
    Case("participants: exists", 1, lambda s: s.participants.exists("crowded", "p7")),
    Case("participants: find", 1, lambda s: s.participants.find("crowded", "unknown")),
    Case("participants: list", 2, lambda s: second_page(s.participants, "crowded")),
    Case("participants: iter", 1, lambda s: length(s.participants.iter("crowded"))),
    Case("participants: delete", 1, lambda s: s.participants.delete("crowded", "p7")),
    Case(
        "identities: create", 3, lambda s: s.identities.create(Identity(id="new", addresses={"sms": ["new"]}))
    ),
    Case("identities: get", 1, lambda s: s.identities.get("i007")),
    Case("identities: find", 1, lambda s: s.identities.find("unknown")),
    Case("identities: find_by_address", 2, lambda s: s.identities.find_by_address("sms", "+8")),
    Case("identities: find_by_address of nobody", 1, lambda s: s.identities.find_by_address("sms", "x")),
    Case("identities: list", 2, lambda s: second_page(s.identities, organization_id="o")),
    Case("identities: iter", 1, lambda s: length(s.identities.iter(organization_id="o"))),
    Case("identities: link_address", 3, lambda s: s.identities.link_address("i008", "sms", "new2")),
    Case("identities: unlink_address", 4, lambda s: s.identities.unlink_address("i008", "sms", "new2")),
    Case("identities: delete", 6, lambda s: s.identities.delete("i009")),
    Case("identities: delete what is not there", 2, lambda s: s.identities.delete("unknown")),
    Case("verifications: find", 1, lambda s: s.verifications.find("i007")),
    Case("verifications: upsert", 1, lambda s: s.verifications.upsert(verification(7))),
    Case("verifications: iter_expiring", 1, lambda s: length(s.verifications.iter_expiring("verified"))),
    Case("requests: create", 1, lambda s: s.requests.create(request())),
    Case("requests: get", 1, lambda s: s.requests.get("q")),
    Case("requests: find", 1, lambda s: s.requests.find("q")),
    Case("requests: upsert", 1, lambda s: s.requests.upsert(request())),
    Case("tasks: create", 3, lambda s: s.tasks.create("crowded", Task(id="new", status="done"))),
    Case("tasks: upsert", 1, lambda s: s.tasks.upsert("crowded", Task(id="new", status="done"))),
    Case("tasks: upsert a new one", 4, lambda s: s.tasks.upsert("crowded", Task())),
    Case("tasks: get", 1, lambda s: s.tasks.get("crowded", "t7")),
    Case("tasks: find", 1, lambda s: s.tasks.find("crowded", "unknown")),
    Case("tasks: find_by_id", 1, lambda s: s.tasks.find_by_id("t7")),
    Case("tasks: delete", 1, lambda s: s.tasks.delete("crowded", "t8")),
    Case("tasks: list", 2, lambda s: second_page(s.tasks, "crowded")),
    Case("tasks: list of a status", 1, lambda s: s.tasks.list("crowded", status="done")),
    Case("tasks: iter", 1, lambda s: length(s.tasks.iter("crowded"))),
    Case("observations: create", 3, lambda s: s.observations.create("crowded", Observation())),
    Case("observations: delete", 1, lambda s: s.observations.delete("crowded", "o7")),
    Case("observations: list", 2, lambda s: second_page(s.observations, "crowded")),
    Case("observations: iter", 1, lambda s: length(s.observations.iter("crowded"))),
    Case("read_markers: advance", 3, lambda s: s.read_markers.advance("long", "c1", "long-77")),
    Case("read_markers: advance to the newest", 3, lambda s: s.read_markers.advance("long", "c2")),
    Case("read_markers: count_unread", 2, lambda s: s.read_markers.count_unread("long", "c1")),
    Case("read_markers: find", 1, lambda s: s.read_markers.find("long", "c1")),
    Case("read_markers: list", 2, lambda s: second_page(s.read_markers, "long")),
    Case("read_markers: iter", 1, lambda s: length(s.read_markers.iter("long"))),
    Case("voice_deliveries: claim", 4, lambda s: s.voice_deliveries.claim("long", delivery(1000))),
    Case("voice_deliveries: claim what is held", 4, lambda s: s.voice_deliveries.claim("long", delivery(7))),
    Case(
        "voice_deliveries: complete",
        1,
        lambda s: s.voice_deliveries.complete("long", delivery(7, outcome={"ok": 1})),
    ),
    Case("voice_deliveries: find", 1, lambda s: s.voice_deliveries.find("long", "k7")),
    Case("leases: acquire, renew and release", 3, leased),
    Case("rooms: delete", 11, lambda s: s.rooms.delete("doomed")),
    Case("rooms: delete nothing", 3, lambda s: s.rooms.delete("unknown")),
]


def taken_key() -> Event:
    return Event(room_id="long", channel_id="c2", idempotency_key="k77")


def fifty() -> list[Event]:
    return [Event(room_id="long", channel_id="c") for _ in range(50)]


def poisoned(events: Any) -> list[Awaitable[object]]:
    commits = [events.append("long", one) for one in fifty()]
    return [*commits[:25], refused(events.append("long", taken_key())), *commits[25:]]


def request() -> VerificationRequest:
    return VerificationRequest(id="q", identity_id="i")


async def observe(uri: str, database: str, wire: CommandLog) -> Observed:
    async with AsyncMongoStore(uri, database) as store:
        await populate(store)
        await store.rooms.list(text="nowhere")
    sent = {}
    async with logged_store(uri, database, wire) as store:
        held = repositories(store)
        verbs = {kind: Verbs(repository) for kind, repository in held.items()}
        for case in CASES:
            wire.sent.clear()
            await case.call(SimpleNamespace(**verbs))
            sent[case.claim] = wire.sent.copy()
            # It waits until rooms are listed by the activity of the case.
            await store.rooms.list(limit=1)
        types = {kind: type(repository) for kind, repository in held.items()}
    return Observed(sent, {kind: called.names for kind, called in verbs.items()}, types)


@pytest.fixture(scope="module")
def observed(server_uri: str, databases: list[str]) -> Iterator[Observed]:
    databases.append(database := f"test_{bson.ObjectId()}")
    with MongoClient[dict[str, Any]](server_uri) as explainer:
        yield asyncio.run(observe(server_uri, database, CommandLog(explainer)))
        explainer.drop_database(database)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cases_call_every_verb(observed: Observed, kind: str) -> None:
    assert observed.verbs[kind] == verbs_of(observed.repositories[kind])


def test_each_statement_names_its_owner(observed: Observed) -> None:
    sharding.check("rooms", chain.from_iterable(observed.sent.values()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_a_verb_sends_no_more_commands_than_promised(observed: Observed, case: Case) -> None:
    sent = observed.sent[case.claim]
    assert 1 <= len(sent) <= case.most, sent


# Queries that may examine more documents than they return, and why.
WIDE = {
    "rooms: list a few with metadata": "the index by values knows no order: rooms are read in theirs, or all",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_a_query_examines_what_it_returns_by_an_index(observed: Observed, case: Case) -> None:
    for sent in observed.sent[case.claim]:
        if sent.is_query:
            for stats in executed_by_indexes(sent, may_sort=True):
                examined = stats["totalDocsExamined"]
                assert examined <= count_affected(sent, stats) + 1 or case.claim in WIDE, (
                    sent.command,
                    stats,
                )
            for looked_up in joined(sent):
                assert looked_up["collectionScans"] == 0
                assert looked_up["indexesUsed"] == ["_id_"] or not looked_up["totalDocsExamined"]
                # However many rooms somebody is in, the first candidates are all that is read.
                assert looked_up["totalDocsExamined"] <= looked_up["nReturned"] <= 52


@pytest.mark.parametrize(
    "case", [case for case in CASES if "past the closed" in case.claim], ids=lambda case: case.claim
)
def test_a_look_up_examines_no_closed_rooms(observed: Observed, case: Case) -> None:
    for sent in observed.sent[case.claim]:
        examined = sum(stats["totalDocsExamined"] for stats in executed_by_indexes(sent, may_sort=True))
        examined += sum(looked_up["totalDocsExamined"] for looked_up in joined(sent))
        assert examined <= 3 + 10, sent.command


# Those that pass over keys of an index, at most all of one room's or person's, and why; no document is read.
_FILTERED = "one index holds a room's events in their order with all that they are filtered by"
_PASSED_OVER = "an offset is counted off key by key"
LONG_SCANS = {
    "rooms: list with an offset": _PASSED_OVER,
    "events: list with an offset": _PASSED_OVER,
    "events: list the newest with an offset": _PASSED_OVER,
    "rooms: list a few with metadata": WIDE["rooms: list a few with metadata"],
    "events: list by rare types of both kinds": "types before and after `message` have an index each",
    "rooms: list_by_channel in pages": "the candidate behind those that are looked up is found once more",
    "rooms: find_by_participant of a type": "the type of the channel is the last part of the key",
    **dict.fromkeys(
        (
            "events: list after an index, past the blocked",
            "events: list nothing that is",
            "events: list by types that are all blocked",
            "events: list by exclude_types",
            "events: list by participant_id",
            "events: list by a late time",
            "events: list by time",
            "events: list by much",
            "events: count by type",
        ),
        _FILTERED,
    ),
    **dict.fromkeys(
        (
            "events: count",
            "events: count the top level",
            "events: count what a list shows",
            "read_markers: count_unread",
            "rooms: count",
            "rooms: count of a status",
            "rooms: count of an organization",
            "rooms: count of two statuses",
        ),
        "a key of an index for each that is counted",
    ),
}


def test_a_query_reads_of_an_index_as_much_as_it_returns_unless_it_is_named(observed: Observed) -> None:
    long_scans = {}
    for claim, sent in observed.sent.items():
        for query in (one for one in sent if one.is_query):
            for stats in executed_by_indexes(query, may_sort=True):
                if stats["totalKeysExamined"] > 3 * count_affected(query, stats) + 10:
                    long_scans[claim] = stats["totalKeysExamined"]
    assert long_scans.keys() == LONG_SCANS.keys()
    assert max(long_scans.values()) < EVENTS + 200


def joined(sent: Sent) -> Iterator[dict[str, Any]]:
    assert sent.plan
    for stage in sent.plan.get("stages", ()):
        if "$lookup" in stage:
            yield stage


def test_a_room_is_found_by_its_key_without_a_plan(observed: Observed) -> None:
    sent = [one for one in chain.from_iterable(observed.sent.values()) if one.name == "aggregate"]
    unions = [stage.get("$unionWith", {}) for one in sent for stage in one.command["pipeline"]]
    filters = [set(union["pipeline"][0]["$match"]) for union in unions if union.get("coll") == "rooms"]
    assert [names for names in filters if "_id" in names]
    assert all(names == {"_id"} for names in filters if "_id" in names)


def test_an_event_is_committed_by_one_command(observed: Observed) -> None:
    sent = [command.name for command in observed.sent["events: create"]]
    assert sent == ["insert"]


def test_every_index_of_rooms_is_of_use(observed: Observed) -> None:
    used = {
        stage["indexName"]
        for case in CASES
        for sent in observed.sent[case.claim]
        for plan in nested(sent.plan or {}, "winningPlan")
        for stage in stages_of(plan)
        if "indexName" in stage
    }
    collections = {
        sent.command[sent.name] for case in CASES for sent in observed.sent[case.claim] if sent.is_query
    }
    for command in load_indexes():
        for index in command["indexes"]:
            if command["createIndexes"] in collections and "expireAfterSeconds" not in index:
                assert index["name"] in used or index.get("unique"), index["name"]
