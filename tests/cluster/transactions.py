"""Transactions of a cluster, by the rules of mongos 6.0: a statement goes to the shards of what it is about.

A transaction that wrote on one shard is committed there, one that wrote on several by the server's own
coordinator of two phases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import bson
from bson.binary import UUID_SUBTYPE, Binary
from bson.int64 import Int64

from tests.cluster.catalog import Catalog, Peers
from tests.cluster.messages import Command
from tests.cluster.writes import STATEMENTS, filter_of

ENDS = {"commitTransaction", "abortTransaction"}
_READS = {"find", "aggregate"}
# StaleConfig and StaleDbVersion.
_STALE = {249, 13388}
_WOULD_CHANGE_SHARD = 283
_OF_SINGLE_WRITES = {"lsid", "txnNumber", "stmtIds", "writeConcern"}
_TRANSIENT = ["TransientTransactionError"]


def refusal(code: int, name: str, message: str, **more: Any) -> Command:
    """Return the answer of a router that refuses a command."""
    return {"ok": 0.0, "errmsg": message, "code": code, "codeName": name, **more}


def is_stale(answer: Command) -> bool:
    """Return whether a shard has yet to look which chunks it has."""
    errors = answer.get("writeErrors", ())
    return answer.get("code") in _STALE or any(one["code"] in _STALE for one in errors)


def images_of_move(answer: Command) -> Mapping[str, Any] | None:
    """Return a document before and after an update that would move it to another shard, if one would."""
    for error in [answer, *answer.get("writeErrors", ())]:
        if error.get("code") == _WOULD_CHANGE_SHARD:
            images: Mapping[str, Any] = error.get("errInfo", error)
            return images
    return None


@dataclass
class Transaction:
    """A transaction that has begun, and the shards that take part in it.

    Attributes:
        writers: Those of them that have been written to.
    """

    number: int
    read_concern: Any
    shards: list[str] = field(default_factory=list)
    writers: set[str] = field(default_factory=set)


class Transactions:
    """The transactions of a router, the newest one of each session.

    Args:
        catalog: Where documents lie.
        cursors: Where the shards of open cursors are noted.

    Attributes:
        commits: How many were committed, by the way they were: on one shard, or in two phases.
    """

    def __init__(self, catalog: Catalog, cursors: dict[int, str]) -> None:
        self._catalog = catalog
        self._cursors = cursors
        self._running: dict[bytes, Transaction] = {}
        self.commits: Counter[str] = Counter(singleShard=0, twoPhaseCommit=0)

    async def run(self, peers: Peers, command: Command) -> Command:
        """Run a statement of a transaction, or its end."""
        session, number = bytes(command["lsid"]["id"]), int(command["txnNumber"])
        read_concern = command.pop("readConcern", None)
        if command.pop("startTransaction", False):
            self._running[session] = Transaction(number, read_concern)
        transaction = self._running.get(session)
        if transaction is None or transaction.number != number:
            return refusal(251, "NoSuchTransaction", "it has not begun here", errorLabels=_TRANSIENT)
        if next(iter(command)) in ENDS:
            return await self._end(peers, transaction, command)
        try:
            return await self._run_statement(peers, transaction, command)
        except ConnectionError as error:
            return refusal(6, "HostUnreachable", str(error), errorLabels=_TRANSIENT)

    def forget(self, sessions: Any) -> None:
        """Forget the transactions of sessions that have ended."""
        for session in sessions:
            self._running.pop(bytes(session["id"]), None)

    async def _run_statement(self, peers: Peers, transaction: Transaction, command: Command) -> Command:
        answers: list[Command] = []
        async with aclosing(self.split(command)) as parts:
            async for shard, part in parts:
                answer = part if shard is None else await self._send(peers, transaction, shard, part)
                if shard and (images := images_of_move(answer)):
                    answer = await self._move(peers, transaction, shard, part, images)
                answers.append(answer)
                if answers[-1]["ok"] != 1 or answers[-1].get("writeErrors"):
                    return answers[-1]
        return merge(command, answers)

    async def split(self, command: Command) -> AsyncIterator[tuple[str | None, Command]]:
        """Yield the shards that a statement is sent to, each with its part; without a shard its refusal."""
        name = next(iter(command))
        database, collection = command["$db"], command[name]
        for part, filter, is_alone in _parts(name, command):
            shards, is_one = await self._catalog.target(database, collection, filter)
            if is_alone and not is_one:
                error = refusal(61, "ShardKeyNotFound", "the statement does not name the shard key")
                yield None, {"ok": 1.0, "n": 0, "writeErrors": [error]} if name in STATEMENTS else error
                return
            for shard in shards:
                yield shard, part

    async def run_alone(self, peers: Peers, command: Command) -> Command:
        """Run an update that moves a document to another shard, as a transaction of its own."""
        session = {"id": Binary(uuid4().bytes, UUID_SUBTYPE)}
        own = {"lsid": session, "txnNumber": Int64(1), "autocommit": False}
        part = {name: value for name, value in command.items() if name not in _OF_SINGLE_WRITES}
        answer = await self.run(peers, {**part, **own, "startTransaction": True})
        is_done = answer["ok"] == 1 and not answer.get("writeErrors")
        end = {"commitTransaction" if is_done else "abortTransaction": 1, **own, "$db": "admin"}
        ended = await self.run(peers, {**end, "writeConcern": {"w": "majority"}})
        self.forget([session])
        return answer if ended["ok"] == 1 or not is_done else ended

    async def _move(
        self, peers: Peers, transaction: Transaction, shard: str, command: Command, images: Mapping[str, Any]
    ) -> Command:
        name, collection = next(iter(command)), command[next(iter(command))]
        before, after = images["preImage"], images["postImage"]
        rest = {one: command[one] for one in ("lsid", "txnNumber", "autocommit", "$db")}
        leave = {"delete": collection, "deletes": [{"q": {"_id": before["_id"]}, "limit": 1}], **rest}
        await self._send(peers, transaction, shard, leave)
        arrive = {"insert": collection, "documents": [after], **rest}
        answer = await self._run_statement(peers, transaction, arrive)
        return {**answer, "nModified": 1} if name == "update" else {**answer, "value": before}

    async def _send(self, peers: Peers, transaction: Transaction, shard: str, command: Command) -> Command:
        if shard not in transaction.shards:
            command = {**command, "startTransaction": True}
            if transaction.read_concern:
                command["readConcern"] = transaction.read_concern
            if not transaction.shards:
                command["coordinator"] = True
            transaction.shards.append(shard)
        if next(iter(command)) not in _READS:
            transaction.writers.add(shard)
        answer = await peers.run(shard, await self._catalog.versioned(shard, command))
        if is_stale(answer):
            # It has looked by the next time.
            return refusal(13388, "StaleConfig", "the shard did not know its chunks", errorLabels=_TRANSIENT)
        if "cursor" in answer and (cursor := int(answer["cursor"]["id"])):
            self._cursors[cursor] = shard
        return answer

    async def _end(self, peers: Peers, transaction: Transaction, command: Command) -> Command:
        command.pop("recoveryToken", None)
        shards = transaction.shards
        if not shards:
            return {"ok": 1.0}
        if "abortTransaction" in command:
            answers = [await peers.run(shard, command) for shard in shards]
            return answers[0]
        if len(transaction.writers) > 1:
            self.commits["twoPhaseCommit"] += 1
            coordinate = {name: value for name, value in command.items() if name != "commitTransaction"}
            participants = [{"shardId": shard} for shard in shards]
            first = {"coordinateCommitTransaction": 1, "participants": participants}
            return await peers.run(shards[0], {**first, **coordinate})
        self.commits["singleShard"] += 1
        # The one that wrote is the last: what the others read holds until then.
        for shard in sorted(shards, key=transaction.writers.__contains__):
            answer = await peers.run(shard, command)
            if answer["ok"] != 1:
                break
        return answer


def _parts(name: str, command: Command) -> list[tuple[Command, Mapping[str, Any], bool]]:
    """Return the parts of a statement, each with its filter, and whether that must name one owner."""
    match name:
        case "insert" | "update" | "delete":
            member = STATEMENTS[name]
            return [
                ({**command, member: [one]}, filter_of(name, one), name == "insert" or _must_name_owner(one))
                for one in command[member]
            ]
        case "findAndModify":
            return [(command, command["query"], True)]
        case "find":
            return [(command, command.get("filter", {}), False)]
        case "count" | "distinct":
            return [(command, command.get("query", {}), False)]
        case "aggregate":
            return [(command, command["pipeline"][0].get("$match", {}), False)]
    raise NotImplementedError(f"{name} by the shards of its filter")


def _must_name_owner(statement: Mapping[str, Any]) -> bool:
    is_multi = statement.get("multi") or statement.get("limit") == 0
    return not is_multi or bool(statement.get("upsert"))


def merge(command: Command, answers: list[Command]) -> Command:
    """Return the answer of a statement from those of its shards."""
    if len(answers) == 1:
        return answers[0]
    merged: Command = dict(answers[-1])
    if "find" in command:
        found = [document for answer in answers for document in answer["cursor"]["firstBatch"]]
        assert not any(answer["cursor"]["id"] for answer in answers), "more than a batch"
        for name, way in reversed([*command.get("sort", {}).items()]):
            found.sort(key=lambda document: document[name], reverse=way < 0)
        cursor = dict(merged["cursor"])
        return {**merged, "cursor": {**cursor, "firstBatch": found[: command.get("limit") or None]}}
    assert "aggregate" not in command, "an aggregation of several shards in a transaction"
    if "values" in merged:
        # BSON's values are equal if their bytes are.
        values = {bson.encode({"": value}): value for answer in answers for value in answer["values"]}
        merged["values"] = [*values.values()]
    for name in ("n", "nModified"):
        if name in merged:
            merged[name] = sum(answer[name] for answer in answers)
    if upserted := [one for answer in answers for one in answer.get("upserted", ())]:
        merged["upserted"] = upserted
    return merged
