"""What a program does with a `MongoStore` that only a process of its own can show: argument 1 says which."""

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings

from mongostore import Message, MongoStore, NotOpenError


def wait(pid: int) -> int:
    """Return a child's exit code; kill it if it has not ended after ten seconds."""
    for _ in range(1000):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1


def append(store: MongoStore, text: str) -> None:
    store.sessions.messages.append("s", Message(role="user", content=text))


def contents(store: MongoStore) -> list[str]:
    return sorted(message.content for message in store.sessions.messages.iter("s"))


def leaving_open(uri: str, database: str) -> None:
    """End without closing, with an iteration half done."""
    store = MongoStore(uri, database)
    store.open()
    store.sessions.create("s")
    append(store, "one")
    append(store, "two")
    globals()["half"] = store.sessions.messages.iter("s")
    assert next(globals()["half"]).content == "one"


def interrupted(uri: str, database: str) -> None:
    """Take a Ctrl-C in a call that would last for ever; the store goes on."""
    with MongoStore(uri, database) as store:
        store.sessions.create("s")
        changes = store.sessions.messages.watch("s")
        main = threading.main_thread().ident
        threading.Timer(0.5, signal.pthread_kill, [main, signal.SIGINT]).start()
        began = time.monotonic()
        try:
            next(changes)
        except KeyboardInterrupt:
            assert time.monotonic() - began < 5
        else:
            raise AssertionError("the call went on")

        async def calls() -> list[object]:
            return [task for task in asyncio.all_tasks() if task.get_name() == "mongostore call"]

        assert len(store.portal.run(calls())) == 1
        append(store, "after")
        assert contents(store) == ["after"]


def interrupted_early(uri: str, database: str) -> None:
    """Take a Ctrl-C in a call whose turn has not come yet; the store goes on."""
    with MongoStore(uri, database) as store:
        store.sessions.create("s")

        async def stand() -> None:
            asyncio.get_running_loop().call_soon(time.sleep, 1)

        store.portal.run(stand())
        main = threading.main_thread().ident
        threading.Timer(0.5, signal.pthread_kill, [main, signal.SIGINT]).start()
        try:
            store.sessions.get("s")
        except KeyboardInterrupt:
            append(store, "after")
        else:
            raise AssertionError("the call went on")
        assert contents(store) == ["after"]


def forking(uri: str, database: str) -> None:
    """Fork twenty times while eight threads work; every child works by itself, and so does the parent."""
    store = MongoStore(uri, database)
    store.open()
    store.sessions.create("s")
    busy, count = True, [0] * 8

    def work(number: int) -> None:
        while busy:
            append(store, f"parent {number}")
            count[number] += 1

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    children = []
    for number in range(20):
        time.sleep(0.02)
        if not (pid := os.fork()):
            append(store, f"child {number}")
            assert f"child {number}" in contents(store)
            store.close()
            os._exit(0)
        children.append(pid)
    process = multiprocessing.get_context("fork").Process(target=append, args=[store, "multiprocessing"])
    process.start()
    codes = [*map(wait, children), wait(process.pid or 0)]
    busy = False
    for thread in threads:
        thread.join()
    assert codes == [0] * 21, codes
    found = contents(store)
    assert len(found) == len([*children, process]) + sum(count)
    assert {f"child {number}" for number in range(20)} | {"multiprocessing"} <= {*found}


def threads_after_fork(uri: str, database: str) -> None:
    """Use the store from many threads of a forked child at once."""
    store = MongoStore(uri, database)
    store.open()
    store.sessions.create("s")
    if not (pid := os.fork()):
        start, errors = threading.Barrier(20), []

        def work(number: int) -> None:
            start.wait()
            try:
                append(store, f"{number}")
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=[number]) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            sys.stderr.write(f"{errors[0]!r} and {len(errors)} in all\n")
        os._exit(bool(errors))
    assert wait(pid) == 0
    assert len(contents(store)) == 20


def iterating_over_fork(uri: str, database: str) -> None:
    """Drop an iteration in a forked child that the parent began."""
    store = MongoStore(uri, database)
    store.open()
    store.sessions.create("s")
    for n in range(3):
        append(store, f"{n}")
    messages = store.sessions.messages.iter("s")
    next(messages)
    if not (pid := os.fork()):
        del messages
        gc.collect()
        os._exit(0)
    assert wait(pid) == 0
    assert [message.content for message in messages] == ["1", "2"]


def away_at_fork(uri: str, database: str) -> None:
    """Be refused in a child while the server is away, and served once it is back."""
    os.environ["MONGOSTORE_URI"] = uri
    store = MongoStore(database=database)
    store.open()
    store.sessions.create("s")
    if not (pid := os.fork()):
        os.environ["MONGOSTORE_URI"] = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200"
        try:
            append(store, "while away")
        except ConnectionError:
            os.environ["MONGOSTORE_URI"] = uri
            append(store, "when back")
            os._exit(0)
        os._exit(1)
    assert wait(pid) == 0


def embedded_over_fork(uri: str, database: str) -> None:
    """Be told in a child that the data stayed behind."""
    store = MongoStore("mongomock://", database)
    store.open()
    store.sessions.create("s")
    if not (pid := os.fork()):
        for _ in range(2):
            try:
                store.sessions.get("s")
            except NotOpenError:
                continue
            os._exit(1)
        store.close()
        os._exit(0)
    assert wait(pid) == 0
    assert store.sessions.get("s").id == "s"


warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
globals()[sys.argv[1]](*sys.argv[2:])
