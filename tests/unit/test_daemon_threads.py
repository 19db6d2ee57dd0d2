"""Threads for the code of callers, which hold up nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from mongostore.repositories.daemon_threads import DaemonThreads

# It integrates by a function that blocks for ever, in each of the ways there are, uploads such a file, and
# ends.
HANGING = """
import asyncio, contextlib, threading
from concurrent.futures import ThreadPoolExecutor

from mongostore import AsyncMongoStore, MongoStore, MongoStoreError, Turn
from mongostore.servers.sessions.service import SessionsService

begun = threading.Semaphore(0)

def hang(participant, turns):
    begun.release()
    threading.Event().wait()

async def hang_async(executor):
    async with AsyncMongoStore("mongomock://") as store:
        await store.sessions.create("s", participants=["p"])
        await store.sessions.turns.append("s", "p", Turn(role="user", content="x"))
        integrating = asyncio.create_task(store.sessions.turns.integrate("s", hang, executor=executor))
        while not begun.acquire(blocking=False):
            await asyncio.sleep(0.01)
        integrating.cancel()

def integrate(store):
    # It raises as the process ends, which must not print beside it.
    with contextlib.suppress(MongoStoreError):
        store.sessions.turns.integrate("s", hang)

def hang_blocking():
    # To close it waits for its calls, so long at most.
    with MongoStore("mongomock://", timeout=0.5) as store:
        store.sessions.create("s", participants=["p"])
        store.sessions.turns.append("s", "p", Turn(role="user", content="x"))
        threading.Thread(target=integrate, args=(store,), daemon=True).start()
        begun.acquire()

async def hang_upload():
    def pieces():
        yield b"x"
        hang(None, None)

    async with AsyncMongoStore("mongomock://") as store:
        uploading = asyncio.create_task(store.threads.files.upload("k", pieces()))
        while not begun.acquire(blocking=False):
            await asyncio.sleep(0.01)
        uploading.cancel()

asyncio.run(hang_upload())
asyncio.run(hang_async(None))
asyncio.run(hang_async(SessionsService(integrator=hang, require_keys=False).job_pool))
hang_blocking()
print("the end")
"""


def test_an_integrator_that_hangs_keeps_no_process_from_its_end() -> None:
    ran = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "the end\n"), ran.stderr


def test_calls_return_what_they_return_and_raise_what_they_raise() -> None:
    with DaemonThreads() as threads:
        assert [*threads.map(divmod, (7, 9), (2, 4))] == [(3, 1), (2, 1)]
        with pytest.raises(ZeroDivisionError):
            threads.submit(divmod, 1, 0).result(10)


async def test_a_call_that_hangs_delays_no_other() -> None:
    threads, loop, release = DaemonThreads(), asyncio.get_running_loop(), threading.Event()
    hanging = [loop.run_in_executor(threads, release.wait) for _ in range(40)]
    async with asyncio.timeout(20):
        assert await loop.run_in_executor(threads, lambda: threading.current_thread().daemon)
    release.set()
    assert await asyncio.gather(*hanging) == [True] * 40
