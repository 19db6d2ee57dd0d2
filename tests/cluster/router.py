"""A router of a sharded cluster, in the place of mongos, which no package for tests has.

Most of it is the server's own: a member of a shard has the router's code in it, under names of its own
(`clusterFind`, `clusterUpdate`, `clusterDelete`, `clusterAggregate`, `clusterGetMore`), which runs all that
asks several shards and refuses what names none; and the commands that make databases, shard collections and
lay zones are those that mongos itself sends to the config server and to a database's primary shard. Ours, by
the rules of mongos 6.0:

* What names one owner is sent to its shard: that code does not know retryable writes, and its answers do not
  have the shard's time. A command about several owners is sent in parts, with the numbers of its statements.
* findAndModify and the statements of a transaction go to the shard of their key, or are refused.
* Change streams of the shards are merged, and an explain asks the shards one by one.

What it does not do: migrate chunks, speak TLS, ask for a login, end cursors that the server's router code has
opened (they end by themselves).

Databases whose names begin with `test_` are sharded by `indexes/sharding.json` when they are first used.

    python -m tests.cluster.router PORT '{"config": ["host:port"], "shard0": [...], "shard1": [...]}'
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

from mongostore.sharding import plan_commands
from tests.cluster.catalog import MAJORITY, Catalog, Peers, ReplicaSet, replica_sets
from tests.cluster.messages import Command, Request, encode_answer, read_request
from tests.cluster.streams import ChangeStream, ChangeStreams
from tests.cluster.transactions import ENDS, Transactions, images_of_move, is_stale, merge, refusal
from tests.cluster.writes import STATEMENTS, run_write

SHARDED_PREFIX = "test_"
_DATABASES_OF_SERVERS = {"admin", "config", "local"}
_SERVERS_OWN = {
    name: f"cluster{name[0].upper()}{name[1:]}"
    for name in ("find", "insert", "update", "delete", "aggregate", "getMore")
}
_OF_ONE_SERVER = {"ping", "buildInfo", "connectionStatus", "getParameter", "whatsmyuri"}
_OF_EVERY_SHARD = {"killSessions", "configureFailPoint"}
# These do not wait until a new database is sharded: a store that opens asks for less than that takes.
_READS = {"find", "aggregate", "getMore", "count", "distinct", "explain", "listCollections"}
# A read, or a write that the server knows again, is tried again where the primary is lost.
_ATTEMPTS = 3
# Statements that hold locks of their database's definition go beside each other, but not all at once.
_AT_ONCE = 6
_CONNECTION_IDS = count(1)
_HELLO = {
    "ismaster": True,
    "isWritablePrimary": True,
    "helloOk": True,
    "msg": "isdbgrid",
    "maxBsonObjectSize": 16 * 2**20,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "logicalSessionTimeoutMinutes": 30,
    "minWireVersion": 0,
    "maxWireVersion": 17,
    "readOnly": False,
    "ok": 1.0,
}


class Router:
    """Takes the connections of drivers."""

    def __init__(self, sets: Mapping[str, ReplicaSet]) -> None:
        self.sets = sets
        self.shards = sorted(name for name in sets if name != "config")
        # The last shard lends its router code.
        self.host = self.shards[-1]
        self.peers = Peers(sets)
        self.catalog = Catalog(self.peers)
        # The shards of cursors that one shard has.
        self.cursors: dict[int, str] = {}
        self.transactions = Transactions(self.catalog, self.cursors)
        self.streams = ChangeStreams()
        self._prepared: dict[str, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Have nothing moved between the shards."""
        await self.peers.run("config", {"_configsvrBalancerStop": 1, "$db": "admin"})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the commands of one connection, until the driver closes it."""
        connection = RoutedConnection(self)
        try:
            while True:
                request = await read_request(reader)
                answer = await self._answer(connection, request)
                if request.wants_answer:
                    writer.write(encode_answer(request, answer))
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            connection.peers.close()
            writer.close()

    async def _answer(self, connection: RoutedConnection, request: Request) -> Command:
        try:
            return await connection.run(request.command)
        except ConnectionError as error:
            return refusal(6, "HostUnreachable", str(error), errorLabels=["RetryableWriteError"])
        except Exception as error:
            traceback.print_exc()
            return refusal(8, "UnknownError", repr(error))

    async def prepare(self, database: str) -> None:
        """Shard a database of the tests, once."""
        if database not in self._prepared:
            self._prepared[database] = asyncio.create_task(self._shard(database))
        await asyncio.shield(self._prepared[database])

    def forget(self, database: str) -> None:
        """Forget a database that is dropped."""
        self._prepared.pop(database, None)

    async def _shard(self, database: str) -> None:
        await self.catalog.primary_of(database)
        if not database.startswith(SHARDED_PREFIX):
            return
        lane = asyncio.Semaphore(_AT_ONCE)

        async def run(commands: list[Command]) -> None:
            async with lane:
                connection = RoutedConnection(self)
                for command in commands:
                    answer = await connection.administer(command)
                    assert answer["ok"] == 1, (command, answer)
                connection.peers.close()

        of_collections: dict[str, list[Command]] = {}
        for collection, command in plan_commands(database, "", self.shards):
            of_collections.setdefault(collection, []).append({**command, "$db": "admin"})
        await run(of_collections.pop(""))
        await asyncio.gather(*map(run, of_collections.values()))


class RoutedConnection:
    """One connection of a driver, with connections to the servers of its own."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self.id = next(_CONNECTION_IDS)
        self.peers = Peers(router.sets)

    async def run(self, command: Command) -> Command:
        """Run a command as mongos does, and return its answer.

        Raises:
            ConnectionError: The connection to a server is lost.
        """
        router, database, name = self._router, command["$db"], next(iter(command))
        match name:
            case "hello" | "isMaster" | "ismaster":
                return {**_HELLO, "connectionId": self.id, "localTime": datetime.now(UTC)}
            case _ if name in _OF_ONE_SERVER:
                return await self.peers.run(router.host, command)
            case "serverStatus":
                commits = {way: {"successful": n} for way, n in router.transactions.commits.items()}
                status = await self.peers.run(router.host, command)
                return {**status, "process": "mongos", "transactions": {"commitTypes": commits}}
            case "endSessions":
                router.transactions.forget(command[name])
                return await self.peers.run(router.host, command)
            case _ if name in _OF_EVERY_SHARD:
                return await self._ask_all(command)
            case "killCursors":
                return await self._kill_cursors(command)
            case _ if name in ENDS or "autocommit" in command:
                return await self._run_in_transaction(command)
            case _ if database in _DATABASES_OF_SERVERS:
                return await self.administer(command)
        if name not in _READS:
            await router.prepare(database)
        return await self._route(name, database, command)

    async def administer(self, command: Command) -> Command:
        """Run a command of the databases admin and config, the cluster's own.

        Raises:
            ConnectionError: The connection to a server is lost.
        """
        name = next(iter(command))
        match name:
            case "addShardToZone" | "updateZoneKeyRange":
                renamed = f"_configsvr{name[0].upper()}{name[1:]}"
                return await self.peers.run("config", {renamed: command.pop(name), **command, **MAJORITY})
            case "shardCollection":
                return await self._shard_collection(command)
            case "listShards":
                shards = await self.peers.run("config", {"find": "shards", "$db": "config"})
                return {"shards": shards["cursor"]["firstBatch"], "ok": 1.0}
            case "aggregate":
                return await self._ask_all(command)
        return await self.peers.run("config", command)

    async def _shard_collection(self, command: Command) -> Command:
        database, _, collection = command.pop("shardCollection").partition(".")
        command["shardKey"] = command.pop("key")
        create = {"_shardsvrCreateCollection": collection, **command}
        return await self._define(database, create, collection)

    async def _define(self, database: str, command: Command, collection: str | None) -> Command:
        """Run a command that makes or drops something, on the primary shard of its database."""
        catalog = self._router.catalog
        versioned = {**command, "databaseVersion": await catalog.version_of(database), **MAJORITY}
        primary = await catalog.primary_of(database)
        answer = await self.peers.run(primary, {**versioned, "$db": database})
        catalog.forget(database, collection)
        return answer

    async def _route(self, name: str, database: str, command: Command) -> Command:
        router = self._router
        match name:
            case "createIndexes" | "dropIndexes":
                chunks = await router.catalog.chunks_of(database, command[name])
                shards = chunks.shards if chunks else [await router.catalog.primary_of(database)]
                answers = [await self.peers.run(shard, command) for shard in shards]
                return next((one for one in answers if one["ok"] != 1), answers[-1])
            case "listIndexes" | "listCollections" | "create":
                return await self.peers.run(await router.catalog.primary_of(database), command)
            case "dropDatabase":
                router.forget(database)
                return await self._define(database, {"_shardsvrDropDatabase": 1}, None)
            case "drop":
                return await self._define(database, {"_shardsvrDropCollection": command[name]}, command[name])
            case "aggregate" if command["pipeline"] and "$changeStream" in command["pipeline"][0]:
                stream = ChangeStream(Peers(router.sets), router.shards, database)
                return await router.streams.open(stream, command)
            case "getMore" if int(command[name]) in router.streams:
                return await router.streams.next_batch(command)
            case "getMore" if int(command[name]) in router.cursors:
                return await self._ask_one(router.cursors[int(command[name])], command)
            case "explain":
                return await self._explain(command)
            case _ if name in STATEMENTS:
                return await run_write(router.catalog, self._ask, command)
            case "findAndModify" | "count" | "distinct":
                return await self._run_on_shards(command)
            case "find":
                shards, is_one = await router.catalog.target(
                    database, command[name], command.get("filter", {})
                )
                if is_one:
                    return self._record_cursor(shards[0], await self._ask(shards[0], command))
        return await self._ask(None, command)

    async def _ask(self, shard: str | None, command: Command) -> Command:
        """Run a command on a shard, or by the server's own router code."""
        if shard is not None:
            answer = await self._ask_one(shard, await self._router.catalog.versioned(shard, command))
            if images_of_move(answer) is None:
                return answer
            return await self._router.transactions.run_alone(self.peers, command)
        if (name := next(iter(command))) not in _SERVERS_OWN:
            return refusal(59, "CommandNotFound", f"the router has no route for {name}")
        renamed = {_SERVERS_OWN[name]: command[name], **command}
        del renamed[name]
        answer = await self._ask_one(self._router.host, renamed)
        if "$clusterTime" in answer:
            # Its own is that of the member that has lent its code, not of the shards that were asked.
            answer["operationTime"] = answer["$clusterTime"]["clusterTime"]
        return answer

    async def _ask_one(self, shard: str, command: Command) -> Command:
        """Run a command of one shard, and again where its primary is lost or has to look for its chunks."""
        may_repeat = "txnNumber" in command or "find" in command
        for _ in range(_ATTEMPTS):
            try:
                answer = await self.peers.run(shard, command)
            except ConnectionError as error:
                answer = refusal(6, "HostUnreachable", str(error), errorLabels=["RetryableWriteError"])
            if not is_stale(answer) and (self._router.sets[shard].primary or not may_repeat):
                break
        return answer

    async def _ask_all(self, command: Command) -> Command:
        """Run a command on every shard, and return one answer."""
        answers = [await self.peers.run(shard, command) for shard in self._router.shards]
        if failed := [one for one in answers if one["ok"] != 1]:
            return failed[0]
        if "cursor" in answers[0]:
            found = [document for one in answers for document in one["cursor"]["firstBatch"]]
            return {**answers[0], "cursor": {**answers[0]["cursor"], "firstBatch": found}}
        return answers[-1]

    async def _run_in_transaction(self, command: Command) -> Command:
        if "getMore" in command:
            return await self.peers.run(self._router.cursors[int(command["getMore"])], command)
        return await self._router.transactions.run(self.peers, command)

    async def _run_on_shards(self, command: Command) -> Command:
        """Run a statement that the server's router code has no name for."""
        answers = []
        async for shard, part in self._router.transactions.split(command):
            if shard is None:
                return part
            answers.append(await self._ask(shard, part))
        return merge(command, answers)

    async def _explain(self, command: Command) -> Command:
        """Return how each shard carries a command out, in the shape that mongos gives it."""
        explained = dict(command["explain"])
        name = next(iter(explained))
        filter = explained.get("filter", explained.get("query", {}))
        if name in ("update", "delete"):
            filter = explained[f"{name}s"][0]["q"]
        elif name == "aggregate":
            filter = next(iter(explained["pipeline"]), {}).get("$match", {})
        shards, _ = await self._router.catalog.target(command["$db"], explained[name], filter)
        answers = [await self.peers.run(shard, command) for shard in shards]
        if failed := [one for one in answers if one["ok"] != 1]:
            return failed[0]
        if len(answers) == 1:
            return answers[0]
        return {"shards": dict(zip(shards, answers, strict=True)), "ok": 1.0}

    async def _kill_cursors(self, command: Command) -> Command:
        for cursor in map(int, command["cursors"]):
            if cursor in self._router.streams:
                await self._router.streams.close(cursor)
            elif shard := self._router.cursors.pop(cursor, None):
                await self.peers.run(shard, {**command, "cursors": [cursor]})
        found = {"cursorsKilled": command["cursors"], "cursorsNotFound": [], "cursorsAlive": []}
        return {**found, "cursorsUnknown": [], "ok": 1.0}

    def _record_cursor(self, shard: str, answer: Command) -> Command:
        if answer["ok"] == 1 and (cursor := int(answer["cursor"]["id"])):
            self._router.cursors[cursor] = shard
        return answer


async def main(port: int, sets: Mapping[str, Any]) -> None:
    """Run a router on a port of this machine."""
    router = Router(replica_sets(sets))
    await router.open()
    async with await asyncio.start_server(router.serve, "127.0.0.1", port, limit=2**26) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), json.loads(sys.argv[2])))
