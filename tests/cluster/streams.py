"""Change streams of a cluster: one of each shard, merged in the order of their tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from typing import Any

from bson.int64 import Int64

from tests.cluster.catalog import Peers
from tests.cluster.messages import Command

_FIRST_ID = 10**15
# A shard is asked anew after that: what the other has may have been held up by it.
_AWAIT_MS = 100


class ChangeStream:
    """A stream of each shard; a change is shown when no shard can have an earlier one any more.

    Args:
        peers: Connections of its own, for a shard waits with its answer.
        shards: The names of the shards.
        database: The database with the stream.
    """

    def __init__(self, peers: Peers, shards: list[str], database: str) -> None:
        self._peers = peers
        self._shards = shards
        self._database = database
        self._cursors: dict[str, Any] = {}
        self._reached: dict[str, Any] = {}
        self._waiting: list[Any] = []
        self._collection = ""
        self._after = ""

    async def open(self, command: Command) -> Command:
        """Open the streams, and return the answer of the cluster, or of the shard that refuses."""
        remaining = {name: command[name] for name in ("aggregate", "pipeline", "cursor") if name in command}
        remaining |= {"fromMongos": True, "needsMerge": True, "readConcern": {"level": "majority"}}
        stage, *rest = remaining["pipeline"]
        options = stage["$changeStream"]
        self._after = options.get("resumeAfter", {}).get("_data", "")
        if not options.keys() & {"resumeAfter", "startAfter", "startAtOperationTime"}:
            # All of them begin at one time: what lies between two would be in no stream.
            pings = [await self._peers.run(shard, {"ping": 1, "$db": "admin"}) for shard in self._shards]
            now = max(ping["$clusterTime"]["clusterTime"] for ping in pings)
            remaining["pipeline"] = [{"$changeStream": {**options, "startAtOperationTime": now}}, *rest]
        answer: Command = {}
        for shard in self._shards:
            answer = await self._peers.run(shard, {**remaining, "$db": self._database})
            if answer["ok"] != 1:
                return answer
            cursor = dict(answer["cursor"])
            self._collection = cursor["ns"].partition(".")[2]
            self._take(shard, cursor, "firstBatch")
        return answer

    async def next_batch(self, command: Command) -> Command | list[Any]:
        """Return the changes that may be shown, after a while none; or the answer of a shard that refuses."""
        loop = asyncio.get_running_loop()
        end = loop.time() + command.get("maxTimeMS", 1000) / 1000
        while not (changes := self.take_ready()) and loop.time() < end:
            for answer in await asyncio.gather(*map(self._get_more, self._shards)):
                if answer["ok"] != 1:
                    return answer
        return changes

    def take_ready(self) -> list[Any]:
        """Return the changes that are behind none of a shard's any more, in their order."""
        edge = self.token["_data"]
        self._waiting.sort(key=lambda change: change["_id"]["_data"])
        output = [change for change in self._waiting if change["_id"]["_data"] <= edge]
        self._waiting = self._waiting[len(output) :]
        return output

    @property
    def token(self) -> Any:
        """Where the stream goes on."""
        return min(self._reached.values(), key=lambda token: token["_data"])

    @property
    def namespace(self) -> str:
        return f"{self._database}.{self._collection}"

    async def close(self) -> None:
        for shard, cursor in self._cursors.items():
            # A getMore that waits holds the connection: it goes first.
            self._peers.close(shard)
            kill = {"killCursors": self._collection, "cursors": [cursor], "$db": self._database}
            await self._peers.run(shard, kill)
        self._peers.close()

    async def _get_more(self, shard: str) -> Command:
        command = {"getMore": Int64(self._cursors[shard]), "collection": self._collection}
        answer = await self._peers.run(shard, {**command, "maxTimeMS": _AWAIT_MS, "$db": self._database})
        if answer["ok"] == 1:
            self._take(shard, dict(answer["cursor"]), "nextBatch")
        return answer

    def _take(self, shard: str, cursor: Mapping[str, Any], batch: str) -> None:
        self._cursors[shard] = cursor["id"]
        for change in cursor[batch]:
            # A shard shows the router the change of the token itself.
            if change["_id"]["_data"] <= self._after:
                continue
            self._waiting.append({name: value for name, value in change.items() if name != "$sortKey"})
        if "postBatchResumeToken" in cursor:
            self._reached[shard] = cursor["postBatchResumeToken"]


class ChangeStreams:
    """The open change streams of a router, by the ids of their cursors."""

    def __init__(self) -> None:
        self._streams: dict[int, ChangeStream] = {}
        self._ids = count(_FIRST_ID)

    def __contains__(self, cursor_id: object) -> bool:
        return cursor_id in self._streams

    async def open(self, stream: ChangeStream, command: Command) -> Command:
        """Open a stream, and return what the driver is answered."""
        try:
            answer = await stream.open(command)
        except ConnectionError:
            await _close_quietly(stream)
            raise
        if answer["ok"] != 1:
            await _close_quietly(stream)
            return answer
        self._streams[id := next(self._ids)] = stream
        return self._answer(id, "firstBatch", stream.take_ready()) | _times(answer)

    async def next_batch(self, command: Command) -> Command:
        """Return the answer to a getMore."""
        found = await self._streams[id := int(command["getMore"])].next_batch(command)
        return found if isinstance(found, dict) else self._answer(id, "nextBatch", found)

    async def close(self, cursor_id: int) -> None:
        await _close_quietly(self._streams.pop(cursor_id))

    def _answer(self, id: int, batch: str, changes: list[Any]) -> Command:
        stream = self._streams[id]
        cursor = {"id": Int64(id), "ns": stream.namespace, batch: changes}
        return {"cursor": {**cursor, "postBatchResumeToken": stream.token}, "ok": 1.0}


async def _close_quietly(stream: ChangeStream) -> None:
    # The cursors of a server that is lost have gone with it.
    with suppress(ConnectionError):
        await stream.close()


def _times(answer: Command) -> Command:
    return {name: answer[name] for name in ("operationTime", "$clusterTime") if name in answer}
