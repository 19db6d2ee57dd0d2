"""What a router of a sharded cluster would make of each command: which shards it asks, and what it refuses.

The rules are those of MongoDB 6.0, the oldest server that is supported. Later ones take more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mongostore.index_definitions import load_sharding
from tests.contract.command_log import Sent

_READS = {"find", "aggregate", "count", "distinct"}
_WRITES = {"update": "updates", "delete": "deletes"}
# The next page of a list is the same statement as its first.
_NOT_FIRST = {"schema_version", "expires_at", "active_at", "listed_at", "created_at", "room_created_at"}


class Reach(StrEnum):
    """The shards that a statement asks."""

    ONE = "one"
    SOME = "some"
    ALL = "all"
    REFUSED = "refused"


@dataclass(frozen=True)
class Statement:
    """A read, or one of the writes of a command, as the router targets it."""

    verb: str
    collection: str
    filter: Mapping[str, Any]
    is_upsert: bool = False
    is_multi: bool = True
    sets: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str | None:
        """The field by which the collection is sharded."""
        return next(iter(load_sharding().keys.get(self.collection, {})), None)

    @property
    def reach(self) -> Reach:
        if self.key is None:
            return Reach.ONE
        match self.verb, values_of(self.filter, self.key):
            case _, [_]:
                return Reach.ONE
            case "find_and_modify", _:
                return Reach.REFUSED
            case _ if self.is_upsert or not self.is_multi:
                # A single write by `_id` alone is sent to every shard, which nothing here may need.
                return Reach.REFUSED
            case _, None:
                return Reach.ALL
        return Reach.SOME

    @property
    def is_moving(self) -> bool:
        """Whether it gives documents another owner, who may be on another shard."""
        return self.key in self.sets and [self.sets[self.key]] != values_of(self.filter, self.key)

    @property
    def owners(self) -> list[Any] | None:
        return values_of(self.filter, self.key) if self.key else None

    def __str__(self) -> str:
        fields = ", ".join(sorted(_fields(self.filter) - _NOT_FIRST))
        return f"{self.verb} {self.collection} {{{fields}}}"


def statements(sent: Sent) -> Iterator[Statement]:
    """Yield the statements of a command that is about documents."""
    command, name = sent.command, sent.name
    collection = command.get(name)
    if name == "aggregate" and isinstance(collection, str):
        yield from _of_pipeline(collection, command["pipeline"])
    elif name in _READS:
        yield Statement("find", str(collection), command.get("filter", command.get("query", {})))
    elif name == "findAndModify":
        is_upsert, sets = bool(command.get("upsert")), _set_by(command.get("update"))
        yield Statement("find_and_modify", str(collection), command["query"], is_upsert, False, sets)
    elif name in _WRITES:
        for one in command[_WRITES[name]]:
            is_multi = bool(one.get("multi")) if name == "update" else one["limit"] == 0
            is_upsert, sets = bool(one.get("upsert")), _set_by(one.get("u"))
            yield Statement(name, str(collection), one["q"], is_upsert, is_multi, sets)
    elif name == "insert":
        for document in command["documents"]:
            yield Statement(name, str(collection), document, is_multi=False)


def scattered(sent: Iterable[Sent]) -> set[str]:
    """Return the statements that ask every shard."""
    return {str(one) for command in sent for one in statements(command) if one.reach is Reach.ALL}


def refused(sent: Iterable[Sent]) -> set[str]:
    """Return the statements that a router refuses, or sends to every shard though they write one document."""
    return {str(one) for command in sent for one in statements(command) if one.reach is Reach.REFUSED}


def moving(sent: Iterable[Sent]) -> set[str]:
    """Return the statements that give documents another owner; of several at once a router refuses them."""
    return {str(one) for command in sent for one in statements(command) if one.is_moving}


def crossing(sent: Iterable[Sent]) -> set[str]:
    """Return the collections of the transactions whose statements are about more than one owner."""
    owners: dict[object, set[str]] = defaultdict(set)
    collections: dict[object, set[str]] = defaultdict(set)
    for command in sent:
        if "txnNumber" not in command.command or "autocommit" not in command.command:
            continue
        transaction = (str(command.command["lsid"]), command.command["txnNumber"])
        for statement in statements(command):
            owners[transaction] |= {str(owner) for owner in statement.owners or ["*"]}
            collections[transaction].add(statement.collection)
    return {" ".join(sorted(collections[one])) for one, found in owners.items() if len(found) > 1}


def check(house: str, sent: Iterable[Sent]) -> None:
    """Check that statements name their owners, but for those that are listed, which are all sent."""
    sharding, sent = load_sharding(), list(sent)
    found = scattered(sent)
    problems = {
        "refused": refused(sent),
        "scattered, but not listed": found - sharding.scattered[house].keys(),
        "listed, but not sent": sharding.scattered[house].keys() - found,
        "crossing": crossing(sent) - sharding.crossing.keys(),
        "moving": moving(sent) - sharding.moving.keys(),
    }
    assert not any(problems.values()), problems


def _set_by(update: Any) -> Mapping[str, Any]:
    stages = update if isinstance(update, list) else [update or {}]
    return {path: value for stage in stages for path, value in stage.get("$set", {}).items()}


def _of_pipeline(collection: str, pipeline: list[dict[str, Any]]) -> Iterator[Statement]:
    filter: dict[str, Any] = {}
    for stage in pipeline:
        if "$changeStream" in stage or "$listSearchIndexes" in stage:
            return
        if "$match" in stage and not filter:
            filter = stage["$match"]
        if union := stage.get("$unionWith"):
            yield from _of_pipeline(union["coll"], union.get("pipeline", []))
        if lookup := stage.get("$lookup"):
            # By the value of a field: each is looked up where it is.
            joined = {lookup.get("foreignField", "_id"): "a value"}
            first = lookup.get("pipeline", [{}])[0].get("$match", {})
            yield Statement("lookup", lookup["from"], {**first, **joined})
    yield Statement("find", collection, filter)


def values_of(filter: Mapping[str, Any], field: str) -> list[Any] | None:
    """Return the values that a filter allows a field to have; None if any."""
    if field in filter:
        value = filter[field]
        if not isinstance(value, Mapping) or not any(name.startswith("$") for name in value):
            return [value]
        if "$eq" in value:
            return [value["$eq"]]
        return list(value["$in"]) if "$in" in value else None
    for part in filter.get("$and", ()):
        if (values := values_of(part, field)) is not None:
            return values
    found = [values_of(part, field) for part in filter.get("$or", ())]
    if not found or None in found:
        return None
    return list({str(value): value for values in found for value in values or ()}.values())


def _fields(filter: Mapping[str, Any]) -> set[str]:
    found = set[str]()
    for name, value in filter.items():
        if name == "$and":
            found |= {field for part in value for field in _fields(part)}
        elif name == "$or":
            found |= set.intersection(*map(_fields, value))
        else:
            # Metadata and data have members of any name.
            found.add(name.partition(".")[0] if name.startswith(("metadata.", "data.")) else name)
    return found
