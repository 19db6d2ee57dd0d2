"""The databases that the bench of growth fills are as the verbs would have written them."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore import AsyncMongoStore, Event, Feedback, Message
from mongostore.repositories.rooms.bulk import EventBatches
from tests.bench.copies import grow

pytestmark = pytest.mark.server

SIZES = (450, 700)


def shape(document: Any) -> Any:
    """Return the types of what a document holds, of an array those of its first element."""
    if isinstance(document, dict):
        return {name: shape(value) for name, value in document.items()}
    if isinstance(document, list):
        return [shape(one) for one in document[:1]]
    return type(document)


async def test_copies_have_the_form_that_verbs_write(server_store: AsyncMongoStore) -> None:
    store, text = server_store, "x" * 200
    await grow(store, 0, SIZES[0])
    metadata = {"n": 9, "d": {"k": 9}, "message": 1}
    await store.sessions.create("own", user_id="u9", metadata=metadata)
    await store.sessions.messages.append("own", Message(role="user", content=text))
    user = await store.threads.users.upsert("u")
    await store.threads.create("own", user_id=user.id, metadata=metadata)
    await store.threads.messages.merge("long", "own", content=text)
    await store.threads.feedback.upsert("long", Feedback(id="own", message_id="own", value=1))
    await store.rooms.create("own", metadata=metadata)
    own = Event(id="own", index=SIZES[0], channel_id="c", content=text)
    await EventBatches.of(store.rooms).create_many("long", [own])
    ids = {"sessions": ("default/n9", "default/own"), "events": ("e9", "own")}
    for name in ("sessions", "threads", "rooms", "messages", "events"):
        stored = store.engine.collection(name)
        copied, written = [await stored.find_one({"_id": id}) for id in ids.get(name, ("n9", "own"))]
        assert shape(copied) == shape(written), name


async def test_the_long_ones_go_on_where_the_copies_end(server_store: AsyncMongoStore) -> None:
    store = server_store
    for appended, (before, size) in enumerate(zip((0, *SIZES), SIZES, strict=False)):
        await grow(store, before, size)
        layout = await store.sessions.describe_storage("long")
        messages = [one async for one in store.sessions.messages.iter("long")]
        assert layout.in_tail + layout.in_segments == size == await store.sessions.messages.count("long")
        assert [one.position for one in messages] == [*range(size)]
        assert len({one.id for one in messages}) == size
        events = [one async for one in store.rooms.events.iter("long")]
        assert [one.index for one in events] == [*range(size + appended)]
        event = await store.rooms.events.append("long", Event(channel_id="c"))
        assert event.index == size + appended
        counts = [await one.count() for one in (store.sessions, store.threads, store.rooms)]
        assert counts == [size + 2] * 3
