"""Rooms with one of each kind in them, and what is stored, for those who look what is found or changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mongostore import (
    AsyncMongoStore,
    Binding,
    Event,
    Identity,
    Observation,
    RoomParticipant,
    Task,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)

T = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
COLLECTIONS = (
    *("rooms", "events", "bindings", "participants", "identities", "identity_addresses", "verifications"),
    *("verification_requests", "tasks", "observations", "read_markers", "voice_deliveries", "leases"),
)


async def furnish(store: AsyncMongoStore) -> None:
    """Store one of each kind that a query that is too wide would find."""
    await store.rooms.create("r", status="x", organization_id="x")
    await store.rooms.events.append("r", Event(id="e", channel_id="c", idempotency_key="k"))
    await store.rooms.bindings.upsert("r", Binding(channel_id="c", participant_id="p", metadata={"k": "a"}))
    await store.rooms.participants.upsert("r", RoomParticipant(id="p", channel_ids=["c"]))
    await store.rooms.identities.create(Identity(id="i", addresses={"sms": ["1"]}))
    await store.rooms.verifications.upsert(Verification(identity_id="i", status="x", expires_at=T))
    await store.rooms.verifications.requests.create(VerificationRequest(id="q", identity_id="i"))
    await store.rooms.tasks.create("r", Task(id="t"))
    await store.rooms.observations.create("r", Observation(id="o"))
    await store.rooms.read_markers.advance("r", "c")
    await store.rooms.voice_deliveries.claim("r", VoiceDelivery(key="k", content_hash="h", attempt_id="a"))
    await store.leases.acquire("l", "o", 60)


def altered(value: Any, **members: Any) -> Any:
    """Return a value with members that the model would refuse."""
    return value.model_copy(update=members)


async def counted(store: AsyncMongoStore, collection: str) -> int:
    return await store.engine.database[collection].count_documents({})


async def rows(store: AsyncMongoStore) -> dict[str, Any]:
    """Return all that is stored, but for empty positions of deleted events, and the tokens of operations."""
    database, all = store.engine.database, ({"emptied_at": None}, {"ops": 0})
    return {name: await database[name].find(*all, sort=[("_id", 1)]).to_list() for name in COLLECTIONS}
