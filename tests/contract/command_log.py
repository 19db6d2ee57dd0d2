"""What goes over the wire to a real server: each command, and how the server means to carry it out."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import bson
from pymongo import MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from mongostore import AsyncMongoStore
from mongostore.index_definitions import load_indexes, load_sharding
from mongostore.repositories import Repository

W = TypeVar("W")

QUERIES = {"find", "aggregate", "count", "distinct", "update", "delete", "findAndModify"}
UNEXPLAINED = {"$changeStream", "$listSearchIndexes"}
ENVELOPE = {
    *("lsid", "txnNumber", "startTransaction", "autocommit"),
    *("writeConcern", "readConcern", "maxTimeMS"),
}
INDEXES = {"_id_"} | {index["name"] for command in load_indexes() for index in command["indexes"]}
# Those that a cluster makes of the shard keys.
INDEXES |= {f"{field}_hashed" for key in load_sharding().keys.values() for field in key}


@dataclass
class Sent:
    """A command on its way to the server; the plan is that of the very moment at which it was sent.

    Attributes:
        returned: How many documents came back, or were written.
    """

    name: str
    command: Mapping[str, Any]
    bytes: int
    plan: dict[str, Any] | None = None
    returned: int = 0

    @property
    def is_query(self) -> bool:
        stages = self.command["pipeline"] if self.name == "aggregate" else []
        return self.name in QUERIES and not any(stage.keys() & UNEXPLAINED for stage in stages)

    @property
    def lists_room(self) -> bool:
        updates = self.command["updates"] if self.name == "update" else []
        return any("listed_at" in update["u"].get("$max", {}) for update in updates)

    def __repr__(self) -> str:
        return f"{self.name} of {self.command.get(self.name)}"


class CommandLog(CommandListener):
    """Notes every command, and asks the server to explain it when given a client to ask with."""

    def __init__(self, explainer: MongoClient[dict[str, Any]] | None = None) -> None:
        self.sent: list[Sent] = []
        self._under_way: dict[int, Sent] = {}
        self.explainer = explainer

    @property
    def commits(self) -> list[Sent]:
        """The commands but those that list a room at the turn of a second, for which no commit waits."""
        return [one for one in self.sent if not one.lists_room]

    def started(self, event: CommandStartedEvent) -> None:
        sent = Sent(event.command_name, event.command, len(bson.encode(event.command)))
        self.sent.append(sent)
        self._under_way[event.request_id] = sent
        if self.explainer and sent.is_query:
            command = {
                name: value
                for name, value in event.command.items()
                if name not in ENVELOPE and not name.startswith("$")
            }
            sent.plan = self.explainer[event.database_name].command(
                {"explain": command, "verbosity": "executionStats"}
            )

    def succeeded(self, event: CommandSucceededEvent) -> None:
        cursor = event.reply.get("cursor", {})
        batch = cursor.get("firstBatch", cursor.get("nextBatch", event.reply.get("values", ())))
        written = int(event.reply.get("n", event.reply.get("value") is not None))
        self._under_way.pop(event.request_id).returned = len(batch) or written

    def failed(self, event: CommandFailedEvent) -> None:
        self._under_way.pop(event.request_id)


@asynccontextmanager
async def logged_store(uri: str, database: str, wire: CommandLog) -> AsyncIterator[AsyncMongoStore]:
    """An open store whose commands go past the wire, what it asks once after each election first."""
    async with AsyncMongoStore(uri, database, client_options={"event_listeners": [wire]}) as store:
        await read_majority(store)
        yield store


async def read_majority(store: AsyncMongoStore) -> None:
    """Have a store ask what it asks once after each election, which is not what a verb costs."""

    async def nothing() -> None:
        pass

    await store.engine.read_majority(nothing)


@dataclass(frozen=True)
class Case:
    """A call of a verb, and how many commands it may send."""

    claim: str
    most: int
    call: Callable[[Any], Awaitable[object]]


@dataclass
class Observed:
    """What each case sent, and the verbs of each repository that the cases called."""

    sent: dict[str, list[Sent]]
    verbs: dict[str, set[str]]
    repositories: dict[str, type]


@dataclass
class Verbs:
    """Passes calls on to a repository and its parts, and notes the verbs that were asked for."""

    repository: Any
    names: set[str] = field(default_factory=set)
    path: str = ""

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.repository, name)
        if isinstance(member, Repository):
            return Verbs(member, self.names, f"{self.path}{name}.")
        self.names.add(f"{self.path}{name}")
        return member


def repositories_of(owner: object, path: str = "") -> dict[str, Repository]:
    """Return the repositories of a store, and those that they hold, by their paths."""
    found: dict[str, Repository] = {}
    for name, member in vars(owner).items():
        if isinstance(member, Repository):
            found[f"{path}{name}"] = member
            found |= repositories_of(member, f"{path}{name}.")
    return found


def wrapped(store: AsyncMongoStore, wrap: Callable[[str, Repository], W]) -> dict[str, W]:
    """Wrap all repositories of a store, each with the wrapped ones that it holds, and return them by path."""
    found = {path: wrap(path, repository) for path, repository in repositories_of(store).items()}
    for path, one in found.items():
        holder, _, name = path.rpartition(".")
        if holder:
            setattr(found[holder], name, one)
    return found


def short_names(wrapped: Mapping[str, W]) -> dict[str, W]:
    """Return wrapped repositories by path, and the parts of rooms also by the names that their cases use."""
    short = {path.removeprefix("rooms.").removeprefix("verifications."): one for path, one in wrapped.items()}
    return {**wrapped, **short}


def verbs_of(repository: type) -> set[str]:
    """Return the names of the public verbs of a repository, without those of its parts."""
    return {
        name
        for name, member in inspect.getmembers(repository)
        if not name.startswith("_")
        and (inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member))
    }


def nested(plan: Any, name: str) -> Iterator[Any]:
    """Yield the outermost members of that name."""
    if isinstance(plan, dict):
        for key, value in plan.items():
            if key == name:
                yield value
            else:
                yield from nested(value, name)
    elif isinstance(plan, list):
        for value in plan:
            yield from nested(value, name)


def stages_of(plan: Any) -> Iterator[dict[str, Any]]:
    if isinstance(plan, dict):
        if "stage" in plan:
            yield plan
        for value in plan.values():
            yield from stages_of(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from stages_of(value)


def count_affected(sent: Sent, stats: dict[str, Any]) -> int:
    """Return how many documents a command returns, matches or deletes.

    Of an aggregation, that is what its last stage returns: those before it may have fetched more.
    """
    stages = stages_of(stats["executionStages"])
    matched = [stage.get(name, 0) for stage in stages for name in ("nMatched", "nWouldDelete")]
    pipelines = [stages for stages in nested(sent.plan, "stages") if sent.name == "aggregate"]
    returned = max((stages[-1]["nReturned"] for stages in pipelines), default=stats["nReturned"])
    return int(max(returned, *matched))


def is_union(sent: Sent) -> bool:
    """Return whether a command asks two questions, such as how many there are and how many have expired."""
    return sent.name == "aggregate" and "$unionWith" in sent.command["pipeline"][-1]


def executions(sent: Sent) -> int:
    """Return how often a query is carried out: two questions in one are, and each on every shard it asks."""
    shards = sent.plan.get("shards", ()) if sent.plan else ()
    return (2 if is_union(sent) else 1) * max(len(shards), 1)


def executed_by_indexes(sent: Sent, *, may_sort: bool = False) -> list[dict[str, Any]]:
    """Check that a query finds all by indexes of ours, and by default in their order; return what it cost."""
    assert sent.plan, f"{sent} was not explained"
    stages = [stage for plan in nested(sent.plan, "winningPlan") for stage in stages_of(plan)]
    names = {stage["stage"] for stage in stages}
    assert not names & ({"COLLSCAN"} if may_sort else {"COLLSCAN", "SORT"}), (sent, stages)
    used = {stage["indexName"] for stage in stages if "indexName" in stage}
    assert used <= INDEXES, (sent, stages)
    assert used or names & {"IDHACK", "EOF"}, (sent, stages)
    return list(nested(sent.plan, "executionStats"))


def examined(sent: Sent) -> int:
    """Return how many keys or documents a query looks at, those that it joins among them."""
    looked_at = sum(
        max(stats["totalKeysExamined"], stats["totalDocsExamined"])
        for stats in nested(sent.plan, "executionStats")
    )
    joined = (stage for stages in nested(sent.plan, "stages") for stage in stages if "$lookup" in stage)
    return int(looked_at + sum(stage["totalDocsExamined"] for stage in joined))


def is_beyond(sent: Sequence[Sent]) -> bool:
    """Return whether a verb examines more than three times what it returns, and ten."""
    return sum(map(examined, sent)) > 3 * sum(one.returned for one in sent) + 10
