"""The sessions service under load: many clients at once on loopback, each turn of theirs accounted for."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.bench.comparisons import Columns
from tests.bench.measurement import Cells
from tests.servers.serving import Serving

CLIENTS = 200
SESSIONS = 50
ROOT = "/v1/namespaces/bench/sessions"
COLUMNS: Columns = [
    ("work", 40),
    ("requests", 10),
    ("p50", 9),
    ("p95", 9),
    ("p99", 9),
    ("errors", 8),
    ("holds", 6),
]
# How often a client does what, in a hundred.
MIX = {
    "append two turns": 40,
    "get a session": 35,
    "list 20 sessions": 10,
    "integrate": 10,
    "change a name": 5,
}
_GROWTH_MIB = 64


@dataclass
class Load:
    """What happened to the requests of one kind."""

    work: str
    times: list[float] = field(default_factory=list)
    errors: int = 0

    @property
    def ok(self) -> bool:
        """Whether none failed."""
        return self.errors == 0

    def cells(self) -> Cells:
        """Return it as a person reads it."""
        output = [f"{self._quantile(share) * 1000:,.0f} ms" for share in (0.5, 0.95, 0.99)]
        return [self.work, f"{len(self.times):,}", *output, f"{self.errors:,}"]

    def members(self) -> dict[str, Any]:
        """Return it as a program reads it."""
        found = {f"p{share}_ms": self._quantile(share / 100) * 1000 for share in (50, 95, 99)}
        return {"work": self.work, "requests": len(self.times), **found, "errors": self.errors, "ok": self.ok}

    def _quantile(self, share: float) -> float:
        return sorted(self.times)[int(share * (len(self.times) - 1))] if self.times else 0.0


@dataclass(frozen=True)
class Total:
    """A number at the end, and the largest that it may be."""

    work: str
    found: float
    most: float

    @property
    def ok(self) -> bool:
        """Whether it is no larger."""
        return self.found <= self.most

    def cells(self) -> Cells:
        """Return it as a person reads it."""
        return [self.work, f"{self.found:,.0f}", "", "", "", f"≤ {self.most:,.0f}"]

    def members(self) -> dict[str, Any]:
        """Return it as a program reads it."""
        return {**asdict(self), "ok": self.ok}


class Client:
    """One connection that asks and waits, and costs little beside the server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(content)}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + content)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith("content-length:"))
        answer = await reader.readexactly(length)
        return int(lines[0].split()[1]), json.loads(answer or b"null")

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            await self._streams[1].wait_closed()


class Bench:
    """Clients that talk to the service for some seconds, each for a participant of its own."""

    def __init__(self, url: str, server: psutil.Process, seconds: float) -> None:
        self.loads = {work: Load(work) for work in MIX}
        self.acknowledged = dict.fromkeys(range(CLIENTS), 0)
        self.memory: list[int] = []
        self._url = url
        self._server = server
        self._seconds = seconds

    async def run(self) -> None:
        """Talk."""
        client = Client(self._url)
        for number in range(SESSIONS):
            participants = [f"p{one}" for one in range(number, CLIENTS, SESSIONS)]
            status, _ = await client.ask("POST", ROOT, {"id": f"s{number}", "participants": participants})
            assert status == 201
        await client.close()
        self._ends = time.perf_counter() + self._seconds
        await asyncio.gather(self._watch(), *(self._talk(number) for number in range(CLIENTS)))

    async def _talk(self, number: int) -> None:
        chance, client = random.Random(number), Client(self._url)
        while time.perf_counter() < self._ends:
            [work] = chance.choices([*MIX], [*MIX.values()])
            began = time.perf_counter()
            try:
                status, _ = await client.ask(*self._request(work, number))
            except (OSError, asyncio.IncompleteReadError):
                status, client = 0, Client(self._url)
            load = self.loads[work]
            load.times.append(time.perf_counter() - began)
            load.errors += not 200 <= status < 300
            if work == "append two turns" and status == 201:
                self.acknowledged[number] += 2
        await client.close()

    def _request(self, work: str, number: int) -> tuple[str, str, Any]:
        session = f"{ROOT}/s{number % SESSIONS}"
        match work:
            case "append two turns":
                texts = ("Is this a duplicate charge?", "Let me look at your billing history.")
                turns = [{"role": "user", "content": text} for text in texts]
                return "POST", f"{session}/participants/p{number}/chat_turns", {"turns": turns}
            case "get a session":
                return "GET", session, None
            case "list 20 sessions":
                return "GET", f"{ROOT}?limit=20", None
            case "integrate":
                return "POST", f"{session}/integrate", None
        return "PATCH", session, {"name": f"by {number}"}

    async def _watch(self) -> None:
        while time.perf_counter() < self._ends:
            self.memory.append(self._server.memory_info().rss)
            await asyncio.sleep(0.5)

    async def wait_until_idle(self) -> tuple[int, int]:
        """Return how many turns were lost, and how many were not integrated exactly once."""
        client = Client(self._url)
        lost = wrong = 0
        for number in range(SESSIONS):
            _, answer = await client.ask("POST", f"{ROOT}/s{number}/integrate")
            for one in answer["session"]["participants"]:
                stored = one["chat_turn_count"]
                lost += max(self.acknowledged[int(one["participant"][1:])] - stored, 0)
                spans = [(insight["first_turn"], insight["last_turn"]) for insight in one["insights"]]
                covered = [turn for first, last in spans for turn in range(first, last + 1)]
                wrong += covered != [*range(1, stored + 1)]
        await client.close()
        return lost, wrong


async def rows(uri: str, seconds: float) -> AsyncIterator[Load | Total]:
    """Serve, talk, and yield what each kind of request took and what became of the turns."""
    with tempfile.TemporaryDirectory(prefix="mongostore-bench-") as folder:
        options = ("--uri", uri, "--database", f"bench_{time.time_ns()}")
        with Serving(Path(folder) / "log", *options) as serving:
            bench = Bench(serving.url, psutil.Process(serving.process.pid), seconds)
            await bench.run()
            for load in bench.loads.values():
                yield load
            whole = Load(f"all, of {CLIENTS} clients in {seconds:.0f} s")
            whole.times = [took for load in bench.loads.values() for took in load.times]
            whole.errors = sum(load.errors for load in bench.loads.values())
            yield whole
            lost, wrong = await bench.wait_until_idle()
            yield Total("acknowledged turns that are lost", lost, 0)
            yield Total("participants not integrated exactly once", wrong, 0)
            early = bench.memory[len(bench.memory) // 6]
            yield Total(
                "the server's memory at the end, MiB", bench.memory[-1] / 2**20, early / 2**20 + _GROWTH_MIB
            )
