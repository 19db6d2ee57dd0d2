"""One person planted in every collection: found, given out, erased, and nothing of hers left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    ConflictError,
    Event,
    Identity,
    InvalidValueError,
    Message,
    MongoStore,
    NotFoundError,
    RoomParticipant,
    Turn,
    UnavailableError,
)
from mongostore.documents import COLLECTIONS, erasures, identities, keys, room_parts, rooms, sessions, threads
from mongostore.people.erasure import Erasure
from mongostore.repositories.heads import Heads
from mongostore.repositories.mentions import MENTIONS, Mention
from mongostore.repositories.sessions import AsyncSessionContext
from tests.contract.planting import (
    ADA,
    BOB,
    HERS,
    MAIL,
    PHONE,
    THEIRS,
    WORDS,
    holding,
    plant,
    take_part,
    text_of,
)

STORED: dict[str, Any] = {
    "sessions": sessions.StoredSession,
    "session_segments": sessions.StoredSegment,
    "session_overflows": sessions.StoredOverflow,
    "threads": threads.StoredThread,
    "messages": threads.StoredThreadMessage,
    "elements": threads.StoredElement,
    "users": threads.StoredUser,
    "rooms": rooms.StoredRoom,
    "events": rooms.StoredEvent,
    "bindings": rooms.StoredBinding,
    "participants": rooms.StoredRoomParticipant,
    "identities": identities.StoredIdentity,
    "identity_addresses": identities.StoredAddress,
    "verifications": identities.StoredVerification,
    "verification_requests": identities.StoredRequest,
    "tasks": room_parts.StoredTask,
    "observations": room_parts.StoredObservation,
    "read_markers": room_parts.StoredReadMarker,
    "voice_deliveries": room_parts.StoredVoiceDelivery,
    "leases": room_parts.StoredLease,
    "api_keys": keys.StoredKey,
    "erasures": erasures.StoredErasure,
}
# What names no person: leases name processes, read markers channels; erasures only while they run.
NAMELESS = {"leases", "read_markers", "erasures"}

# The fields that name a person, in whichever collection: a key of `participants` does so as well.
PERSON_FIELDS = frozenset(
    {"user_id", "user_identifier", "owner_id", "participant_id", "identity_id", "identifier"}
)


async def test_a_person_is_planted_in_every_collection(store: AsyncMongoStore) -> None:
    await plant(store)
    assert {*COLLECTIONS} - NAMELESS == (await holding(store, HERS)).keys()


@pytest.mark.smoke
@pytest.mark.parametrize("mode", ["delete", "anonymize"])
async def test_nothing_of_an_erased_person_is_left(store: AsyncMongoStore, mode: Any) -> None:
    await plant(store)
    bobs = await holding(store, (THEIRS, BOB.encode()))
    person = await store.people.get(ADA)
    assert {ADA, MAIL, PHONE, f"i-{ADA}"} <= {*person.names}
    report = await store.people.erase(person, mode=mode)
    assert report.errors == []
    assert await holding(store, HERS) == {}
    assert await holding(store, (THEIRS, BOB.encode())) == bobs
    assert await store.people.find(ADA) is None
    again = await store.people.erase(person, mode=mode)
    assert (again.lines, again.errors) == ([], [])


@pytest.mark.parametrize("mode", ["delete", "anonymize"])
async def test_erasure_deletes_shared_conversations_that_have_expired(
    store: AsyncMongoStore, let_pass: Callable[[timedelta], None], mode: Any
) -> None:
    hour = timedelta(hours=1)
    await store.sessions.create("s", user_id=BOB, participants=[ADA, BOB], expires_in=hour)
    await store.sessions.turns.append("s", ADA, Turn(role="user", content=text_of("turn")))
    for room_id in ("parts", "events"):
        await store.rooms.create(room_id, expires_in=hour)
        await take_part(store, room_id, BOB, "bobword")
    await take_part(store, "parts", ADA, text_of("part"))
    event = Event(channel_id="c", participant_id=ADA, content=text_of("event"))
    await store.rooms.events.append("events", event)
    person = await store.people.get(ADA)
    let_pass(hour)
    report = await store.people.erase(person, mode=mode)
    assert report.errors == []
    assert await holding(store, HERS) == {}


@pytest.mark.parametrize("mode", ["delete", "anonymize"])
async def test_what_others_said_beside_an_erased_person_stays(store: AsyncMongoStore, mode: Any) -> None:
    await plant(store)
    await store.people.erase(await store.people.get(ADA), mode=mode)
    assert [turn.content async for turn in store.sessions.turns.iter("shared", BOB)] == ["bobword turn"]
    assert (await store.sessions.get("shared")).user_id == BOB
    events = await store.rooms.events.list("shared")
    texts = [event.content for event in events]
    people = [one.id for one in await store.rooms.participants.list("shared")]
    channels = [one.channel_id for one in await store.rooms.bindings.list("shared")]
    markers = [one.channel_id for one in await store.rooms.read_markers.list("shared")]
    if mode == "delete":
        assert markers == ["c-b1"]
        assert (texts, people, channels) == (["bobword 0", "bobword 1"], [BOB], ["c-b1"])
        return
    assert texts == ["", "", "bobword 0", "bobword 1"]
    assert len({event.participant_id for event in events}) == 2
    # The place of hers stands for her everywhere in the room.
    assert {event.participant_id for event in events} == {*people}
    assert [event.index for event in events] == [0, 1, 2, 3]


@pytest.mark.parametrize("mode", ["delete", "anonymize"])
async def test_a_dry_run_reports_what_an_erasure_of_its_mode_does(
    store: AsyncMongoStore, let_pass: Callable[[timedelta], None], mode: Any
) -> None:
    hour = timedelta(hours=1)
    await plant(store)
    # Hers with another who takes part, rooms that have expired, and one that knows her identity alone.
    await store.sessions.create("both", user_id=ADA, participants=[ADA, BOB], metadata={"k": WORDS})
    await store.sessions.messages.append("both", Message(role="user", content=text_of("message")))
    for name in (ADA, BOB):
        await store.sessions.turns.append("both", name, Turn(role="user", content=f"{name} turn"))
    await store.rooms.create("by-identity")
    await store.rooms.participants.upsert("by-identity", RoomParticipant(id=BOB))
    await store.rooms.participants.upsert("by-identity", RoomParticipant(id="guest", identity_id=f"i-{ADA}"))
    for room_id in ("parts", "events"):
        await store.rooms.create(room_id, expires_in=hour)
        await store.rooms.participants.upsert(room_id, RoomParticipant(id=BOB))
    await store.rooms.participants.upsert("parts", RoomParticipant(id=ADA))
    for room_id, name in (("events", ADA), ("parts", ADA), ("by-identity", "guest"), ("by-identity", ADA)):
        await store.rooms.events.append(room_id, Event(channel_id="c", participant_id=name, content="x"))
    await store.threads.files.upload(f"{ADA}/alone", b"x", content_type="text/plain")
    person = await store.people.get(ADA)
    let_pass(hour)
    before = await holding(store, HERS)
    planned = await store.people.erase(person, mode=mode, dry_run=True)
    assert (planned.dry_run, planned.mode, planned.errors) == (True, mode, [])
    assert await holding(store, HERS) == before
    done = await store.people.erase(person, mode=mode)
    assert planned.lines == done.lines
    assert {line.collection for line in done.lines if line.deleted} >= {"rooms", "threads", "files.files"}
    anonymized = {line.collection for line in done.lines if line.anonymized}
    assert anonymized == (
        {"sessions", "messages", "events", "bindings", "participants"} if mode == "anonymize" else set()
    )


async def test_export_has_what_is_hers_and_nothing_that_others_said(store: AsyncMongoStore) -> None:
    await plant(store)
    records = [record async for record in store.people.export(await store.people.get(ADA))]
    received = " ".join(record.model_dump_json() for record in records)
    for kind in ("user", "session", "message 2", "context", "thread", "step", "comment", "turn", "identity"):
        assert text_of(kind) in received, kind
    assert "bobword" not in received
    kinds = {record.collection for record in records}
    assert kinds >= {"users", "sessions", "threads", "messages", "elements", "participants", "events"}
    assert kinds >= {"turns", "context", "bindings", "identities", "verifications", "api_keys"}
    # What an erasure deletes, too, though no element names it.
    assert [record.id for record in records if record.collection == "files.files"] == [f"{ADA}/f"]


@pytest.mark.parametrize("name", [MAIL, PHONE, f"i-{ADA}"])
async def test_a_person_is_found_by_any_of_their_names(store: AsyncMongoStore, name: str) -> None:
    await plant(store)
    assert {*(await store.people.get(name)).names} == {*(await store.people.get(ADA)).names}


async def test_the_same_name_in_another_tenant_is_another_person(store: AsyncMongoStore) -> None:
    for tenant in ("one", "two"):
        await store.sessions.in_namespace(tenant).create("s", user_id=ADA)
        await store.rooms.create(tenant, organization_id=tenant)
        await take_part(store, tenant, ADA, WORDS)
        await store.rooms.identities.create(Identity(id=f"{tenant}-{ADA}", organization_id=tenant))
    await store.threads.create("t", owner_id=ADA)
    person = await store.people.get(ADA, namespaces=["one"], organization_id="one")
    assert person.counts == {"sessions": 1, "participants": 1, "bindings": 1, "events": 2}
    await store.people.erase(person)
    assert not await store.sessions.in_namespace("one").exists("s")
    assert not await store.rooms.exists("one")
    assert await store.sessions.in_namespace("two").exists("s")
    assert len(await store.rooms.events.list("two")) == 2
    assert await store.threads.exists("t")


async def test_a_session_in_which_its_owner_takes_part_counts_once(store: AsyncMongoStore) -> None:
    await store.sessions.create("s", user_id=ADA, participants=[ADA])
    await store.sessions.create("of-another", user_id="bob", participants=[ADA])
    person = await store.people.get(ADA)
    assert person.counts == {"sessions": 2}


async def test_a_name_that_nothing_has_is_nobody(store: AsyncMongoStore) -> None:
    assert await store.people.find("nobody") is None
    with pytest.raises(NotFoundError):
        await store.people.get("nobody")
    await store.threads.create("t", owner_id=ADA)
    person = await store.people.get(ADA)
    for arguments in ({"mode": "hide"}, {"dry_run": 1}):
        with pytest.raises(InvalidValueError):
            await store.people.erase(person, **arguments)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError):
        await store.people.erase(ADA)  # type: ignore[arg-type]
    for names in ({"namespaces": ADA}, {"organization_id": 5}):
        with pytest.raises(InvalidValueError):
            await store.people.get(ADA, **names)  # type: ignore[arg-type]


async def test_what_comes_late_does_not_bring_an_erased_person_back(store: AsyncMongoStore) -> None:
    await plant(store)
    await store.people.erase(await store.people.get(ADA))
    late: list[Callable[[], Awaitable[Any]]] = [
        lambda: store.threads.messages.merge("a1", "m-a1", content=text_of("late")),
        lambda: store.threads.merge("a1", name=text_of("late")),
        lambda: store.threads.create(user_id=ADA, name=text_of("late")),
        lambda: store.sessions.messages.append("a1", Message(role="user", content=text_of("late"))),
        lambda: store.sessions.turns.append("shared", ADA, Turn(role="user", content=text_of("late"))),
        lambda: store.rooms.events.append("a1", Event(channel_id="c-a1", content=text_of("late"))),
    ]
    for write in late:
        with pytest.raises(NotFoundError):
            await write()
    await store.rooms.read_markers.advance("a1", "c-a1")
    assert await holding(store, HERS) == {}


@pytest.mark.parametrize("collection", ["participants", "users"])
async def test_an_erasure_that_was_cut_short_goes_on_by_an_address(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, collection: str
) -> None:
    await plant(store)
    person, attempt = await store.people.get(PHONE), Erasure.attempt

    async def cut(erasure: Erasure, mention: Mention, *step: Any) -> None:
        # What leads from the address to the other names is gone by then.
        if mention.collection == collection:
            raise ConflictError("cut")
        await attempt(erasure, mention, *step)

    monkeypatch.setattr(Erasure, "attempt", cut)
    with pytest.raises(ConflictError, match="cut"):
        await store.people.erase(person)
    monkeypatch.undo()
    await store.people.erase(await store.people.get(PHONE))
    assert await holding(store, HERS) == {}
    assert await store.people.find(PHONE) is None


@pytest.mark.parametrize("nth", range(2), ids=["session", "room"])
async def test_an_erasure_that_was_killed_keeps_the_id_that_it_deleted_last(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    await store.sessions.create("a1", user_id=ADA)
    await store.rooms.create("a1")
    await store.rooms.participants.upsert("a1", RoomParticipant(id=ADA))
    leave, left = Heads.leave_tombstone, count()

    async def cut(heads: Heads, house: Any, key: Any) -> None:
        if next(left) == nth:
            raise UnavailableError("cut")
        await leave(heads, house, key)

    monkeypatch.setattr(Heads, "leave_tombstone", cut)
    with pytest.raises(UnavailableError, match="cut"):
        await store.people.erase(await store.people.get(ADA))
    monkeypatch.undo()
    await store.people.erase(await store.people.get(ADA))
    for verbs in (store.sessions, store.rooms):
        with pytest.raises(AlreadyExistsError):
            await verbs.create("a1")


async def test_what_changes_while_it_is_erased_is_erased_all_the_same(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = datetime.now(UTC) + timedelta(days=1)
    await store.sessions.create("a", user_id=ADA, expires_at=soon)
    delete, calls = Heads.delete, count()

    async def late(self: Heads, *arguments: Any) -> bool:
        if next(calls) == 0:
            later = store.sessions.update("a", expires_at=soon + timedelta(days=1))
            await asyncio.create_task(later, context=Context())
        return await delete(self, *arguments)

    monkeypatch.setattr(Heads, "delete", late)
    [line] = (await store.people.erase(await store.people.get(ADA))).lines
    assert (line.collection, line.deleted) == ("sessions", 1)
    assert await store.people.find(ADA) is None


async def test_others_who_join_while_a_person_is_anonymized_keep_their_words(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.sessions.create("a", user_id=ADA, participants=[ADA])
    delete, calls = Heads.delete, count()

    async def join() -> None:
        await store.sessions.participants.create("a", "bob")
        await store.sessions.turns.append("a", "bob", Turn(role="user", content="mine"))

    async def late(self: Heads, *arguments: Any) -> bool:
        if next(calls) == 0:
            await asyncio.create_task(join(), context=Context())
        return await delete(self, *arguments)

    monkeypatch.setattr(Heads, "delete", late)
    await store.people.erase(await store.people.get(ADA), mode="anonymize")
    assert [turn.content async for turn in store.sessions.turns.iter("a", "bob")] == ["mine"]
    assert await store.people.find(ADA) is None


async def test_what_a_person_appends_while_they_are_anonymized_is_blanked(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.sessions.create("a", user_id=ADA, participants=["bob"])
    delete = AsyncSessionContext.delete

    async def late(self: AsyncSessionContext, session_id: str) -> bool:
        # Its messages were read by now, and it is still theirs.
        append = store.sessions.messages.append("a", Message(role="user", content="mine"))
        await asyncio.create_task(append, context=Context())
        return await delete(self, session_id)

    monkeypatch.setattr(AsyncSessionContext, "delete", late)
    await store.people.erase(await store.people.get(ADA), mode="anonymize")
    assert [message.content async for message in store.sessions.messages.iter("a")] == [None]


async def test_the_files_of_others_in_folders_that_begin_like_a_name_stay(store: AsyncMongoStore) -> None:
    await store.threads.users.create(f"{ADA}/b")
    files = [f"{ADA}/b/f", f"{ADA}/b/c/f", f"{ADA}/f", f"{ADA}/bc/f", f"{ADA}bc/f", "threads/t/e/f"]
    for key in files:
        await store.threads.files.upload(key, b"x", content_type="text/plain")
    for name in (ADA, "threads"):
        await store.threads.users.create(name)
        await store.people.erase(await store.people.get(name))
    left = [file.key async for file in store.threads.files.iter()]
    assert left == [f"{ADA}/b/c/f", f"{ADA}/b/f", f"{ADA}bc/f", "threads/t/e/f"]


@pytest.mark.parametrize("prunes", [False, True])
async def test_nothing_late_begins_an_erased_conversation_anew(
    store: AsyncMongoStore, let_pass: Callable[[timedelta], None], prunes: bool
) -> None:
    await plant(store)
    await store.people.erase(await store.people.get(ADA))
    if prunes:
        # A shorter time than an id stays taken.
        let_pass(timedelta(days=2))
        day = timedelta(days=1)
        await store.retention.prune(idle=day, older=day, keep_pinned=False)
    late = Message(role="user", content="late")
    for writes, error in (
        (
            [store.sessions.create("a1"), store.rooms.create("a1"), store.threads.create("a1")],
            AlreadyExistsError,
        ),
        ([store.sessions.ensure("a1"), store.rooms.ensure("a1"), store.threads.ensure("a1")], NotFoundError),
        ([store.sessions.messages.append("a1", late, create=True)], NotFoundError),
        ([store.sessions.context.set("a1", "late", create=True)], NotFoundError),
        ([store.rooms.events.append("a1", Event(channel_id="c"))], NotFoundError),
        ([store.rooms.events.append("a1", Event(channel_id="c"), create=True)], NotFoundError),
        ([store.threads.messages.merge("a1", "late", content="late")], NotFoundError),
    ):
        for write in writes:
            with pytest.raises(error):
                await write
    for house in (store.sessions, store.rooms, store.threads):
        assert not await house.exists("a1")
        assert "a1" not in [one.id async for one in house.iter()]
    let_pass(timedelta(days=31))
    assert (await store.sessions.create("a1")).user_id is None


def test_each_stored_field_that_names_a_person_is_looked_into() -> None:
    looked = {(mention.collection, name) for mention in MENTIONS for name in mention.fields}
    named = {
        (collection, name)
        for collection, model in STORED.items()
        for name in model.model_fields
        if name in PERSON_FIELDS
    }
    assert named - looked == set()
    assert {*COLLECTIONS} - {*STORED} == {
        *("files.files", "files.chunks", "session_insights", "session_turns"),
    }


def test_erasing_is_the_same_in_blocking_code() -> None:
    with MongoStore("mongomock://") as store:
        store.sessions.create("s", user_id=ADA)
        person = store.people.get(ADA)
        assert [record.collection for record in store.people.export(person)] == ["sessions"]
        [line] = store.people.erase(person).lines
        assert (line.collection, line.deleted) == ("sessions", 1)
