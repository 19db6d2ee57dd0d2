"""Bad arguments about those who are in rooms, and about what is noted there, are refused by their paths."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore import (
    AsyncMongoStore,
    Binding,
    Identity,
    Observation,
    Participant,
    Task,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)
from tests.contract.furnishing import altered, furnish, rows
from tests.contract.oddities import NO_IDS, refused


@pytest.mark.parametrize("bad", NO_IDS, ids=range(len(NO_IDS)))
async def test_of_people_and_notes_bad_arguments_never_reach_a_query(
    store: AsyncMongoStore, bad: Any
) -> None:
    await furnish(store)
    before = await rows(store)
    rooms, identities, verifications = store.rooms, store.identities, store.verifications
    binding, person = Binding(room_id="r", channel_id="n"), Participant(room_id="r", id="n")
    delivery = VoiceDelivery(room_id="r", key="n", content_hash="h")
    verified = Verification(identity_id="n", status="x")
    outcome: dict[str, Any] = {"outcome": {}}
    calls: dict[str, list[Any]] = {
        "room_id": [
            *(store.bindings.get(bad, "c"), store.bindings.find(bad, "c"), store.bindings.exists(bad, "c")),
            *(store.bindings.delete(bad, "c"), store.bindings.list(bad), anext(store.bindings.iter(bad))),
            *(store.participants.get(bad, "p"), store.participants.find(bad, "p")),
            *(store.participants.delete(bad, "p"), store.participants.list(bad)),
            *(store.tasks.list(bad), anext(store.tasks.iter(bad)), store.observations.list(bad)),
            *(store.read_markers.mark(bad, "c", "e"), store.read_markers.mark_all(bad, "c")),
            *(store.read_markers.count_unread(bad, "c"), store.read_markers.by_channel(bad)),
            store.voice_deliveries.find(bad, "k"),
            store.bindings.upsert(altered(binding, room_id=bad)),
            store.participants.upsert(altered(person, room_id=bad)),
            store.tasks.create(altered(Task(room_id="r"), room_id=bad)),
            store.observations.create(altered(Observation(room_id="r"), room_id=bad)),
            store.voice_deliveries.claim(altered(delivery, room_id=bad)),
            store.voice_deliveries.complete(altered(delivery, room_id=bad, **outcome)),
        ],
        "channel_id": [
            *(store.bindings.get("r", bad), store.bindings.find("r", bad), store.bindings.exists("r", bad)),
            *(store.bindings.delete("r", bad), store.bindings.upsert(altered(binding, channel_id=bad))),
            *(store.read_markers.mark("r", bad, "e"), store.read_markers.mark("r", bad, "unknown")),
            *(store.read_markers.mark_all("r", bad), store.read_markers.mark_all("unknown", bad)),
            store.read_markers.count_unread("r", bad),
            *(rooms.find_by_binding(bad, ["p"]), rooms.find_by_participant(bad, ["p"])),
            rooms.list_by_channel(bad),
        ],
        "participant_id": [
            *(store.participants.get("r", bad), store.participants.find("r", bad)),
            *(store.participants.delete("r", bad), rooms.find_latest(bad)),
        ],
        "names": [rooms.find_by_binding("c", [bad]), rooms.find_by_participant("c", [bad])],
        "recipient": [rooms.find_by_binding("c", [], recipient=("k", bad))],
        "event_id": [store.read_markers.mark("r", "c", bad)],
        "task_id": [store.tasks.get(bad), store.tasks.find(bad)],
        "id": [
            store.participants.upsert(altered(person, id=bad)),
            store.tasks.upsert(altered(Task(room_id="r"), id=bad)),
            store.observations.create(altered(Observation(room_id="r"), id=bad)),
            identities.create(altered(Identity(), id=bad)),
            verifications.create_request(altered(VerificationRequest(identity_id="i"), id=bad)),
        ],
        "channel_ids": [store.participants.upsert(altered(person, channel_ids=[bad]))],
        "identity_id": [
            *(identities.get(bad), identities.find(bad), verifications.find(bad)),
            *(identities.link_address(bad, "sms", "1"), identities.unlink_address(bad, "sms", "1")),
            verifications.upsert(altered(verified, identity_id=bad)),
            verifications.upsert_request(altered(VerificationRequest(identity_id="i"), identity_id=bad)),
        ],
        "channel_type": [
            *(identities.find_by_address(bad, "1"), identities.link_address("i", bad, "1")),
            identities.unlink_address("i", bad, "1"),
        ],
        "address": [
            *(identities.find_by_address("sms", bad), identities.link_address("i", "sms", bad)),
            identities.unlink_address("i", "sms", bad),
        ],
        "addresses": [
            # What is a dict is all that addresses have to be.
            identities.create(altered(Identity(), addresses={"sms": "1"} if isinstance(bad, dict) else bad)),
            identities.create(altered(Identity(), addresses={"sms": [bad]})),
        ],
        "status": [
            verifications.upsert(altered(verified, status=bad)),
            anext(verifications.iter_expiring(bad)),
            store.tasks.create(altered(Task(room_id="r"), status=bad)),
        ],
        "request_id": [verifications.find_request(bad)],
        "key": [
            store.voice_deliveries.find("r", bad),
            store.voice_deliveries.claim(altered(delivery, key=bad)),
        ],
        "content_hash": [store.voice_deliveries.claim(altered(delivery, content_hash=bad))],
        "attempt_id": [store.voice_deliveries.complete(altered(delivery, attempt_id=bad, **outcome))],
        "name": [store.leases.acquire(bad, "o", 1), store.leases.release(bad, "o")],
        "owner": [store.leases.acquire("l", bad, 1), store.leases.release("l", bad)],
    }
    if bad is not None:
        calls["organization_id"] = [
            *(identities.list(organization_id=bad), verifications.find("i", organization_id=bad)),
            identities.find_by_address("sms", "1", organization_id=bad),
            identities.link_address("i", "sms", "1", organization_id=bad),
            identities.create(altered(Identity(), organization_id=bad)),
            verifications.upsert(altered(verified, organization_id=bad)),
        ]
        calls["status"].append(store.tasks.list("r", status=bad))
        calls["channel_type"].append(rooms.find_latest("p", channel_type=bad))
        calls["recipient"].append(rooms.find_by_binding("c", [], recipient=bad))
        calls["participant_id"].append(store.bindings.upsert(altered(binding, participant_id=bad)))
        calls["identity_id"].append(store.participants.upsert(altered(person, identity_id=bad)))
    for path, refusing in calls.items():
        assert {error.path for error in await refused(*refusing)} == {path}, path
    assert await rows(store) == before


@pytest.mark.parametrize("bad", ["no", 5, b"x", [b"x"], {"$gt": 0}, None], ids=str)
async def test_of_people_and_notes_wrong_shapes_are_refused(store: AsyncMongoStore, bad: Any) -> None:
    await furnish(store)
    before = await rows(store)
    binding, person = Binding(room_id="r", channel_id="n"), Participant(room_id="r", id="n")
    delivery = VoiceDelivery(room_id="r", key="n", content_hash="h")
    calls: list[Any] = [
        *(store.bindings.upsert(bad), store.participants.upsert(bad), store.tasks.upsert(bad)),
        *(store.tasks.create(bad), store.observations.create(bad), store.identities.create(bad)),
        *(store.verifications.upsert(bad), store.verifications.create_request(bad)),
        *(store.verifications.upsert_request(bad), store.voice_deliveries.claim(bad)),
        *(store.voice_deliveries.complete(bad), store.leases.acquire("n", "o", bad if bad != 5 else -5)),
        *(store.bindings.list("r", limit=bad if bad != 5 else 0), store.tasks.list("r", limit=1001)),
        store.bindings.upsert(altered(binding, group=bad)),
        store.voice_deliveries.claim(altered(delivery, retryable=bad)),
        store.rooms.list_by_channel("c", limit=bad if bad != 5 else 0),
    ]
    if bad is not None:
        calls.append(store.rooms.list_by_channel("c", group=bad))
    if not isinstance(bad, dict):
        calls += [
            *(
                store.bindings.upsert(altered(binding, data=bad)),
                store.bindings.upsert(altered(binding, metadata=bad)),
            ),
            store.participants.upsert(altered(person, data=bad)),
            store.tasks.create(altered(Task(room_id="r"), data=bad)),
            store.identities.create(altered(Identity(), data=bad)),
        ]
    if not isinstance(bad, list):
        calls += [
            *(store.rooms.find_by_binding("c", bad), store.rooms.find_by_participant("c", bad)),
            store.participants.upsert(altered(person, channel_ids=bad)),
        ]
    await refused(*calls)
    assert await rows(store) == before
