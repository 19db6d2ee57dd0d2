"""Bad arguments about those who are in rooms, and about what is noted there, are refused by their paths."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore import (
    AsyncMongoStore,
    Binding,
    Event,
    EventFilter,
    Identity,
    Observation,
    Participant,
    Task,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)
from tests.contract.furnishing import T, altered, furnish, rows
from tests.contract.oddities import NO_IDS, refused


class TestRoomArguments:
    @pytest.mark.parametrize("bad", NO_IDS, ids=range(len(NO_IDS)))
    async def test_of_people_and_notes_bad_arguments_never_reach_a_query(
        self, store: AsyncMongoStore, bad: Any
    ) -> None:
        await furnish(store)
        before = await rows(store)
        rooms, identities, verifications = store.rooms, store.rooms.identities, store.rooms.verifications
        binding, person = Binding(room_id="r", channel_id="n"), Participant(room_id="r", id="n")
        delivery = VoiceDelivery(room_id="r", key="n", content_hash="h")
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
                *(store.rooms.read_markers.mark(bad, "c", "e"), store.rooms.read_markers.mark_all(bad, "c")),
                *(store.rooms.read_markers.count_unread(bad, "c"), store.rooms.read_markers.by_channel(bad)),
                store.rooms.voice_deliveries.find(bad, "k"),
                store.rooms.bindings.upsert(altered(binding, room_id=bad)),
                store.rooms.participants.upsert(altered(person, room_id=bad)),
                store.rooms.tasks.create(altered(Task(room_id="r"), room_id=bad)),
                store.rooms.observations.create(altered(Observation(room_id="r"), room_id=bad)),
                store.rooms.voice_deliveries.claim(altered(delivery, room_id=bad)),
                store.rooms.voice_deliveries.complete(altered(delivery, room_id=bad, **outcome)),
            ],
            "channel_id": [
                *(
                    store.rooms.bindings.get("r", bad),
                    store.rooms.bindings.find("r", bad),
                    store.rooms.bindings.exists("r", bad),
                ),
                *(
                    store.rooms.bindings.delete("r", bad),
                    store.rooms.bindings.upsert(altered(binding, channel_id=bad)),
                ),
                *(
                    store.rooms.read_markers.mark("r", bad, "e"),
                    store.rooms.read_markers.mark("r", bad, "unknown"),
                ),
                *(
                    store.rooms.read_markers.mark_all("r", bad),
                    store.rooms.read_markers.mark_all("unknown", bad),
                ),
                store.rooms.read_markers.count_unread("r", bad),
                *(rooms.find_by_binding(bad, ["p"]), rooms.find_by_participant(bad, ["p"])),
                rooms.list_by_channel(bad),
            ],
            "participant_id": [
                *(store.rooms.participants.get("r", bad), store.rooms.participants.find("r", bad)),
                *(store.rooms.participants.delete("r", bad), rooms.find_latest(bad)),
            ],
            "names": [rooms.find_by_binding("c", [bad]), rooms.find_by_participant("c", [bad])],
            "recipient": [rooms.find_by_binding("c", [], recipient=("k", bad))],
            "event_id": [store.rooms.read_markers.mark("r", "c", bad)],
            "task_id": [store.rooms.tasks.get(bad), store.rooms.tasks.find(bad)],
            "id": [
                store.rooms.participants.upsert(altered(person, id=bad)),
                store.rooms.tasks.upsert(altered(Task(room_id="r"), id=bad)),
                store.rooms.observations.create(altered(Observation(room_id="r"), id=bad)),
                identities.create(altered(Identity(), id=bad)),
                verifications.create_request(altered(VerificationRequest(identity_id="i"), id=bad)),
            ],
            "channel_ids": [store.rooms.participants.upsert(altered(person, channel_ids=[bad]))],
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
                identities.create(
                    altered(Identity(), addresses={"sms": "1"} if isinstance(bad, dict) else bad)
                ),
                identities.create(altered(Identity(), addresses={"sms": [bad]})),
            ],
            "status": [
                verifications.upsert(altered(verified, status=bad)),
                anext(verifications.iter_expiring(bad)),
                store.rooms.tasks.create(altered(Task(room_id="r"), status=bad)),
            ],
            "request_id": [verifications.find_request(bad)],
            "key": [
                store.rooms.voice_deliveries.find("r", bad),
                store.rooms.voice_deliveries.claim(altered(delivery, key=bad)),
            ],
            "content_hash": [store.rooms.voice_deliveries.claim(altered(delivery, content_hash=bad))],
            "attempt_id": [
                store.rooms.voice_deliveries.complete(altered(delivery, attempt_id=bad, **outcome))
            ],
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
            calls["status"].append(store.rooms.tasks.list("r", status=bad))
            calls["channel_type"].append(rooms.find_latest("p", channel_type=bad))
            calls["recipient"].append(rooms.find_by_binding("c", [], recipient=bad))
            calls["participant_id"].append(store.rooms.bindings.upsert(altered(binding, participant_id=bad)))
            calls["identity_id"].append(store.rooms.participants.upsert(altered(person, identity_id=bad)))
        for path, refusing in calls.items():
            assert {error.path for error in await refused(*refusing)} == {path}, path
        assert await rows(store) == before

    @pytest.mark.parametrize("bad", ["no", 5, b"x", [b"x"], {"$gt": 0}, None], ids=str)
    async def test_of_people_and_notes_wrong_shapes_are_refused(
        self, store: AsyncMongoStore, bad: Any
    ) -> None:
        await furnish(store)
        before = await rows(store)
        binding, person = Binding(room_id="r", channel_id="n"), Participant(room_id="r", id="n")
        delivery = VoiceDelivery(room_id="r", key="n", content_hash="h")
        calls: list[Any] = [
            *(
                store.rooms.bindings.upsert(bad),
                store.rooms.participants.upsert(bad),
                store.rooms.tasks.upsert(bad),
            ),
            *(
                store.rooms.tasks.create(bad),
                store.rooms.observations.create(bad),
                store.rooms.identities.create(bad),
            ),
            *(store.rooms.verifications.upsert(bad), store.rooms.verifications.create_request(bad)),
            *(store.rooms.verifications.upsert_request(bad), store.rooms.voice_deliveries.claim(bad)),
            *(
                store.rooms.voice_deliveries.complete(bad),
                store.leases.acquire("n", "o", bad if bad != 5 else -5),
            ),
            *(
                store.rooms.bindings.list("r", limit=bad if bad != 5 else 0),
                store.rooms.tasks.list("r", limit=1001),
            ),
            store.rooms.bindings.upsert(altered(binding, group=bad)),
            store.rooms.voice_deliveries.claim(altered(delivery, retryable=bad)),
            store.rooms.list_by_channel("c", limit=bad if bad != 5 else 0),
        ]
        if bad is not None:
            calls.append(store.rooms.list_by_channel("c", group=bad))
        if not isinstance(bad, dict):
            calls += [
                *(
                    store.rooms.bindings.upsert(altered(binding, data=bad)),
                    store.rooms.bindings.upsert(altered(binding, metadata=bad)),
                ),
                store.rooms.participants.upsert(altered(person, data=bad)),
                store.rooms.tasks.create(altered(Task(room_id="r"), data=bad)),
                store.rooms.identities.create(altered(Identity(), data=bad)),
            ]
        if not isinstance(bad, list):
            calls += [
                *(store.rooms.find_by_binding("c", bad), store.rooms.find_by_participant("c", bad)),
                store.rooms.participants.upsert(altered(person, channel_ids=bad)),
            ]
        await refused(*calls)
        assert await rows(store) == before

    @pytest.mark.parametrize("bad", NO_IDS, ids=range(len(NO_IDS)))
    async def test_of_events_bad_arguments_never_reach_a_query(
        self, store: AsyncMongoStore, bad: Any
    ) -> None:
        await furnish(store)
        before = await rows(store)
        events, event = store.rooms.events, Event(id="n", room_id="r", channel_id="c")
        calls: dict[str, list[Any]] = {
            "room_id": [
                events.commit(altered(event, room_id=bad)),
                events.create(altered(event, room_id=bad)),
                events.create(altered(event, room_id=bad, index=5)),
                events.replace(altered(event, id="e", room_id=bad)),
                events.find_by_key(bad, "k"),
                events.list(bad),
                anext(events.iter(bad)),
                events.count(bad),
                events.count(bad, where=EventFilter()),
                events.threads(bad, ["e"]),
                events.record_delivery(bad, "e", {}),
                events.delete(bad, "e"),
                anext(events.watch(bad)),
            ],
            "event_id": [
                events.get(bad),
                events.find(bad),
                events.update(bad, status="x"),
                events.record_delivery("r", bad, {}),
                events.delete("r", bad),
            ],
            "id": [
                events.commit(altered(event, id=bad)),
                events.create(altered(event, id=bad, index=5)),
                events.replace(altered(event, id=bad)),
                events.commit(event, target=altered(event, id=bad)),
            ],
            "event_ids": [events.threads("r", [bad])],
            "key": [events.find_by_key("r", bad)],
            "types": [events.list("r", where=EventFilter(types=[bad]))],
            "exclude_types": [events.count("r", where=EventFilter(exclude_types=[bad]))],
            "status": [events.update("e", status=bad), events.commit(altered(event, status=bad))],
            "type": [events.commit(altered(event, type=bad))],
        }
        if bad != "x" * 513:
            calls["visibility"] = [
                events.update("e", visibility=bad),
                events.commit(altered(event, visibility=bad)),
            ]
        for name in ("channel_type", "participant_id", "correlation_id", "responds_to", "parent_event_id"):
            if bad is not None:
                calls[name] = [
                    events.commit(altered(event, **{name: bad})),
                    events.replace(altered(event, id="e", **{name: bad})),
                    events.list("r", where=EventFilter(**{name: bad})),
                    anext(events.iter("r", where=EventFilter(**{name: bad}))),
                ]
        if bad is not None:
            calls |= {
                "idempotency_key": [events.commit(altered(event, idempotency_key=bad))],
                "target_event_id": [events.commit(altered(event, target_event_id=bad))],
                "change": [events.commit(altered(event, change=bad))],
                "channel_id": [
                    events.find_by_key("r", "k", channel_id=bad),
                    events.commit(altered(event, channel_id=bad)),
                    events.list("r", where=EventFilter(channel_id=bad)),
                ],
                "where": [events.list("r", where=bad), events.count("r", where=bad)],
            }
        for path, refusing in calls.items():
            assert {error.path for error in await refused(*refusing)} == {path}
        assert await rows(store) == before

    @pytest.mark.parametrize("bad", ["no", 1.5, [1], {"$gt": 0}, -2, 2**70, T.replace(tzinfo=None)], ids=str)
    async def test_of_events_wrong_shapes_are_refused(self, store: AsyncMongoStore, bad: Any) -> None:
        await furnish(store)
        before = await rows(store)
        events, event = store.rooms.events, Event(id="n", room_id="r", channel_id="c")
        calls: dict[str, list[Any]] = {
            "event": [
                events.commit(bad),
                events.create(bad),
                events.replace(bad),
                events.commit(event, target=bad),
            ],
            "limit": [events.list("r", limit=bad)],
            "offset": [events.list("r", offset=bad)],
            "newest": [events.list("r", newest=bad)],
            "before": [events.list("r", before=bad)],
            "after": [events.list("r", after=bad), anext(events.watch("r", after=bad))],
            "index": [events.create(altered(event, index=bad))],
            "blocked": [events.list("r", where=EventFilter(blocked=bad))],
            "top_level": [events.list("r", where=EventFilter(top_level=bad))],
            "created_after": [events.list("r", where=EventFilter(created_after=bad))],
            "created_before": [events.list("r", where=EventFilter(created_before=bad))],
            "created_at": [events.commit(altered(event, created_at=bad))],
            "activity": [events.commit(event, activity=bad)],
            "erase_edits": [events.replace(altered(event, id="e"), erase_edits=bad)],
            "replies": [events.delete("r", "e", replies=bad)],
            "unknown": [events.update("e", unknown=bad)],
        }
        if not isinstance(bad, dict):
            calls |= {
                "data": [events.commit(altered(event, data=bad)), events.update("e", data=bad)],
                "metadata": [events.commit(altered(event, metadata=bad)), events.update("e", metadata=bad)],
                "delivery_results": [events.commit(altered(event, delivery_results=bad))],
                "results": [events.record_delivery("r", "e", bad)],
            }
        if not isinstance(bad, list):
            calls |= {
                "types": [events.list("r", where=EventFilter(types=bad))],
                "event_ids": [events.threads("r", bad)],
            }
        for path, refusing in calls.items():
            assert {error.path for error in await refused(*refusing)} == {path}, path
        await refused(events.update("e"))
        assert await rows(store) == before
