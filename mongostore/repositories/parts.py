"""How the parts of threads and rooms are read: not at all if their head is deleted or has expired."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mongostore.documents.mapping import StoredDocument
from mongostore.repositories import Connection, current_operation
from mongostore.repositories.expiry import hide_tombstones, is_open
from mongostore.repositories.paging import KeyOrder, SortOrder, count_options
from mongostore.repositories.search.unindexed import hide_words

# The collection of the heads, and the field by which a part names its own.
_HEADS: Final = {
    **dict.fromkeys(("elements", "messages"), ("threads", "thread_id")),
    **dict.fromkeys(
        ("bindings", "events", "observations", "participants", "read_markers", "tasks", "voice_deliveries"),
        ("rooms", "room_id"),
    ),
}
_HEAD_STATE: Final = {"head.state": 1, "head.expires_at": 1}
# How many candidates are looked at after the first ones, of which too many have no head any more.
_MORE_CANDIDATES = 2000


async def find_parts(
    connection: Connection,
    collection: str,
    filter: StoredDocument,
    order: SortOrder | KeyOrder,
    limit: int,
    fields: StoredDocument | None = None,
) -> list[StoredDocument]:
    """Return the first parts of a list, as `find_page` does."""
    return await _find(connection, collection, filter, dict(order.sort), limit, fields)


async def find_parts_of_all(
    connection: Connection,
    collection: str,
    filter: StoredDocument,
    order: SortOrder,
    limit: int,
    fields: StoredDocument,
) -> list[StoredDocument]:
    """Return the first parts of a list over all heads.

    The server would look up the heads of all candidates, however few of them are wanted: the candidates are
    cut before that, and mostly the first ones will do.
    """
    candidates: list[StoredDocument] = [
        {"$match": hide_tombstones(filter, collection)},
        {"$sort": dict(order.sort)},
    ]
    last = [_look_up_head(connection, collection), {"$project": fields | _HEAD_STATE}]
    found: list[StoredDocument] = []
    seen, count = 0, limit
    while True:
        stages = [*candidates, {"$skip": seen}, {"$limit": count}, *last]
        documents = await _aggregate(connection, collection, stages, count)
        found += [one for one in documents if all(map(is_open, one.pop("head")))]
        if len(found) >= limit or len(documents) < count:
            return found[:limit]
        seen, count = seen + count, _MORE_CANDIDATES


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
    head = [
        {"$match": {"_id": _value_of(filter, owner)}},
        {"$project": {"_id": 0, "state": 1, "expires_at": 1}},
    ]
    union = {"$unionWith": {"coll": connection.collection(heads).name, "pipeline": head}}
    match = {"$match": hide_tombstones(filter, collection)}
    documents = await _aggregate(connection, collection, [match, *stages, union], batch_size + 1)
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
    last: list[StoredDocument] = [{"$limit": limit}]
    if projection := hide_words(collection, fields):
        last.append({"$project": projection})
    if isinstance(_value_of(filter, owner), str):
        return await aggregate_parts(connection, collection, filter, [*in_order, *last], limit)
    # Each part has a head of its own.
    is_gone = {"$elemMatch": {"$or": [{"state": {"$ne": "open"}}, _expired()]}}
    found = [
        {"$match": hide_tombstones(filter, collection)},
        *in_order,
        _look_up_head(connection, collection),
        {"$match": {"head": {"$not": is_gone}}},
        {"$project": {"head": 0}},
        *last,
    ]
    return await _aggregate(connection, collection, found, limit + 1)


def _look_up_head(connection: Connection, collection: str) -> StoredDocument:
    heads, owner = _HEADS[collection]
    names = {"localField": owner, "foreignField": "_id", "as": "head"}
    return {"$lookup": {"from": connection.collection(heads).name, **names}}


def _expired() -> StoredDocument:
    return {"expires_at": {"$lte": current_operation().now}}


async def _aggregate(
    connection: Connection, collection: str, pipeline: list[StoredDocument], batch_size: int
) -> list[StoredDocument]:
    found = connection.collection(collection)
    # One more than there can be, so that the first answer ends it.
    async with await found.aggregate(pipeline, batchSize=batch_size + 1) as cursor:
        documents: list[StoredDocument] = await cursor.to_list()
    return documents


def _value_of(filter: StoredDocument, owner: str) -> object:
    """Return the owner that a filter names, in each of its branches if it has some."""
    while owner not in filter and "$or" in filter:
        filter = filter["$or"][0]
    return filter.get(owner)
