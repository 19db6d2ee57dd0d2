"""How the parts of threads and rooms are read: not at all if their head is deleted or has expired."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mongostore.documents.mapping import StoredDocument
from mongostore.repositories import Connection
from mongostore.repositories.expiry import hide_tombstones, is_open
from mongostore.repositories.paging import Order, count_options
from mongostore.repositories.search.unindexed import hide_words

# The collection of the heads, and the field by which a part names its own.
_HEADS: Final = {
    **dict.fromkeys(("elements", "messages"), ("threads", "thread_id")),
    **dict.fromkeys(
        ("bindings", "events", "observations", "participants", "read_markers", "tasks", "voice_deliveries"),
        ("rooms", "room_id"),
    ),
}
_HEAD_STATE: Final = {"$project": {"_id": 0, "state": 1, "expires_at": 1}}
# The most candidates that are looked at at once.
_CANDIDATES = 2000


async def find_parts(
    connection: Connection,
    collection: str,
    filter: StoredDocument,
    order: Order,
    limit: int,
    fields: StoredDocument | None = None,
) -> list[StoredDocument]:
    """Return the first parts of a list, of one head or of all, as `find_page` does."""
    return await _find(connection, collection, filter, dict(order.sort), limit, fields)


async def find_part(
    connection: Connection,
    collection: str,
    filter: StoredDocument,
    fields: StoredDocument | None = None,
    sort: Iterable[tuple[str, int]] = (),
) -> StoredDocument | None:
    """Return the first part that a filter finds; None if there is none."""
    found = await _find(connection, collection, filter, dict(sort), 1, fields)
    return found[0] if found else None


async def count_parts(
    connection: Connection, collection: str, filter: StoredDocument, limit: int | None
) -> int:
    """Return how many parts of one head a filter matches, `limit` at most."""
    stages: list[StoredDocument] = [{"$limit": count} for count in count_options(limit).values()]
    stages.append({"$group": {"_id": 0, "count": {"$sum": 1}}})
    return sum(group["count"] for group in await aggregate_parts(connection, collection, filter, stages, 2))


async def aggregate_parts(
    connection: Connection,
    collection: str,
    filter: StoredDocument,
    stages: list[StoredDocument],
    batch_size: int,
) -> list[StoredDocument]:
    """Return what stages make of the parts of one head that a filter matches: documents with an `_id`.

    The head comes in the same round trip, after the parts: one that is deleted in between is still there.
    """
    heads, owner = _HEADS[collection]
    head = [{"$match": {"_id": _value_of(filter, owner)}}, _HEAD_STATE]
    union = {"$unionWith": {"coll": connection.collection(heads).name, "pipeline": head}}
    match = {"$match": hide_tombstones(filter, collection)}
    found = connection.collection(collection)
    documents = await found.aggregate_all([match, *stages, union], limit=batch_size + 1)
    if documents and "_id" not in documents[-1] and not is_open(documents.pop()):
        return []
    return documents


async def _find(
    connection: Connection,
    collection: str,
    filter: StoredDocument,
    sort: StoredDocument,
    limit: int,
    fields: StoredDocument | None,
) -> list[StoredDocument]:
    _, owner = _HEADS[collection]
    in_order: list[StoredDocument] = [{"$sort": sort}] if sort else []
    projection = hide_words(collection, fields)
    last: list[StoredDocument] = [{"$project": projection}] if projection else []
    if isinstance(_value_of(filter, owner), str):
        stages = [*in_order, {"$limit": limit}, *last]
        return await aggregate_parts(connection, collection, filter, stages, limit)
    candidates = [{"$match": hide_tombstones(filter, collection)}, *in_order]
    return await _find_of_all(connection, collection, candidates, limit, last)


async def _find_of_all(
    connection: Connection,
    collection: str,
    candidates: list[StoredDocument],
    limit: int,
    last: list[StoredDocument],
) -> list[StoredDocument]:
    """Return the first of the candidates that are parts of open heads, or of none.

    The server would look up the heads of all candidates that it reads ahead, however few of them are wanted:
    they are cut before that, and mostly the first ones will do.
    """
    heads, owner = _HEADS[collection]
    names = {"localField": owner, "foreignField": "_id", "as": "head", "pipeline": [_HEAD_STATE]}
    look_up = {"$lookup": {"from": connection.collection(heads).name, **names}}
    found: list[StoredDocument] = []
    # An id has one candidate, which is known to be the only one if two are asked for.
    seen, count = 0, max(limit, 2)
    while True:
        stages = [*candidates, {"$skip": seen}, {"$limit": count}, *last, look_up]
        documents = await connection.collection(collection).aggregate_all(stages, limit=count)
        found += [one for one in documents if all(map(is_open, one.pop("head")))]
        if len(found) >= limit or len(documents) < count:
            return found[:limit]
        seen += count
        # Twice as many as have held the missing ones so far.
        count = min(2 * (limit - len(found)) * seen // max(len(found), 1), _CANDIDATES)


def _value_of(filter: StoredDocument, owner: str) -> object:
    """Return the owner that a filter names, in each of its branches if it has some."""
    while owner not in filter and "$or" in filter:
        filter = filter["$or"][0]
    return filter.get(owner)
