"""What the studio takes: `python -m tests.bench.studio URI [MESSAGES]`, in collections that are dropped.

It prints the time of each page, the median of 50, and what 200 open tails, and as many streams of the
sessions service, cost: memory a stream of the process that serves them, and the time and processor time of
an append with and without them.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from uuid import uuid4

import httpx

from mongostore import AsyncMongoStore, Message
from mongostore.servers import sessions
from mongostore.servers.studio import create_app
from tests.servers.studio.serving import TOKEN, Studio

_TIMES = 50
_SESSIONS = 5_000
_STREAMS = 200
_APPENDS = 300
# Seconds of the processor in one second of which there is little to do.
_IDLE = 0.1


async def fill(store: AsyncMongoStore, messages: int) -> None:
    """Make one long session, and many short ones in ten namespaces."""
    await store.sessions.create("long", name="Long")
    text = "It **grows** and `grows`: " + "one word after another, " * 20
    for start in range(0, messages, 200):
        many = [Message(role="user", content=f"{number} {text}") for number in range(start, start + 200)]
        await store.sessions.messages.append_many("long", many)
    for start in range(0, _SESSIONS, 100):
        await asyncio.gather(
            *(
                store.sessions.in_namespace(f"n{number % 10}").messages.append(
                    f"s{number}", Message(role="user", content=text), create=True
                )
                for number in range(start, start + 100)
            )
        )


async def time_pages(store: AsyncMongoStore, messages: int) -> None:
    """Print the median time of each page."""
    session = "/s/default/long"
    pages = {
        "sidebar": "/list?fragment=true",
        "overview, without its numbers": "/",
        "numbers of 30 days": "/cards?again=true",
        "newest messages": session,
        "messages in the middle": f"{session}?at={messages // 2}",
        "first messages": f"{session}?at=0",
        "one message": f"{session}/at/{messages // 2}?fragment=true",
        "map": f"{session}/map",
    }
    transport = httpx.ASGITransport(create_app(store, token=TOKEN))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as browser:
        await browser.get("/open", params={"token": TOKEN})
        for name, path in pages.items():
            times, spent = [], time.process_time()
            for _ in range(_TIMES if "numbers of" not in name else 5):
                began = time.perf_counter()
                answer = await browser.get(path)
                times.append(time.perf_counter() - began)
                assert answer.status_code == 200, path
            own = 1000 * (time.process_time() - spent) / len(times)
            size = len(answer.content) / 1000
            print(f"{name:32} {1000 * median(times):8.1f} ms, {own:6.1f} ms of this process, {size:6.1f} KB")


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def wait_until_idle() -> None:
    """Wait until this process has little to do: what opens a stream goes on behind its first bytes."""
    spent = time.process_time()
    while True:
        await asyncio.sleep(1)
        before, spent = spent, time.process_time()
        if spent - before < _IDLE:
            return


async def hold_streams(url: str, cookie: str, path: str, first: int, last: int) -> None:
    """Open the streams of some sessions, say when they have begun, and hold them until stdin ends."""
    host, port = url.removeprefix("http://").split(":")
    open_ones = []
    for number in range(first, last):
        reader, writer = await asyncio.open_connection(host, int(port))
        target = path.format(namespace=f"n{number % 10}", session=f"s{number}")
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookie}\r\n\r\n".encode())
        await writer.drain()
        await reader.readuntil(b"event-stream")
        open_ones.append(writer)
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def clients(studio: Studio, cookie: str, path: str, first: int, last: int) -> Iterator[None]:
    """Have the streams of some sessions open in a process of their own, whose memory is not the server's."""
    command = [sys.executable, "-m", "tests.bench.studio", "--hold", studio.url, cookie, path]
    with subprocess.Popen(
        [*command, str(first), str(last)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"open\n"
        yield


async def time_appends(studio: Studio) -> tuple[float, float]:
    """Return the median time of an append in the studio's own process, and what it took of the processor."""

    async def append(store: AsyncMongoStore) -> tuple[float, float]:
        times, spent = [], time.process_time()
        for number in range(_APPENDS):
            began = time.perf_counter()
            await store.sessions.in_namespace("n9").messages.append(
                f"s{9 + 10 * (number % 400)}", Message(role="user", content="x" * 600)
            )
            times.append(time.perf_counter() - began)
        return median(times), (time.process_time() - spent) / _APPENDS

    return await asyncio.to_thread(studio.run, append)


async def time_streams(uri: str, database: str) -> None:
    """Print what many open tails, and then many streams of the sessions service, cost."""
    with Studio(uri, database) as studio:
        studio.app.mount("/api", sessions.create_app(studio.store, require_keys=False))
        opened = httpx.get(studio.opening, headers={"Accept": "text/html"})
        cookie = opened.headers["set-cookie"].partition(";")[0]
        tail = "/s/{namespace}/{session}/live?after=0"
        stream = "/api/v1/namespaces/{namespace}/sessions/{session}/messages/stream"
        with ExitStack() as stack:
            for path in (tail, stream):
                await asyncio.to_thread(stack.enter_context, clients(studio, cookie, path, 0, 10))
            await time_appends(studio)
            for name, path in (("none", ""), ("tails", tail), ("tails and streams", stream)):
                before = resident()
                if path:
                    more = clients(studio, cookie, path, 10, 10 + _STREAMS)
                    await asyncio.to_thread(stack.enter_context, more)
                    await wait_until_idle()
                    print(f"{_STREAMS} more: {(resident() - before) / _STREAMS / 1024:.0f} KiB each")
                took, spent = await time_appends(studio)
                print(f"append beside {name}: {1e6 * took:.0f} us, {1e6 * spent:.0f} us of the processor")
        await wait_until_idle()


async def main(uri: str, messages: int) -> None:
    """Measure on a database of its own."""
    database = f"bench_studio_{uuid4().hex[:8]}"
    async with AsyncMongoStore(uri, database) as store:
        await fill(store, messages)
        await time_pages(store, messages)
    await time_streams(uri, database)
    async with AsyncMongoStore(uri, database) as store:
        for one in await store.usage():
            await store.engine.collection(one.collection).drop()


if __name__ == "__main__" and sys.argv[1] == "--hold":
    url, cookie, path, first, last = sys.argv[2:]
    asyncio.run(hold_streams(url, cookie, path, int(first), int(last)))
elif __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100_000))
