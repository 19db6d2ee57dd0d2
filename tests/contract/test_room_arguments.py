"""Bad arguments about those who are in rooms, and about what is noted there, are refused by their paths."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore import (
    AsyncMongoStore,
    Binding,
    Event,
    Identity,
    Lease,
    Observation,
    RoomParticipant,
    Task,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)
from mongostore.repositories.rooms.offsets import Offsets
from tests.contract.edge_cases import NO_IDS, refused
from tests.contract.fixtures import T, altered, furnish, rows


class TestRoomArguments:
    @pytest.mark.parametrize("bad", NO_IDS, ids=range(len(NO_IDS)))
    async def test_of_people_and_notes_bad_arguments_never_reach_a_query(
        self, store: AsyncMongoStore, bad: Any
    ) -> None:
        await furnish(store)
        before = await rows(store)
        rooms, identities, verifications = store.rooms, store.rooms.identities, store.rooms.verifications
        binding, person = Binding(channel_id="n"), RoomParticipant(id="n")
        delivery = VoiceDelivery(key="n", content_hash="h")
        verified = Verification(identity_id="n", status="x")
        outcome: dict[str, Any] = {"outcome": {}}
        calls: dict[str, list[Any]] = {
            "room_id": [
                *(
                    store.rooms.bindings.get(bad, "c"),
                    store.rooms.bindings.find(bad, "c"),
                    store.rooms.bindings.exists(bad, "c"),
                ),
                *(
                    store.rooms.bindings.delete(bad, "c"),
                    store.rooms.bindings.list(bad),
                    anext(store.rooms.bindings.iter(bad)),
                ),
                *(store.rooms.participants.get(bad, "p"), store.rooms.participants.find(bad, "p")),
                *(store.rooms.participants.delete(bad, "p"), store.rooms.participants.list(bad)),
                *(
                    store.rooms.tasks.list(bad),
                    anext(store.rooms.tasks.iter(bad)),
                    store.rooms.observations.list(bad),
                ),
                *(
                    store.rooms.read_markers.advance(bad, "c", "e"),
                    store.rooms.read_markers.advance(bad, "c"),
                ),
                *(store.rooms.read_markers.count_unread(bad, "c"), store.rooms.read_markers.list(bad)),
                store.rooms.voice_deliveries.find(bad, "k"),
                store.rooms.bindings.upsert(bad, binding),
                store.rooms.tasks.find(bad, "t"),
                store.rooms.tasks.delete(bad, "t"),
                store.rooms.observations.delete(bad, "o"),
                store.rooms.participants.exists(bad, "p"),
                store.rooms.read_markers.find(bad, "c"),
                anext(store.rooms.read_markers.iter(bad)),
                store.rooms.participants.upsert(bad, person),
                store.rooms.tasks.create(bad, Task()),
                store.rooms.observations.create(bad, Observation()),
                store.rooms.voice_deliveries.claim(bad, delivery),
                store.rooms.voice_deliveries.complete(bad, altered(delivery, **outcome)),
            ],
            "channel_id": [
                *(
                    store.rooms.bindings.get("r", bad),
                    store.rooms.bindings.find("r", bad),
                    store.rooms.bindings.exists("r", bad),
                ),
                *(
                    store.rooms.bindings.delete("r", bad),
                    store.rooms.bindings.upsert("r", altered(binding, channel_id=bad)),
                ),
                *(
                    store.rooms.read_markers.advance("r", bad, "e"),
                    store.rooms.read_markers.advance("r", bad, "unknown"),
                ),
                *(
                    store.rooms.read_markers.advance("r", bad),
                    store.rooms.read_markers.advance("unknown", bad),
                ),
                store.rooms.read_markers.count_unread("r", bad),
                *(rooms.find_by_binding(bad, ["p"]), rooms.find_by_route(bad, ["p"])),
                rooms.list_by_channel(bad),
            ],
            "participant_id": [
                *(store.rooms.participants.get("r", bad), store.rooms.participants.find("r", bad)),
                *(store.rooms.participants.delete("r", bad), rooms.find_by_participant(bad)),
            ],
            "names": [rooms.find_by_binding("c", [bad]), rooms.find_by_route("c", [bad])],
            "recipient": [rooms.find_by_binding("c", [], recipient=("k", bad))],
            "task_id": [
                store.rooms.tasks.get("r", bad),
                store.rooms.tasks.find("r", bad),
                store.rooms.tasks.find_by_id(bad),
                store.rooms.tasks.delete("r", bad),
            ],
            "observation_id": [store.rooms.observations.delete("r", bad)],
            "id": [
                store.rooms.participants.upsert("r", altered(person, id=bad)),
                store.rooms.tasks.upsert("r", altered(Task(), id=bad)),
                store.rooms.observations.create("r", altered(Observation(), id=bad)),
                identities.create(altered(Identity(), id=bad)),
                verifications.requests.create(altered(VerificationRequest(identity_id="i"), id=bad)),
            ],
            "channel_ids": [store.rooms.participants.upsert("r", altered(person, channel_ids=[bad]))],
            "identity_id": [
                *(identities.get(bad), identities.find(bad), verifications.find(bad)),
                *(identities.link_address(bad, "sms", "1"), identities.unlink_address(bad, "sms", "1")),
                verifications.upsert(altered(verified, identity_id=bad)),
                verifications.requests.upsert(altered(VerificationRequest(identity_id="i"), identity_id=bad)),
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
                identities.create(
                    altered(Identity(), addresses={"sms": "1"} if isinstance(bad, dict) else bad)
                ),
                identities.create(altered(Identity(), addresses={"sms": [bad]})),
            ],
            "status": [
                verifications.upsert(altered(verified, status=bad)),
                anext(verifications.iter_expiring(bad)),
                store.rooms.tasks.create("r", altered(Task(), status=bad)),
            ],
            "request_id": [verifications.requests.find(bad), verifications.requests.get(bad)],
            "key": [
                store.rooms.voice_deliveries.find("r", bad),
                store.rooms.voice_deliveries.claim("r", altered(delivery, key=bad)),
            ],
            "content_hash": [store.rooms.voice_deliveries.claim("r", altered(delivery, content_hash=bad))],
            "attempt_id": [
                store.rooms.voice_deliveries.complete("r", altered(delivery, attempt_id=bad, **outcome))
            ],
            "name": [store.leases.acquire(bad, "o", 1), store.leases.release(Lease(bad, "o", 1, 1))],
            "owner": [store.leases.acquire("l", bad, 1), store.leases.release(Lease("l", bad, 1, 1))],
        }
        if bad is not None:
            calls["event_id"] = [store.rooms.read_markers.advance("r", "c", bad)]
            calls["organization_id"] = [
                *(identities.list(organization_id=bad), verifications.find("i", organization_id=bad)),
                identities.find_by_address("sms", "1", organization_id=bad),
                identities.link_address("i", "sms", "1", organization_id=bad),
                identities.create(altered(Identity(), organization_id=bad)),
                verifications.upsert(altered(verified, organization_id=bad)),
            ]
            calls["status"] += [
                store.rooms.tasks.list("r", status=bad),
                anext(store.rooms.tasks.iter("r", status=bad)),
            ]
            calls["organization_id"].append(anext(identities.iter(organization_id=bad)))
            calls["room_id"] += [
                store.rooms.bindings.upsert("r", altered(binding, room_id=bad)),
                store.rooms.participants.upsert("r", altered(person, room_id=bad)),
                store.rooms.tasks.create("r", altered(Task(), room_id=bad)),
                store.rooms.observations.create("r", altered(Observation(), room_id=bad)),
                store.rooms.voice_deliveries.claim("r", altered(delivery, room_id=bad)),
                store.rooms.voice_deliveries.complete("r", altered(delivery, room_id=bad, **outcome)),
            ]
            calls["channel_type"].append(rooms.find_by_participant("p", channel_type=bad))
            calls["recipient"].append(rooms.find_by_binding("c", [], recipient=bad))
            calls["participant_id"].append(
                store.rooms.bindings.upsert("r", altered(binding, participant_id=bad))
            )
            calls["identity_id"].append(
                store.rooms.participants.upsert("r", altered(person, identity_id=bad))
            )
        for path, refusing in calls.items():
            assert {error.path for error in await refused(*refusing)} == {path}, path
        assert await rows(store) == before

    @pytest.mark.parametrize("bad", ["no", 5, b"x", [b"x"], {"$gt": 0}, None], ids=str)
    async def test_of_people_and_notes_wrong_shapes_are_refused(
        self, store: AsyncMongoStore, bad: Any
    ) -> None:
        await furnish(store)
        before = await rows(store)
        binding, person = Binding(channel_id="n"), RoomParticipant(id="n")
        delivery = VoiceDelivery(key="n", content_hash="h")
        calls: list[Any] = [
            *(
                store.rooms.bindings.upsert("r", bad),
                store.rooms.participants.upsert("r", bad),
                store.rooms.tasks.upsert("r", bad),
            ),
            *(
                store.rooms.tasks.create("r", bad),
                store.rooms.observations.create("r", bad),
                store.rooms.identities.create(bad),
            ),
            *(store.rooms.verifications.upsert(bad), store.rooms.verifications.requests.create(bad)),
            *(
                store.rooms.verifications.requests.upsert(bad),
                store.rooms.voice_deliveries.claim("r", bad),
            ),
            *(
                store.rooms.voice_deliveries.complete("r", bad),
                store.leases.acquire("n", "o", bad if bad != 5 else -5),
            ),
            *(
                store.rooms.bindings.list("r", limit=bad if bad != 5 else 0),
                store.rooms.tasks.list("r", limit=1001),
            ),
            store.rooms.bindings.upsert("r", altered(binding, group=bad)),
            store.rooms.voice_deliveries.claim("r", altered(delivery, retryable=bad)),
            store.rooms.list_by_channel("c", limit=bad if bad != 5 else 0),
        ]
        if bad is not None:
            calls.append(store.rooms.list_by_channel("c", group=bad))
        if not isinstance(bad, dict):
            calls += [
                *(
                    store.rooms.bindings.upsert("r", altered(binding, data=bad)),
                    store.rooms.bindings.upsert("r", altered(binding, metadata=bad)),
                ),
                store.rooms.participants.upsert("r", altered(person, data=bad)),
                store.rooms.tasks.create("r", altered(Task(), data=bad)),
                store.rooms.identities.create(altered(Identity(), data=bad)),
            ]
        if not isinstance(bad, list):
            calls += [
                *(store.rooms.find_by_binding("c", bad), store.rooms.find_by_route("c", bad)),
                store.rooms.participants.upsert("r", altered(person, channel_ids=bad)),
            ]
        await refused(*calls)
        assert await rows(store) == before

    @pytest.mark.parametrize("bad", NO_IDS, ids=range(len(NO_IDS)))
    async def test_of_events_bad_arguments_never_reach_a_query(
        self, store: AsyncMongoStore, bad: Any
    ) -> None:
        await furnish(store)
        before = await rows(store)
        events, event = store.rooms.events, Event(id="n", channel_id="c")
        calls: dict[str, list[Any]] = {
            "room_id": [
                events.append(bad, event),
                events.create(bad, event),
                events.create(bad, altered(event, index=5)),
                events.replace(bad, altered(event, id="e")),
                events.find_by_key(bad, "k"),
                events.list(bad),
                anext(events.iter(bad)),
                events.count(bad),
                events.count(bad),
                events.summarize_replies(bad, ["e"]),
                events.update(bad, "e", delivery_results={}),
                events.delete(bad, "e"),
                events.pop(bad, "e"),
                events.find(bad, "e"),
                events.exists(bad, "e"),
                anext(events.watch(bad)),
            ],
            "event_id": [
                events.get("r", bad),
                events.find("r", bad),
                events.update("r", bad, status="x"),
                events.update("r", bad, delivery_results={}),
                events.delete("r", bad),
                events.pop("r", bad),
                events.exists("r", bad),
                events.find_by_id(bad),
            ],
            "id": [
                events.append("r", altered(event, id=bad)),
                events.create("r", altered(event, id=bad, index=5)),
                events.replace("r", altered(event, id=bad)),
                events.append("r", event, target=altered(event, id=bad)),
            ],
            "event_ids": [events.summarize_replies("r", [bad])],
            "key": [events.find_by_key("r", bad)],
            "types": [events.list("r", types=[bad])],
            "exclude_types": [events.count("r", exclude_types=[bad])],
            "status": [events.update("r", "e", status=bad), events.append("r", altered(event, status=bad))],
            "type": [events.append("r", altered(event, type=bad))],
        }
        if bad != "x" * 513:
            calls["visibility"] = [
                events.update("r", "e", visibility=bad),
                events.append("r", altered(event, visibility=bad)),
            ]
        for name in ("channel_type", "participant_id", "correlation_id", "responds_to", "parent_event_id"):
            if bad is not None:
                calls[name] = [
                    events.append("r", altered(event, **{name: bad})),
                    events.replace("r", altered(event, id="e", **{name: bad})),
                    events.list("r", **{name: bad}),
                    anext(events.iter("r", **{name: bad})),
                ]
        if bad is not None:
            calls["room_id"] += [
                events.append("r", altered(event, room_id=bad)),
                events.append("r", event, target=altered(event, room_id=bad)),
                events.create("r", altered(event, room_id=bad)),
                events.replace("r", altered(event, id="e", room_id=bad)),
            ]
            calls |= {
                "idempotency_key": [events.append("r", altered(event, idempotency_key=bad))],
                "target_event_id": [events.append("r", altered(event, target_event_id=bad))],
                "change": [events.append("r", altered(event, change=bad))],
                "channel_id": [
                    events.find_by_key("r", "k", channel_id=bad),
                    events.append("r", altered(event, channel_id=bad)),
                    events.list("r", channel_id=bad),
                ],
            }
        for path, refusing in calls.items():
            assert {error.path for error in await refused(*refusing)} == {path}
        assert await rows(store) == before

    @pytest.mark.parametrize("bad", ["no", 1.5, [1], {"$gt": 0}, -2, 2**70, T.replace(tzinfo=None)], ids=str)
    async def test_of_events_wrong_shapes_are_refused(self, store: AsyncMongoStore, bad: Any) -> None:
        await furnish(store)
        before = await rows(store)
        events, event = store.rooms.events, Event(id="n", channel_id="c")
        calls: dict[str, list[Any]] = {
            "event": [
                events.append("r", bad),
                events.create("r", bad),
                events.replace("r", bad),
            ],
            "target": [events.append("r", event, target=bad)],
            "limit": [events.list("r", limit=bad)],
            "offset": [Offsets.of(store.rooms).find_event_cursor("r", bad, newest=False)],
            "cursor": [events.list("r", cursor=bad)],
            "newest": [events.list("r", newest=bad)],
            "before": [events.list("r", before=bad)],
            "after": [events.list("r", after=bad), anext(events.watch("r", after=bad))],
            "index": [events.create("r", altered(event, index=bad))],
            "blocked": [events.list("r", blocked=bad)],
            "top_level": [events.list("r", top_level=bad)],
            "created_after": [events.list("r", created_after=bad)],
            "created_before": [events.list("r", created_before=bad)],
            "created_at": [events.append("r", altered(event, created_at=bad))],
            "activity": [events.append("r", event, activity=bad)],
            "erase_edits": [events.replace("r", altered(event, id="e"), erase_edits=bad)],
            "replies": [events.delete("r", "e", replies=bad)],
            "unknown": [events.update("r", "e", unknown=bad)],
        }
        if not isinstance(bad, dict):
            calls |= {
                "data": [events.append("r", altered(event, data=bad)), events.update("r", "e", data=bad)],
                "metadata": [
                    events.append("r", altered(event, metadata=bad)),
                    events.update("r", "e", metadata=bad),
                ],
                "delivery_results": [
                    events.append("r", altered(event, delivery_results=bad)),
                    events.update("r", "e", delivery_results=bad),
                ],
            }
        if not isinstance(bad, list):
            calls |= {
                "types": [events.list("r", types=bad)],
                "event_ids": [events.summarize_replies("r", bad)],
            }
        for path, refusing in calls.items():
            assert {error.path for error in await refused(*refusing)} == {path}, path
        await refused(events.update("r", "e"))
        assert await rows(store) == before
