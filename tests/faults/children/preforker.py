"""Forks while it is busy: workers as a server makes them, and a pool as a queue of tasks has one.

Arguments: URI, database, number of workers.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings

from mongostore import Message, MongoStore

AT_ONCE = 10
TASKS = 40
PATIENCE = 60


def append(store: MongoStore, text: str) -> str:
    """Store a message under its own text, and see that it is there."""
    store.sessions.messages.append("s", Message(id=text, role="user", content=text))
    assert store.sessions.messages.get("s", text).content == text
    return text


def serve(store: MongoStore, number: int) -> None:
    """Be a worker: every second one leaves without a word."""
    append(store, f"worker {number}")
    if number % 2:
        store.close()
    os._exit(0)


def task(number: int) -> str:
    """Be a task of the pool."""
    return append(shared, f"task {number}")


def wait(pid: int) -> int:
    """Return a worker's exit code; of one that hangs, -9."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    """Fork, with four threads that write all the while."""
    workers = int(sys.argv[3])
    shared.sessions.create("s")
    busy, counts = True, [0] * 4

    def work(number: int) -> None:
        while busy:
            append(shared, f"parent {number} {counts[number]}")
            counts[number] += 1

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    codes = []
    for first in range(0, workers, AT_ONCE):
        pids = []
        for number in range(first, min(first + AT_ONCE, workers)):
            if not (pid := os.fork()):
                serve(shared, number)
            pids.append(pid)
            time.sleep(0.005)
        codes += map(wait, pids)
    assert codes == [0] * workers, codes
    # Each process of the pool ends after a few tasks, and another one is forked in its place.
    with multiprocessing.get_context("fork").Pool(4, maxtasksperchild=5) as pool:
        done = pool.map_async(task, range(TASKS), chunksize=1).get(PATIENCE)
    busy = False
    for thread in threads:
        thread.join()
    wanted = {f"worker {number}" for number in range(workers)} | {*done}
    wanted |= {f"parent {number} {n}" for number, count in enumerate(counts) for n in range(count)}
    found = [message.id for message in shared.sessions.messages.iter("s")]
    assert len(found) == len(wanted), (len(found), len(wanted))
    assert {*found} == wanted
    shared.close()


warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
shared = MongoStore(sys.argv[1], sys.argv[2])
shared.open()
main()
