"""How conversations are stored, as the verbs that describe it show."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from mongostore import AsyncMongoStore, Event, InvalidDocumentError, Message, NotFoundError
from mongostore.repositories.sessions import TailLimits

small_tails = pytest.mark.parametrize("tail_limits", [TailLimits(keep=1, full=2)], ids=["small-tails"])


@small_tails
async def test_the_outline_of_a_session_leaves_no_position_out(store: AsyncMongoStore) -> None:
    sessions = store.sessions
    await sessions.create("s")
    assert (await sessions.describe_storage("s")).outline == []
    texts = ["x" * (5000 if n == 50 else 10) for n in range(250)]
    for start, end in pairwise([0, 1, 2, *range(50, 251, 50)]):
        many = [Message(role="user", content=text) for text in texts[start:end]]
        await sessions.messages.append_many("s", many)
        layout = await sessions.describe_storage("s")
        outline = layout.outline
        without = await sessions.describe_storage("s", outline=False)
        assert without == layout.model_copy(update={"outline": []})
        assert len(outline) <= 100
        assert [one.start for one in outline] == [0, *(one.end for one in outline[:-1])]
        assert outline[-1].end == end == layout.in_tail + layout.in_segments
        assert all(one.bytes for one in outline)
    assert layout.segments > 100
    largest = max(outline, key=lambda one: one.bytes)
    assert largest.start <= 50 < largest.end
    assert largest.bytes > 5000


@small_tails
async def test_a_message_is_described_as_it_is_stored(store: AsyncMongoStore) -> None:
    messages = store.sessions.messages
    many = [Message(id=f"m{n}", role="user", content={"a.b": n}) for n in range(6)]
    await messages.append_many("s", many, create=True)
    await messages.delete("s", "m1")
    document = await store.engine.collection("sessions").find_one({})
    assert document
    assert document["tail_start"] > 2
    for position in (0, 5):
        stored = json.loads(await messages.describe_document("s", position))
        assert stored["id"] == f"m{position}"
    await store.engine.collection("session_segments").update_one(
        {"start": 0}, {"$set": {"messages.0.role": 7}}
    )
    with pytest.raises(InvalidDocumentError):
        await messages.get("s", "m0")
    assert json.loads(await messages.describe_document("s", 0))["role"] == 7
    for session_id, position in (("s", 1), ("s", 6), ("unknown", 0)):
        with pytest.raises(NotFoundError):
            await messages.describe_document(session_id, position)


async def test_a_step_and_an_event_are_described_as_they_are_stored(store: AsyncMongoStore) -> None:
    await store.threads.messages.merge("t", "m", content="Tea?")
    await store.rooms.create("r")
    await store.rooms.events.append("r", Event(id="e", channel_id="c", content="Tea?"))
    for collection, verbs, owner, id in (
        ("messages", store.threads.messages, "t", "m"),
        ("events", store.rooms.events, "r", "e"),
    ):
        await store.engine.collection(collection).update_one(
            {"_id": id}, {"$set": {"metadata": 7, "data": 7}}
        )
        with pytest.raises(InvalidDocumentError):
            await verbs.get(owner, id)
        stored = json.loads(await verbs.describe_document(owner, id))
        assert (stored["_id"], stored["content"], stored["data"]) == (id, "Tea?", 7)
        for path in ((owner, "unknown"), ("unknown", id)):
            with pytest.raises(NotFoundError):
                await verbs.describe_document(*path)
