"""What RoomKit's contract says and its own tests leave out, on each engine."""

from __future__ import annotations

import asyncio
import inspect
import math
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mongostore import AlreadyExistsError, AsyncMongoStore, UnavailableError
from mongostore.sharing import _shared

if sys.version_info < (3, 12):
    pytest.skip("RoomKit needs Python 3.12", allow_module_level=True)

from roomkit import RoomKit
from roomkit.core.exceptions import (
    AddressLinkedError,
    EventNotFoundError,
    IdempotencyKeyTakenError,
    IdentityNotFoundError,
    RoomAlreadyExistsError,
    RoomNotFoundError,
)
from roomkit.models.channel import ChannelBinding, ChannelCapabilities, RateLimit, RetryPolicy
from roomkit.models.delivery import DeliveryError, DeliveryOutcome
from roomkit.models.enums import AgentResponsePolicy, ChannelType, EventStatus, EventType, RoomStatus
from roomkit.models.event import (
    AudioContent,
    ChannelData,
    CompositeContent,
    DeleteContent,
    EditContent,
    EventSource,
    LocationContent,
    MediaContent,
    RichContent,
    RoomEvent,
    SystemContent,
    TemplateContent,
    TextContent,
    ToolCallContent,
    VideoContent,
)
from roomkit.models.identity import Identity
from roomkit.models.participant import Participant
from roomkit.models.room import Room, RoomTimers
from roomkit.models.store_filter import EventFilter, RoomFilter
from roomkit.models.task import Observation, Task
from roomkit.models.verification import Verification, VerificationRequest
from roomkit.models.voice_delivery import VoiceDeliveryRecord
from roomkit.store.base import ConversationStore

from mongostore.adapters.roomkit import MongoConversationStore, MongoRoomLockManager

# Two calls of `list_events` each, and nothing that a database is asked for.
INHERITED = {"get_conversation", "get_timeline", "connection"}

NOON = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)
ODD: dict[str, Any] = {
    "a.b": {"$set": 1, "": [None, True, 1.5]},
    "$where": "$room_id",
    "nul\0key": "nul\0text",
    "huge": 2**70,
    "least": -(2**64) - 1,
    "whole float": 1e16,
    "ünïcode 🙂": "\u2028",
    "~": {"~1": "~0"},
}
CONTENTS = [
    TextContent(body="", language="en"),
    RichContent(body="<b>b</b>", format="html", buttons=[{"a.b": "$c"}], quick_replies=["yes"]),
    MediaContent(url="https://example.com/a.png", mime_type="image/png", size_bytes=2**40),
    LocationContent(latitude=-89.999999999, longitude=0.1 + 0.2, label="here"),
    AudioContent(url="data:audio/ogg;base64,", duration_seconds=0.1),
    VideoContent(url="https://example.com/v", thumbnail_url="https://example.com/t"),
    CompositeContent(parts=[TextContent(body="a"), CompositeContent(parts=[TextContent(body="b")])]),
    SystemContent(body="joined", code="x", data=ODD),
    TemplateContent(template_id="t", parameters={"$1": "a.b"}),
    EditContent(target_event_id="gone", new_content=RichContent(body="new", cards=[ODD])),
    DeleteContent(target_event_id="gone", delete_type="admin", reason="why"),
    ToolCallContent(
        tool_name="f", tool_id="1", arguments=ODD, result=[ODD, 2**80], structured_content=ODD, duration_ms=3
    ),
]


@pytest.fixture
async def rooms(store: AsyncMongoStore) -> MongoConversationStore:
    rooms = MongoConversationStore(store=store)
    await rooms.create_room(Room(id="r", created_at=NOON))
    return rooms


def event(index: int = 0, room_id: str = "r", **members: Any) -> RoomEvent:
    members = {"id": f"e{index}", "content": TextContent(body=str(index)), **members}
    source = members.pop("source", EventSource(channel_id="sms", channel_type=ChannelType.SMS))
    return RoomEvent(room_id=room_id, index=index, source=source, **members)


def full_event(content: Any) -> RoomEvent:
    return RoomEvent(
        room_id="r",
        type=EventType.MESSAGE,
        source=EventSource(
            channel_id="sms",
            channel_type=ChannelType.SMS,
            participant_id="alice",
            raw_payload=ODD,
            provider_message_id="p",
            verification="verified",
        ),
        content=content,
        status=EventStatus.DELIVERED,
        visibility="sms,email",
        addressed_to=["a", "b"],
        response_visibility="internal",
        chain_depth=2,
        parent_event_id="parent",
        responds_to="question",
        correlation_id="c",
        idempotency_key="key",
        created_at=NOON,
        metadata=ODD,
        channel_data=ChannelData(provider="x", extra=ODD),
        delivery_results={"sms.eu": {"status": "sent"}, "$x": ODD},
    )


def delivery(**members: Any) -> VoiceDeliveryRecord:
    members = {"content_hash": "h", "attempt_id": "first", "created_at": NOON, **members}
    return VoiceDeliveryRecord(
        room_id="r", channel_id="voice", session_id="s", idempotency_key="k\0.$", **members
    )


def request(**members: Any) -> VerificationRequest:
    members = {"id": "q", "method": "code", "max_attempts": 3, **members}
    return VerificationRequest(
        identity_id="i",
        room_id="r",
        channel_id="sms",
        secret_hash="scrypt$",
        window_start=NOON,
        created_at=NOON,
        expires_at=NOON + timedelta(microseconds=1),
        **members,
    )


def public(owner: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(owner, callable) if not name.startswith("_")}


def test_every_method_of_the_interface_is_ours_or_knowingly_inherited() -> None:
    ours = {
        name
        for name in public(MongoConversationStore)
        if getattr(MongoConversationStore, name) is not getattr(ConversationStore, name, None)
    }
    assert public(ConversationStore) - ours == INHERITED


def test_every_method_takes_what_the_interface_says() -> None:
    for name in public(ConversationStore) - INHERITED:
        theirs = inspect.signature(getattr(ConversationStore, name)).parameters.values()
        ours = inspect.signature(getattr(MongoConversationStore, name)).parameters.values()
        assert [(one.name, one.kind, one.default) for one in ours] == [
            (one.name, one.kind, one.default) for one in theirs
        ], name


def test_the_store_says_that_processes_share_it(caplog: pytest.LogCaptureFixture) -> None:
    assert not MongoConversationStore.is_process_local
    RoomKit(store=MongoConversationStore(), lock_manager=MongoRoomLockManager())
    assert not caplog.records


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content.type)
async def test_an_event_comes_back_as_it_was(rooms: MongoConversationStore, content: Any) -> None:
    given = full_event(content)
    stored = await rooms.commit_event("r", given)
    assert stored == given
    assert await rooms.get_event(given.id) == given
    assert await rooms.list_events("r") == [given]
    assert await rooms.get_event_by_idempotency_key("r", "key", channel_id="sms") == given


async def test_a_room_comes_back_as_it_was(rooms: MongoConversationStore) -> None:
    room = Room(
        id="a.b$c",
        organization_id="$org",
        status=RoomStatus.PAUSED,
        created_at=NOON,
        updated_at=NOON + timedelta(microseconds=1),
        paused_at=NOON + timedelta(microseconds=2),
        closed_at=NOON + timedelta(microseconds=3),
        timers=RoomTimers(
            inactive_after_seconds=1,
            closed_after_seconds=2,
            last_activity_at=NOON + timedelta(microseconds=4),
        ),
        agent_response_policy=list(AgentResponsePolicy)[-1],
        metadata=ODD,
    )
    assert await rooms.create_room(room) == room
    assert await rooms.get_room(room.id) == room
    assert await rooms.find_rooms(organization_id="$org") == [room]
    changed = room.model_copy(update={"status": RoomStatus.CLOSED, "metadata": {"only": ODD}})
    assert await rooms.update_room(changed) == changed
    assert await rooms.get_room(room.id) == changed


async def test_members_come_back_as_they_were_and_in_the_order_they_came(
    rooms: MongoConversationStore,
) -> None:
    binding = ChannelBinding(
        room_id="r",
        channel_id="sms.eu",
        channel_type="sms",
        access="read_only",
        muted=True,
        output_muted=True,
        visibility="private",
        participant_id="alice",
        group=True,
        last_read_index=4,
        attached_at=NOON,
        capabilities=ChannelCapabilities(max_length=160, custom=ODD),
        metadata=ODD,
        rate_limit=RateLimit(max_per_minute=0.5),
        retry_policy=RetryPolicy(max_retries=7, base_delay_seconds=0.3, retryable_errors=["A"]),
    )
    alice = Participant(
        id="$alice",
        room_id="r",
        channel_id="sms.eu",
        display_name="A",
        role="owner",
        identity_id="i",
        candidates=["i", "j"],
        connected_via=["sms.eu", "email"],
        resolved_at=NOON,
        joined_at=NOON,
        metadata=ODD,
    )
    last, bob = binding.model_copy(update={"channel_id": "a"}), alice.model_copy(update={"id": "bob"})
    for one in (binding, last, binding):
        await rooms.add_binding(one)
    for each in (alice, bob, alice):
        await rooms.add_participant(each)
    assert await rooms.get_binding("r", "sms.eu") == binding
    assert await rooms.list_bindings("r") == [binding, last]
    assert await rooms.get_participant("r", "$alice") == alice
    assert await rooms.list_participants("r") == [alice, bob]
    room = await rooms.get_room("r")
    assert await rooms.load_room_context("r") == (room, [binding, last], [alice, bob])


async def test_identities_and_verifications_come_back_as_they_were(rooms: MongoConversationStore) -> None:
    identity = Identity(
        id="i",
        organization_id="o",
        display_name="A",
        channel_addresses={"sms": ["+1", "a.b"], "x.y": ["$"]},
        external_ids={"a.b": "$c"},
        metadata=ODD,
    )
    verification = Verification(
        identity_id="i",
        status="verified",
        verified_at=NOON,
        expires_at=NOON + timedelta(microseconds=1),
        request_id="q",
    )
    await rooms.create_identity(identity)
    await rooms.put_verification(verification)
    await rooms.create_verification_request(request())
    assert await rooms.get_identity("i") == identity
    assert await rooms.resolve_identity("x.y", "$", "o") == identity
    assert await rooms.get_verification("i") == verification
    assert await rooms.list_verifications_in_force() == [verification]
    assert await rooms.get_verification_request("q") == request()
    changed = request(attempts=1, status="completed")
    assert await rooms.update_verification_request(changed) == changed
    assert await rooms.get_verification_request("q") == changed


async def test_tasks_observations_and_deliveries_come_back_as_they_were(
    rooms: MongoConversationStore,
) -> None:
    task = Task(id="t", room_id="r", title="T", created_at=NOON, metadata=ODD)
    note = Observation(
        id="o", room_id="r", channel_id="ai", content="c", confidence=0.1, created_at=NOON, metadata=ODD
    )
    await rooms.add_task(task)
    await rooms.add_observation(note)
    assert await rooms.claim_voice_delivery(delivery()) == delivery()
    assert await rooms.get_task("t") == task
    assert await rooms.list_tasks("r") == [task]
    assert await rooms.list_observations("r") == [note]
    done = delivery(
        outcome=DeliveryOutcome(
            status="failed", error=DeliveryError(code="$code", message="m\0", retryable=True)
        )
    )
    assert await rooms.complete_voice_delivery(done)
    assert await rooms.get_voice_delivery("r", delivery().key_hash) == done


async def test_what_callers_hold_is_neither_kept_nor_changed(rooms: MongoConversationStore) -> None:
    metadata: dict[str, Any] = {"list": [1]}
    given = event(5, id="e", metadata=metadata, delivery_results={"sms": {}})
    before = given.model_copy(deep=True)
    stored = await rooms.commit_event("r", given)
    assert (stored.index, given) == (0, before)
    metadata["list"].append(2)
    given.delivery_results["sms"]["x"] = 1
    read = await rooms.get_event("e")
    assert read is not None
    assert (read.metadata, read.delivery_results) == ({"list": [1]}, {"sms": {}})
    room = Room(id="other", metadata=metadata, event_count=7, latest_index=6)
    updated = await rooms.update_room(await rooms.create_room(room))
    metadata["list"].append(3)
    kept = await rooms.get_room("other")
    assert kept is not None
    assert kept.metadata == {"list": [1, 2]} == updated.metadata
    kept.metadata["more"] = 1
    assert await rooms.get_room("other") == updated


async def test_private_state_is_nobody_elses_object(rooms: MongoConversationStore) -> None:
    state: dict[str, Any] = {"a": [1], **ODD}
    await rooms.patch_room_metadata("r", {"k.$": 1, "other": 2})
    await rooms.set_private_state("r", "k.$", state)
    state["a"].append(2)
    read = await rooms.get_private_state("r", "k.$")
    assert read == {**ODD, "a": [1]}
    room = await rooms.get_room("r")
    assert room is not None
    assert room.metadata == {"other": 2}
    await rooms.set_private_state("r", "k.$", None)
    assert await rooms.get_private_state("r", "k.$") is None
    await rooms.set_private_state("nowhere", "k", {})
    assert await rooms.get_private_state("nowhere", "k") is None


async def test_metadata_are_patched_under_any_key(rooms: MongoConversationStore) -> None:
    await rooms.patch_room_metadata("r", {**ODD, "gone.$": 1, "both": 1})
    room = await rooms.patch_room_metadata("r", {"both": None, "$new": "$x"}, unset=["gone.$", "both", "no"])
    assert room is not None
    assert room.metadata == {**ODD, "both": None, "$new": "$x"}
    assert await rooms.find_rooms(metadata_filter={"a.b": ODD["a.b"], "huge": 2**70}) == [room]
    assert await rooms.patch_room_metadata("nowhere", {}) is None


async def test_delivery_results_are_kept_under_any_channel(rooms: MongoConversationStore) -> None:
    await rooms.commit_event("r", event())
    await rooms.record_delivery_results("r", "e0", ODD)
    await rooms.record_delivery_results("elsewhere", "e0", {"lost": 1})
    stored = await rooms.get_event("e0")
    assert stored is not None
    assert stored.delivery_results == ODD
    await rooms.update_event(stored.model_copy(update={"delivery_results": {}, "chain_depth": 3}))
    assert await rooms.get_event("e0") == stored.model_copy(update={"chain_depth": 3})


async def test_an_event_that_is_there_is_refused_as_such_even_if_its_key_is_taken(
    rooms: MongoConversationStore,
) -> None:
    held = await rooms.commit_event("r", event(id="e", idempotency_key="k"))
    later = held.model_copy(update={"index": 9})
    for refused in (
        rooms.commit_event("r", held),
        rooms.add_event(later),
        rooms.add_event_auto_index("r", held),
    ):
        with pytest.raises(AlreadyExistsError) as caught:
            await refused
        assert caught.value.kind == "event"
    assert await rooms.list_events("r") == [held]


async def test_an_index_that_is_taken_is_refused(rooms: MongoConversationStore) -> None:
    await rooms.add_event(event(3))
    with pytest.raises(AlreadyExistsError):
        await rooms.add_event(event(3, id="other"))
    assert (await rooms.commit_event("r", event(id="next"))).index == 4


async def test_a_taken_key_writes_nothing_the_change_of_another_event_neither(
    rooms: MongoConversationStore,
) -> None:
    await rooms.commit_event("r", event(id="first", idempotency_key="k"))
    target = await rooms.commit_event("r", event(id="target"))
    edited = target.model_copy(update={"content": TextContent(body="new")})
    edit = event(
        id="edit",
        idempotency_key="k",
        content=EditContent(target_event_id="target", new_content=edited.content),
    )
    room = await rooms.get_room("r")
    for write in (
        rooms.commit_event("r", edit, target=edited),
        rooms.commit_event("r", edit),
        rooms.add_event_auto_index("r", edit),
        rooms.add_event(edit.model_copy(update={"index": 50})),
    ):
        with pytest.raises(IdempotencyKeyTakenError):
            await write
    assert await rooms.get_event("target") == target
    assert await rooms.get_event("edit") is None
    assert await rooms.get_room("r") == room
    assert (await rooms.commit_event("r", event(id="next"))).index == 2


async def test_a_target_that_is_gone_writes_nothing(rooms: MongoConversationStore) -> None:
    await rooms.create_room(Room(id="other"))
    elsewhere = await rooms.commit_event("other", event(id="elsewhere", room_id="other"))
    for target in (event(id="gone"), elsewhere):
        change = event(id="change", content=DeleteContent(target_event_id=target.id))
        with pytest.raises(EventNotFoundError):
            await rooms.commit_event("r", change, target=target)
        with pytest.raises(EventNotFoundError):
            await rooms.write_change_target("r", target)
    assert await rooms.get_event_count("r") == 0
    assert await rooms.get_event("elsewhere") == elsewhere


async def test_pages_of_any_size(rooms: MongoConversationStore) -> None:
    for number in range(0, 2100, 100):
        await asyncio.gather(*(rooms.commit_event("r", event(id=f"e{number + one}")) for one in range(100)))

    async def indexes(**options: Any) -> list[int]:
        return [one.index for one in await rooms.list_events("r", **options)]

    assert await indexes(limit=5000) == list(range(2100))
    assert await indexes(limit=5000, newest_first=True) == list(range(2100))
    assert await indexes(limit=1500, newest_first=True) == list(range(600, 2100))
    assert await indexes(limit=1001, offset=1050) == list(range(1050, 2051))
    assert await indexes(limit=1001, offset=1050, newest_first=True) == list(range(49, 1050))
    assert await indexes(limit=1001, after_index=4) == list(range(5, 1006))
    assert await indexes(limit=1001, before_index=1500) == list(range(499, 1500))
    assert await indexes(limit=2000, before_index=7, offset=3) == list(range(7))
    assert await indexes(limit=0) == await indexes(limit=0, newest_first=True) == []
    assert await indexes(offset=2100) == await indexes(before_index=0) == await indexes(before_index=-1) == []
    assert await indexes(after_index=-5, limit=2) == [0, 1]
    with pytest.raises(ValueError, match="mutually exclusive"):
        await rooms.list_events("r", after_index=1, before_index=2)


@pytest.mark.server
async def test_lists_of_rooms_of_any_size(server_store: AsyncMongoStore) -> None:
    rooms = MongoConversationStore(store=server_store)
    await rooms.create_room(Room(id="r", created_at=NOON))
    ids = [f"room{number:04}" for number in range(1050)]

    async def add(room_id: str) -> None:
        await rooms.create_room(Room(id=room_id, created_at=NOON + timedelta(hours=1)))
        await rooms.add_binding(ChannelBinding(room_id=room_id, channel_id="sms", channel_type="sms"))

    for start in range(0, len(ids), 50):
        await asyncio.gather(*(add(room_id) for room_id in ids[start : start + 50]))
    assert [room.id for room in await rooms.list_rooms(limit=5000)] == ["r", *ids]
    assert [room.id for room in await rooms.list_rooms(offset=1049, limit=5)] == ids[1048:]
    assert [room.id for room in await rooms.find_rooms(limit=1030, offset=2)] == ids[1:1031]
    assert await rooms.list_rooms(limit=0) == []
    assert await rooms.list_rooms(offset=5000) == []
    assert await rooms.find_room_ids_by_channel("sms", limit=sys.maxsize) == ids
    assert await rooms.find_room_ids_by_channel("sms", limit=1020) == ids[:1020]
    assert await rooms.find_room_ids_by_channel("sms", limit=0) == []
    assert await rooms.find_room_ids_by_channel("sms", RoomFilter(statuses=[])) == []


async def test_times_without_a_zone_are_in_utc(rooms: MongoConversationStore) -> None:
    naive = NOON.replace(tzinfo=None)
    stored = await rooms.commit_event("r", event().model_copy(update={"created_at": naive}))
    read = await rooms.get_event(stored.id)
    assert read is not None
    assert read.created_at == NOON
    tick = timedelta(microseconds=1)
    for where in (
        EventFilter(after_time=naive - tick, before_time=naive + tick),
        EventFilter(after_time=NOON - tick, before_time=NOON + tick),
    ):
        assert await rooms.list_events("r", event_filter=where) == [read]
    assert await rooms.list_events("r", event_filter=EventFilter(after_time=naive)) == []
    room = Room(id="naive", status=RoomStatus.PAUSED, created_at=NOON)
    room.paused_at = room.timers.last_activity_at = naive
    await rooms.create_room(room)
    moved = await rooms.update_room_if(
        room, status=RoomStatus.PAUSED, paused_at=naive, last_activity_at=naive
    )
    assert moved is not None
    assert moved.paused_at == NOON


async def test_times_of_other_zones_are_the_same_instants(rooms: MongoConversationStore) -> None:
    local = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    await rooms.commit_event("r", event().model_copy(update={"created_at": local}))
    read = await rooms.get_event("e0")
    assert read is not None
    assert read.created_at == NOON


async def test_a_room_that_moved_by_a_microsecond_is_not_updated(rooms: MongoConversationStore) -> None:
    room = Room(id="timed", timers=RoomTimers(last_activity_at=NOON))
    await rooms.create_room(room)
    state: dict[str, Any] = {"status": RoomStatus.ACTIVE, "paused_at": None}
    wrong = NOON + timedelta(microseconds=1)
    assert await rooms.update_room_if(room, **state, last_activity_at=wrong) is None
    assert await rooms.update_room_if(room, **state, last_activity_at=None) is None
    assert await rooms.update_room_if(room, **state, last_activity_at=NOON) == room
    other = room.model_copy(update={"id": "nowhere"})
    assert await rooms.update_room_if(other, **state, last_activity_at=NOON) is None


async def test_floats_that_are_no_numbers_are_null_as_in_roomkits_own_json(
    rooms: MongoConversationStore,
) -> None:
    await rooms.commit_event("r", event(metadata={"nan": math.nan, "inf": -math.inf, "least": 5e-324}))
    read = await rooms.get_event("e0")
    assert read is not None
    assert read.metadata == {"nan": None, "inf": None, "least": 5e-324}


async def test_half_a_character_comes_back(rooms: MongoConversationStore) -> None:
    given = event(content=TextContent(body="\ud800"), metadata={"text": "\udfff"})
    await rooms.commit_event("r", given)
    assert await rooms.get_event("e0") == given


async def test_errors_are_those_of_roomkit(rooms: MongoConversationStore) -> None:
    with pytest.raises(RoomAlreadyExistsError):
        await rooms.create_room(Room(id="r", metadata={"x": 1}))
    with pytest.raises(RoomNotFoundError):
        await rooms.update_room(Room(id="nowhere"))
    with pytest.raises(ValueError, match="Room does not exist"):
        await rooms.claim_voice_delivery(delivery().model_copy(update={"room_id": "nowhere"}))
    with pytest.raises(ValueError, match="outcome"):
        await rooms.claim_voice_delivery(delivery(outcome=DeliveryOutcome(status="failed")))
    with pytest.raises(ValueError, match="outcome"):
        await rooms.complete_voice_delivery(delivery())
    for link in (rooms.link_address, rooms.unlink_address):
        with pytest.raises(IdentityNotFoundError):
            await link("nobody", "sms", "+1")
    await rooms.create_identity(Identity(id="i", channel_addresses={"sms": ["+1"]}))
    await rooms.create_identity(Identity(id="scoped", organization_id="o"))
    with pytest.raises(AddressLinkedError) as caught:
        await rooms.create_identity(Identity(id="j", channel_addresses={"email": ["e"], "sms": ["+1"]}))
    assert "+1" not in str(caught.value)
    assert await rooms.get_identity("j") is None
    assert await rooms.resolve_identity("email", "e") is None
    with pytest.raises(IdentityNotFoundError):
        await rooms.link_address("scoped", "sms", "+2")
    assert not await rooms.delete_room("nowhere")
    assert await rooms.delete_event("r", "nothing") == []
    assert await rooms.get_delivered_index("nowhere") == -1
    assert not await rooms.advance_delivered_index("nowhere", 0)


async def test_a_deleted_room_takes_all_but_people_with_it(rooms: MongoConversationStore) -> None:
    await rooms.commit_event("r", event())
    await rooms.add_binding(ChannelBinding(room_id="r", channel_id="sms", channel_type="sms"))
    await rooms.add_participant(Participant(id="p", room_id="r", channel_id="sms"))
    await rooms.add_task(Task(id="t", room_id="r", title="T"))
    await rooms.add_observation(Observation(id="o", room_id="r", channel_id="ai", content="c"))
    await rooms.mark_all_read("r", "sms")
    await rooms.set_private_state("r", "k", {"a": 1})
    await rooms.claim_voice_delivery(delivery())
    await rooms.create_verification_request(request())
    assert await rooms.delete_room("r")
    await rooms.create_room(Room(id="r"))
    assert await rooms.load_room_context("r") == (await rooms.get_room("r"), [], [])
    assert await rooms.get_event("e0") is None
    assert await rooms.list_tasks("r") == await rooms.list_observations("r") == []
    assert (await rooms.get_task("t"), await rooms.get_private_state("r", "k")) == (None, None)
    assert await rooms.list_read_markers("r") == {}
    assert await rooms.get_voice_delivery("r", delivery().key_hash) is None
    assert await rooms.get_verification_request("q") == request()
    assert (await rooms.commit_event("r", event())).index == 0


def clients() -> int:
    return len(_shared.get(asyncio.get_running_loop(), {}))


async def test_objects_on_one_database_share_a_client_until_the_last_one_leaves(
    store_uri: str, database: str
) -> None:
    rooms = MongoConversationStore(store_uri, database)
    locks = MongoRoomLockManager(store_uri, database)
    assert clients() == 0
    await rooms.create_room(Room(id="r"))
    async with locks.locked("r"):
        assert clients() == 1
    await rooms.close()
    await rooms.close()
    assert clients() == 1
    async with locks.locked("r"):
        pass
    await locks.close()
    assert clients() == 0
    async with MongoConversationStore(store_uri, database) as again:
        assert clients() == 1
        if not store_uri.startswith("mongomock"):
            assert await again.room_exists("r")
    assert clients() == 0


async def test_a_closed_store_connects_again_when_it_is_used(store_uri: str, database: str) -> None:
    rooms = MongoConversationStore(store_uri, database)
    await rooms.close()
    await rooms.init()
    await rooms.close()
    await rooms.create_room(Room(id="r"))
    assert await rooms.room_exists("r")
    await rooms.close()


async def test_a_given_store_stays_open(store: AsyncMongoStore) -> None:
    async with MongoConversationStore(store=store) as rooms:
        await rooms.create_room(Room(id="r"))
    assert await store.rooms.exists("r")


@pytest.mark.server
def test_one_object_serves_one_event_loop_after_the_other(server_uri: str, database: str) -> None:
    rooms = MongoConversationStore(server_uri, database)
    locks = MongoRoomLockManager(server_uri, database)

    async def write(room_id: str) -> list[str]:
        async with locks.locked("r"):
            await rooms.create_room(Room(id=room_id))
            found = [room.id for room in await rooms.list_rooms()]
        await rooms.close()
        await locks.close()
        return found

    assert asyncio.run(write("a")) == ["a"]
    assert asyncio.run(write("b")) == ["a", "b"]


async def test_a_server_that_is_not_there_is_said_so() -> None:
    rooms = MongoConversationStore("mongodb://127.0.0.1:1/", "d")
    with pytest.raises(UnavailableError):
        await rooms.get_room("r")
    await rooms.close()
