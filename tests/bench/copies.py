"""Copies of what the verbs have written, by which a database is filled faster than by the verbs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from pymongo.write_concern import WriteConcern

from mongostore import AsyncMongoStore, Event, Feedback, Message
from mongostore.index_definitions import ensure_indexes
from mongostore.repositories.rooms.bulk import EventBatches, RoomTransfer

_BATCH = 1_000
# At least one segment of the long session is written by the verbs, and its tail.
_APPENDED = 300
# One number of so many has what few have.
_RARE = 997
_TEXT = "x" * 200
_TEMPLATES = {"sessions": "default/template", "threads": "template", "rooms": "template"}
_HEADS_KEY = "default/long"
_Document = dict[str, Any]


async def grow(store: AsyncMongoStore, before: int, size: int) -> None:
    """Add sessions, threads and rooms, and messages and events of the long ones, up to `size` of each.

    The indexes are built behind the documents, which takes the server half as long.

    Args:
        store: A store whose database has nothing else.
        before: How many there are already.
        size: How many there are afterwards.
    """
    if not before:
        await _begin(store)
    start, _ = await RoomTransfer.of(store.rooms).read_state("long")
    # The last one has the room give no index of those between.
    ends = [Event(id=f"e{before}", index=start, channel_id="c", content=_TEXT)]
    ends.append(ends[0].model_copy(update={"id": f"e{size - 1}", "index": start + size - 1 - before}))
    await EventBatches.of(store.rooms).create_many("long", ends)
    templates = {**_TEMPLATES, "messages": "message", "events": ends[0].id}
    for collection in (*templates, "session_segments"):
        await store.engine.collection(collection).drop_indexes()
    events = range(before + 1, size - 1)
    numbers = {collection: range(before, size) for collection in templates} | {"events": events}
    await asyncio.gather(
        *(_clone(store, collection, id, numbers[collection]) for collection, id in templates.items()),
        _lengthen(store, size),
    )
    await ensure_indexes(store.engine)


async def _begin(store: AsyncMongoStore) -> None:
    """Write what is copied: one session, thread, message and room, and the beginning of the long session."""
    metadata = {"n": 0, "d": {"k": 0}, "message": 1}
    for session_id in ("long", "template"):
        await store.sessions.create(session_id, user_id="u", metadata=metadata)
    await store.sessions.messages.append("template", Message(role="user", content=_TEXT))
    for start in range(0, _APPENDED, 100):
        await store.sessions.messages.append_many("long", _messages(range(start, start + 100)))
    user = await store.threads.users.upsert("u")
    for thread_id in ("long", "template"):
        await store.threads.create(thread_id, user_id=user.id, metadata=metadata)
    await store.threads.messages.merge("long", "message", content=_TEXT)
    await store.threads.feedback.upsert("long", Feedback(id="f", message_id="message", value=0))
    for room_id in ("long", "template"):
        await store.rooms.create(room_id, metadata=metadata)


def _messages(numbers: range) -> list[Message]:
    return [Message(id=f"m{number}", role="user", content=_TEXT) for number in numbers]


async def _lengthen(store: AsyncMongoStore, size: int) -> None:
    """Move the tail of the long session up behind copies of its first segment, and append the rest."""
    sessions, segments = (store.engine.collection(name) for name in ("sessions", "session_segments"))
    head = await sessions.find_one({"_id": _HEADS_KEY})
    segment = await segments.find_one({"session": _HEADS_KEY, "start": 0})
    assert head is not None
    assert segment is not None
    length = segment["end"]
    count = max(size - head["message_count"], 0) // length
    starts = [head["tail_start"] + number * length for number in range(count)]
    for batch in range(0, count, 100):
        await _insert(segments, [_copy_segment(segment, start) for start in starts[batch : batch + 100]])
    moved = dict.fromkeys(("tail_start", "next_position", "message_count"), count * length)
    await sessions.update_one({"_id": _HEADS_KEY}, {"$inc": {**moved, "edit_count": count}})
    rest = _messages(range(head["message_count"] + count * length, size))
    await store.sessions.messages.append_many("long", rest)


def _copy_segment(segment: _Document, start: int) -> _Document:
    # The messages of the tail keep the ids by their numbers.
    messages = [{**one, "id": f"c{start + number}"} for number, one in enumerate(segment["messages"])]
    position = {"start": start, "end": start + len(messages), "messages": messages}
    return {**segment, "_id": f"{segment['_id'].rpartition('/')[0]}/{start:012}", **position}


async def _clone(store: AsyncMongoStore, collection: str, id: str, numbers: range) -> None:
    """Insert copies of a document, each with numbers of its own."""
    documents = store.engine.collection(collection)
    original = await documents.find_one({"_id": id})
    assert original is not None
    copies = _copies(collection, original, numbers)
    for start in numbers[::_BATCH]:
        await _insert(documents, [next(copies) for _ in range(start, min(start + _BATCH, numbers.stop))])


def _copies(collection: str, original: _Document, numbers: range) -> Iterator[_Document]:
    times = [name for name in ("created_at", "active_at", "updated_at", "arrival") if original.get(name)]
    for number in numbers:
        document = {**original, "_id": f"n{number}"}
        document |= {name: original[name] + number for name in times}
        kind = "rare" if number % _RARE == 7 else "message"
        if collection in _TEMPLATES:
            document["metadata"] = {"n": number, "d": {"k": number}, kind: 1}
        if "user_id" in original:
            document["user_id"] = f"u{number % 100}"
        match collection:
            case "sessions":
                document |= {"_id": f"default/n{number}", "session_id": f"n{number}"}
            case "messages":
                document["feedback"] = {**original["feedback"], "id": f"f{number}", "value": number % 2}
            case "events":
                index = original["index"] + number - numbers.start + 1
                document |= {"_id": f"e{number}", "type": kind, "index": index, "log_index": index}
        yield document


async def _insert(collection: Any, documents: list[_Document]) -> None:
    await collection.with_options(write_concern=WriteConcern(1)).insert_many(documents, ordered=False)
