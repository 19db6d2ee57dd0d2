"""Takes a Ctrl-C at random moments of blocking calls, again and again; what was acknowledged is there once.

Arguments: URI, database, how often.
"""

import asyncio
import itertools
import random
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress

from mongostore import Event, Message, MongoStore

uri, database, amount = sys.argv[1:]
# One that comes between making a coroutine and running it leaves it so.
warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
# Nor is what comes while something is thrown away any error.
sys.unraisablehook = lambda _: None
main = threading.main_thread().ident
assert main
numbers = itertools.count()
messages, events = set[str](), set[str]()
interrupts = 0
is_over = False


def interrupt() -> None:
    """Send the signals, each after another moment."""
    global interrupts, is_over
    while interrupts < int(amount):
        time.sleep(random.uniform(0.001, 0.03))
        signal.pthread_kill(main, signal.SIGINT)
        interrupts += 1
    time.sleep(0.1)
    is_over = True


def call(store: MongoStore) -> None:
    """Call until the last signal has come; note what is acknowledged."""
    while not is_over:
        n = next(numbers)
        if n % 5 == 0 and interrupts < int(amount) - 1:
            # Nothing but an interrupt ends it.
            for _ in store.sessions.messages.watch("quiet"):
                pass
        store.sessions.messages.append("s", Message(id=f"m{n}", role="user", content="x"))
        messages.add(f"m{n}")
        store.rooms.events.append("r", Event(id=f"e{n}", channel_id="c"))
        events.add(f"e{n}")
        for message in store.sessions.messages.iter("s"):
            assert message.content == "x"
        store.sessions.list(limit=3)


async def calls() -> int:
    """Return how many calls run, this one included."""
    return sum(task.get_name() == "mongostore call" for task in asyncio.all_tasks())


with MongoStore(uri, database) as opened:
    opened.sessions.create("s")
    opened.sessions.create("quiet")
    opened.rooms.create("r")
    sender = threading.Thread(target=interrupt)
    sender.start()
    while not is_over:
        try:
            while not is_over:
                with suppress(KeyboardInterrupt):
                    call(opened)
        except KeyboardInterrupt:
            # It came between two calls.
            continue
    sender.join()
    ends = time.monotonic() + 10
    while opened.portal.run(calls()) > 1:
        assert time.monotonic() < ends, "a call runs on"
        time.sleep(0.05)
    for known, found in (
        (messages, [message.id for message in opened.sessions.messages.iter("s")]),
        (events, [event.id for event in opened.rooms.events.iter("r")]),
    ):
        assert known, "nothing got through"
        assert known <= {*found}, known - {*found}
        assert len(found) == len({*found})
    assert interrupts == int(amount)
