"""RoomKit's contract for a store: values."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest
from roomkit.models.channel import ChannelBinding, ChannelCapabilities, RateLimit, RetryPolicy
from roomkit.models.delivery import DeliveryError, DeliveryOutcome
from roomkit.models.enums import AgentResponsePolicy, ChannelType, EventStatus, EventType, RoomStatus
from roomkit.models.event import (
    AudioContent,
    ChannelData,
    CompositeContent,
    DeleteContent,
    EditContent,
    EventContent,
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
from roomkit.models.task import Observation, Task
from roomkit.models.verification import Verification

from mongostore.testing.roomkit.parts import NOON, ODD, InRoom, delivery, event, request

CONTENTS: list[EventContent] = [
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


class ValueSuite(InRoom):
    """Values come back as they were, and belong to their reader."""

    @pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content.type)
    async def test_an_event_comes_back_as_it_was(self, rooms: Any, content: Any) -> None:
        sent = full_event(content)
        stored = await rooms.commit_event("r", sent)
        assert stored == sent
        assert await rooms.get_event(sent.id) == sent
        assert await rooms.list_events("r") == [sent]
        assert await rooms.get_event_by_idempotency_key("r", "key", channel_id="sms") == sent

    async def test_a_room_comes_back_as_it_was(self, rooms: Any) -> None:
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

    async def test_members_come_back_as_they_were_and_in_the_order_they_came(self, rooms: Any) -> None:
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

    async def test_identities_and_verifications_come_back_as_they_were(self, rooms: Any) -> None:
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

    async def test_tasks_observations_and_deliveries_come_back_as_they_were(self, rooms: Any) -> None:
        task = Task(id="t", room_id="r", title="T", created_at=NOON, metadata=ODD)
        record = Observation(
            id="o", room_id="r", channel_id="ai", content="c", confidence=0.1, created_at=NOON, metadata=ODD
        )
        await rooms.add_task(task)
        await rooms.add_observation(record)
        assert await rooms.claim_voice_delivery(delivery()) == delivery()
        assert await rooms.get_task("t") == task
        assert await rooms.list_tasks("r") == [task]
        assert await rooms.list_observations("r") == [record]
        done = delivery(
            outcome=DeliveryOutcome(
                status="failed", error=DeliveryError(code="$code", message="m\0", retryable=True)
            )
        )
        assert await rooms.complete_voice_delivery(done)
        assert await rooms.get_voice_delivery("r", delivery().key_hash) == done

    async def test_what_callers_hold_is_neither_kept_nor_changed(self, rooms: Any) -> None:
        metadata: dict[str, Any] = {"list": [1]}
        sent = event(5, id="e", metadata=metadata, delivery_results={"sms": {}})
        before = sent.model_copy(deep=True)
        stored = await rooms.commit_event("r", sent)
        assert (stored.index, sent) == (0, before)
        metadata["list"].append(2)
        sent.delivery_results["sms"]["x"] = 1
        read = await rooms.get_event("e")
        assert read is not None
        assert (read.metadata, read.delivery_results) == ({"list": [1]}, {"sms": {}})
        await rooms.update_room(await rooms.create_room(Room(id="other", metadata=metadata)))
        metadata["list"].append(3)
        for _ in range(2):
            remaining = await rooms.get_room("other")
            assert remaining is not None
            assert remaining.metadata == {"list": [1, 2]}
            remaining.metadata["more"] = 1

    async def test_times_of_other_zones_are_the_same_instants(self, rooms: Any) -> None:
        local = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
        await rooms.commit_event("r", event().model_copy(update={"created_at": local}))
        read = await rooms.get_event("e0")
        assert read is not None
        assert read.created_at == NOON
