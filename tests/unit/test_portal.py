"""The loop thread of blocking code: calls, their ends, and iterations."""

from __future__ import annotations

import _thread
import asyncio
import inspect
import itertools
import os
import select
import signal
import sys
import threading
import time
import types
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import FrameType, SimpleNamespace
from typing import Any, NoReturn

import pytest

from mongostore.errors import ConflictError, NotFoundError, NotOpenError
from mongostore.portal import Portal, mirror, mirror_context, mirror_iter


class Interrupted(BaseException):
    """What a handler of a signal raises in the midst of a call."""


async def nothing() -> None:
    """Do nothing."""


async def for_ever() -> NoReturn:
    """Wait for what never comes."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets the event")


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    yield portal
    if portal.is_usable:
        portal.close(nothing())


@pytest.fixture
def closed() -> Portal:
    portal = Portal()
    portal.close(nothing())
    return portal


def interrupt_main() -> None:
    """Send Ctrl-C to the thread that runs the tests."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def test_a_call_returns_what_the_coroutine_returns(portal: Portal) -> None:
    async def add(one: int, other: int) -> int:
        await asyncio.sleep(0)
        return one + other

    assert portal.run(add(20, 22)) == 42


def test_traceback_of_a_call_has_one_frame_of_the_portal(portal: Portal) -> None:
    class Core:
        async def get(self) -> None:
            raise NotFoundError("thing", "x")

        async def iter(self) -> AsyncIterator[int]:
            yield 1
            raise NotFoundError("thing", "x")

    twin = SimpleNamespace(core=Core(), portal=portal)
    for call in (mirror(Core.get), lambda twin: list(mirror_iter(Core.iter, prefetch=9)(twin))):
        with pytest.raises(NotFoundError) as caught:
            call(twin)
        frames = [one.path.name for one in caught.traceback]
        assert frames.count("portal.py") == 1
        assert frames[-1] == "test_portal.py"
        assert caught.value.__context__ is None


def test_calls_run_on_one_thread_that_is_not_the_callers(portal: Portal) -> None:
    async def thread() -> threading.Thread:
        return threading.current_thread()

    first, second = portal.run(thread()), portal.run(thread())
    assert first is second
    assert first is not threading.current_thread()
    assert first.daemon


def test_calls_of_several_threads_run_side_by_side_and_each_gets_its_own_result(portal: Portal) -> None:
    everybody = asyncio.Barrier(4)

    async def meet(number: int) -> int:
        await everybody.wait()
        return number

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda number: portal.run(meet(number)), range(4))) == [0, 1, 2, 3]


@pytest.mark.parametrize("error", [ValueError("odd"), NotFoundError("session", "s"), SystemExit(3)], ids=repr)
def test_what_a_coroutine_raises_comes_to_the_caller_and_the_loop_goes_on(
    portal: Portal, error: BaseException
) -> None:
    async def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        portal.run(fail())
    assert raised.value is error
    portal.run(nothing())


def test_a_call_on_the_loops_own_thread_is_refused_and_its_coroutine_closed(portal: Portal) -> None:
    inner = nothing()

    async def call_again() -> None:
        portal.run(inner)

    with pytest.raises(RuntimeError, match="would never end") as refused:
        portal.run(call_again())
    assert not isinstance(refused.value, NotOpenError)
    assert inspect.getcoroutinestate(inner) == inspect.CORO_CLOSED
    portal.run(nothing())


def test_a_portal_is_usable_until_it_is_closed(portal: Portal) -> None:
    assert portal.is_usable
    portal.close(nothing())
    assert not portal.is_usable


def test_a_closed_portal_refuses_calls_and_closes_their_coroutines(closed: Portal) -> None:
    work = nothing()
    with pytest.raises(NotOpenError, match="was closed"):
        closed.run(work)
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


def test_close_runs_the_last_coroutine_on_the_loop_and_ends_the_thread(portal: Portal) -> None:
    threads: list[threading.Thread] = []

    async def record() -> None:
        threads.append(threading.current_thread())

    portal.run(record())
    portal.close(record())
    assert threads[0] is threads[1]
    assert not threads[0].is_alive()


def test_close_ends_calls_before_the_last_coroutine_and_waits_for_their_cleaning_up(portal: Portal) -> None:
    begun = threading.Event()
    seen: list[str] = []

    async def work() -> None:
        try:
            begun.set()
            await for_ever()
        finally:
            await asyncio.sleep(0.01)
            seen.append("call cleaned up")

    async def last() -> None:
        seen.append("last")

    def call() -> None:
        try:
            portal.run(work())
        except NotOpenError as error:
            refusals.append(str(error))

    refusals: list[str] = []
    # No pool, which would wait at its end for a call that does not come back.
    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    assert begun.wait(5)
    portal.close(last())
    caller.join(5)
    assert refusals == ["the store was closed during the call"]
    assert seen == ["call cleaned up", "last"]


def test_a_call_during_close_is_refused(portal: Portal) -> None:
    with ThreadPoolExecutor(1) as pool:

        async def last() -> None:
            await asyncio.wrap_future(pool.submit(refused))

        def refused() -> None:
            with pytest.raises(NotOpenError, match="was closed"):
                portal.run(nothing())

        portal.close(last())


def test_close_leaves_tasks_that_are_no_calls_to_the_last_coroutine(portal: Portal) -> None:
    tasks: list[asyncio.Task[NoReturn]] = []

    async def watch() -> None:
        tasks.append(asyncio.create_task(for_ever()))

    async def last() -> None:
        assert not tasks[0].cancelling()
        tasks[0].cancel()
        await asyncio.wait(tasks)

    portal.run(watch())
    portal.close(last())
    assert tasks[0].cancelled()


def test_close_ends_tasks_that_the_last_coroutine_has_left(portal: Portal) -> None:
    tasks: list[asyncio.Task[NoReturn]] = []

    async def fail() -> None:
        tasks.append(asyncio.create_task(for_ever()))
        await asyncio.gather(*tasks, refuse())

    async def refuse() -> None:
        raise ValueError("odd")

    async def last() -> None:
        assert not tasks[0].cancelling()

    with pytest.raises(ValueError, match="odd"):
        portal.run(fail())
    portal.close(last())
    assert tasks[0].cancelled()


def test_close_raises_what_the_last_coroutine_raises_and_stops_all_the_same(portal: Portal) -> None:
    async def thread() -> threading.Thread:
        return threading.current_thread()

    async def last() -> None:
        raise ValueError("odd")

    loop_thread = portal.run(thread())
    with pytest.raises(ValueError, match="odd"):
        portal.close(last())
    assert not loop_thread.is_alive()
    assert not portal.is_usable


def test_close_ends_generators_that_nobody_has_finished(portal: Portal) -> None:
    seen: list[str] = []

    async def items() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            seen.append("ended")

    open_items = items()

    async def first() -> int:
        return await anext(open_items)

    async def last() -> None:
        seen.append("last")

    assert portal.run(first()) == 1
    portal.close(last())
    assert seen == ["ended", "last"]


def test_an_interrupted_caller_goes_on_when_the_coroutine_has_cleaned_up(portal: Portal) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            interrupt_main()
            await for_ever()
        except asyncio.CancelledError:
            await asyncio.sleep(0.03)
            seen.append("cleaned up")
            raise

    with pytest.raises(KeyboardInterrupt):
        portal.run(work())
    assert seen == ["cleaned up"]
    portal.run(nothing())


def test_an_interrupted_close_ends_the_last_coroutine_and_the_thread(portal: Portal) -> None:
    threads: list[threading.Thread] = []

    async def last() -> None:
        threads.append(threading.current_thread())
        interrupt_main()
        await for_ever()

    with pytest.raises(KeyboardInterrupt):
        portal.close(last())
    assert not threads[0].is_alive()


def test_a_call_that_is_interrupted_before_it_begins_ends_and_leaves_no_coroutine(portal: Portal) -> None:
    busy, interrupted = threading.Event(), threading.Event()

    def interrupt(signum: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code is not Portal.run.__code__:
            frame = frame.f_back
        if frame is not None and not interrupted.is_set():
            interrupted.set()
            raise Interrupted

    async def keep_the_loop_busy() -> None:
        busy.set()
        main = threading.main_thread().ident
        assert main is not None
        while not interrupted.is_set():
            signal.pthread_kill(main, signal.SIGUSR1)
            interrupted.wait(0.005)
        # The time in which the caller gives up.
        time.sleep(0.02)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(lambda: portal.run(keep_the_loop_busy()))
            assert busy.wait(5)
            work = for_ever()
            with pytest.raises(Interrupted):
                portal.run(work)
            other.result(5)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


def in_a_fork(look: Callable[[], str]) -> str:
    """Return what `look` returns in a forked process."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # That a process with threads is forked is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.write(writing, look().encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        answers, _, _ = select.select([reading], [], [], 5)
        return os.read(reading, 10_000).decode() if answers else "no answer"
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_fork_cannot_use_the_portal_and_its_parent_still_can(portal: Portal) -> None:
    def look() -> str:
        work = nothing()
        try:
            portal.run(work)
        except NotOpenError:
            return f"refused, usable: {portal.is_usable}, work: {inspect.getcoroutinestate(work)}"
        return "run"

    assert in_a_fork(look) == "refused, usable: False, work: CORO_CLOSED"
    assert portal.is_usable
    portal.run(nothing())


def test_an_iteration_that_is_dropped_in_a_fork_is_left_to_the_parent(portal: Portal) -> None:
    numbers = Numbers(portal)
    items = numbers.one_by_one(3)
    assert next(items) == 0

    def look() -> str:
        items.close()
        return f"ended: {numbers.core.ended}"

    assert in_a_fork(look) == "ended: []"
    assert list(items) == [1, 2]


class AsyncNumbers:
    """An async core.

    Attributes:
        made: The numbers that were yielded so far.
        ended: The threads on which a generator has ended.
    """

    def __init__(self) -> None:
        self.made: list[int] = []
        self.ended: list[str] = []

    async def add(self, one: int, /, other: int = 1, *, times: int = 1) -> int:
        """Add another number so many times."""
        await asyncio.sleep(0)
        return one + other * times

    async def count(self, end: int, error: BaseException | None = None) -> AsyncIterator[int]:
        """Yield numbers up to an end or an error."""
        try:
            for number in range(end):
                await asyncio.sleep(0)
                self.made.append(number)
                yield number
            if error is not None:
                raise error
        finally:
            await asyncio.sleep(0)
            self.ended.append(threading.current_thread().name)

    async def stop_twice(self) -> AsyncIterator[int]:
        """Interrupt whoever waits, and again while this ends."""
        try:
            interrupt_main()
            await for_ever()
            yield 0
        except asyncio.CancelledError:
            interrupt_main()
            await asyncio.sleep(0.03)
            self.ended.append("in its own time")
            raise


class Numbers:
    """Its blocking twin."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.core = AsyncNumbers()

    add = mirror(AsyncNumbers.add)
    one_by_one = mirror_iter(AsyncNumbers.count, prefetch=1)
    three_by_three = mirror_iter(AsyncNumbers.count, prefetch=3)
    stop_twice = mirror_iter(AsyncNumbers.stop_twice, prefetch=1)


@pytest.fixture
def numbers(portal: Portal) -> Numbers:
    return Numbers(portal)


def test_a_mirror_passes_arguments_and_returns_the_result(numbers: Numbers) -> None:
    assert numbers.add(1) == 2
    assert numbers.add(1, 2, times=3) == 7


@pytest.mark.parametrize(
    ("twin", "core"),
    [(Numbers.add, AsyncNumbers.add), (Numbers.one_by_one, AsyncNumbers.count)],
    ids=["call", "iteration"],
)
def test_a_mirror_is_named_and_described_as_its_core_and_is_no_coroutine(twin: Any, core: Any) -> None:
    assert (twin.__name__, twin.__doc__) == (core.__name__, core.__doc__)
    assert not inspect.iscoroutinefunction(twin)
    assert not inspect.isasyncgenfunction(twin)


@pytest.mark.parametrize("iterates", [False, True], ids=["call", "iteration"])
def test_a_mirror_asks_for_the_portal_before_the_core_which_that_may_renew(
    portal: Portal, iterates: bool
) -> None:
    asked: list[str] = []

    class Renewing:
        @property
        def portal(self) -> Portal:
            asked.append("portal")
            return portal

        @property
        def core(self) -> AsyncNumbers:
            asked.append("core")
            return AsyncNumbers()

    if iterates:
        assert list(mirror_iter(AsyncNumbers.count, prefetch=2)(Renewing(), 3)) == [0, 1, 2]
    else:
        assert mirror(AsyncNumbers.add)(Renewing(), 1) == 2
    assert asked == ["portal", "core"]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
def test_an_iteration_yields_every_item_in_order_and_ends(numbers: Numbers, count: int) -> None:
    assert list(numbers.one_by_one(count)) == list(range(count))
    assert list(numbers.three_by_three(count)) == list(range(count))
    assert numbers.core.ended == ["mongostore", "mongostore"]


def test_an_iteration_fetches_nothing_before_its_first_item_is_asked_for(numbers: Numbers) -> None:
    items = numbers.one_by_one(3)
    assert numbers.core.made == []
    assert next(items) == 0
    items.close()


def test_an_iteration_fetches_as_many_items_ahead_as_it_is_told(numbers: Numbers) -> None:
    one, three = numbers.one_by_one(9), Numbers(numbers.portal)
    assert next(one) == 0
    assert numbers.core.made == [0]
    items = three.three_by_three(9)
    assert [next(items), next(items), next(items)] == [0, 1, 2]
    assert three.core.made == [0, 1, 2]
    assert next(items) == 3
    assert three.core.made == [0, 1, 2, 3, 4, 5]
    one.close()
    items.close()


@pytest.mark.parametrize("count", [0, 2, 3, 4])
def test_an_error_of_ours_comes_behind_the_items_before_it(numbers: Numbers, count: int) -> None:
    error = NotFoundError("session", "s")
    items = numbers.three_by_three(count, error)
    assert list(itertools.islice(items, count)) == list(range(count))
    with pytest.raises(NotFoundError) as raised:
        next(items)
    assert raised.value is error


def test_an_error_of_others_is_raised_as_it_is(numbers: Numbers) -> None:
    error = ZeroDivisionError("odd")
    with pytest.raises(ZeroDivisionError) as raised:
        list(numbers.three_by_three(2, error))
    assert raised.value is error
    assert numbers.core.ended == ["mongostore"]


def test_an_iteration_over_a_closed_portal_is_refused(closed: Portal) -> None:
    with pytest.raises(NotOpenError):
        next(Numbers(closed).one_by_one(3))


def test_an_iteration_that_was_begun_before_the_portal_closed_is_refused_its_next_items(
    portal: Portal,
) -> None:
    numbers = Numbers(portal)
    items = numbers.one_by_one(3)
    assert next(items) == 0
    portal.close(nothing())
    assert numbers.core.ended == ["mongostore"]
    with pytest.raises(NotOpenError):
        next(items)


def test_a_closed_iteration_ends_its_generator_on_the_loop_before_close_returns(numbers: Numbers) -> None:
    items = numbers.three_by_three(9)
    next(items)
    items.close()
    assert numbers.core.ended == ["mongostore"]


def test_an_iteration_that_is_forgotten_ends_its_generator(numbers: Numbers) -> None:
    items = numbers.three_by_three(9)
    next(items)
    del items
    assert numbers.core.ended == ["mongostore"]


def test_an_iteration_that_is_closed_on_another_thread_ends_its_generator(numbers: Numbers) -> None:
    items = numbers.three_by_three(9)
    next(items)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(items.close).result(5)
    assert numbers.core.ended == ["mongostore"]


def test_an_iteration_that_is_closed_on_the_loops_own_thread_ends_its_generator(numbers: Numbers) -> None:
    items = numbers.three_by_three(9)
    next(items)

    async def close() -> None:
        items.close()
        async with asyncio.timeout(5):
            while not numbers.core.ended:
                await asyncio.sleep(0)

    numbers.portal.run(close())
    assert numbers.core.ended == ["mongostore"]


def test_a_generator_that_never_began_can_be_dropped(portal: Portal) -> None:
    core = AsyncNumbers()
    items: Any = core.count(3)
    portal.close_iterator(items)

    async def rest() -> list[int]:
        return [number async for number in items]

    assert portal.run(rest()) == []


async def test_a_generator_that_is_dropped_after_the_end_is_left_alone(closed: Portal) -> None:
    items: Any = AsyncNumbers().count(1)
    closed.close_iterator(items)
    assert [number async for number in items] == [0]


def test_an_interrupted_iteration_ends_its_generator(numbers: Numbers) -> None:
    class Waiting(AsyncNumbers):
        async def wait(self) -> AsyncIterator[int]:
            try:
                interrupt_main()
                await for_ever()
                yield 0
            finally:
                self.ended.append("interrupted")

    numbers.core = core = Waiting()
    items: Iterator[int] = mirror_iter(Waiting.wait, prefetch=1)(numbers)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        next(items)
    assert core.ended == ["interrupted"]


def test_an_iteration_that_is_interrupted_twice_goes_on_when_its_generator_has_ended(
    numbers: Numbers,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        next(numbers.stop_twice())
    assert numbers.core.ended == ["in its own time"]


class Doors:
    """Async context managers, and what happens in them."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.tasks: set[asyncio.Task[Any] | None] = set()
        self.lost = asyncio.Event()

    @asynccontextmanager
    async def opened(self, name: str, *, seconds: float = 60) -> AsyncIterator[str]:
        """Open a door."""
        if name == "locked":
            raise ConflictError("locked")
        if name == "stuck":
            await for_ever()
        try:
            async with asyncio.timeout(seconds):
                self.tasks.add(asyncio.current_task())
                self.seen.append("in")
                yield name
        except TimeoutError:
            raise ConflictError("closed early") from None
        finally:
            self.tasks.add(asyncio.current_task())
            self.seen.append("out")


class BlockingDoors:
    """Their blocking twin."""

    def __init__(self, portal: Portal) -> None:
        self.core, self.portal = Doors(), portal

    opened = mirror_context(Doors.opened)


def test_a_block_is_entered_and_left_by_one_task(portal: Portal) -> None:
    doors = BlockingDoors(portal)
    for _ in range(2):
        with doors.opened("front") as door:
            assert door == "front"
            assert doors.core.seen[-1] == "in"
            assert len(doors.core.tasks) == 1
        assert doors.core.seen[-1] == "out"
        assert len(doors.core.tasks) == 1
        doors.core.tasks.clear()


def test_a_block_that_is_not_entered_is_told_why(portal: Portal) -> None:
    doors = BlockingDoors(portal)
    with pytest.raises(ConflictError, match="locked"), doors.opened("locked"):
        raise AssertionError
    assert doors.core.seen == []


def test_a_block_that_has_ended_meanwhile_is_told_at_its_end(portal: Portal) -> None:
    doors, reached = BlockingDoors(portal), list[str]()

    def work() -> None:
        with doors.opened("front", seconds=0.05):
            time.sleep(0.3)
            reached.extend(doors.core.seen)

    with pytest.raises(ConflictError, match="closed early"):
        work()
    assert reached == ["in", "out"]


@pytest.mark.parametrize("seconds", [60, 0.05])
def test_the_error_of_a_block_itself_comes_through(portal: Portal, seconds: float) -> None:
    doors, error = BlockingDoors(portal), KeyError("its own")

    def work() -> None:
        with doors.opened("front", seconds=seconds):
            time.sleep(0.2)
            raise error

    with pytest.raises(KeyError) as caught:
        work()
    assert caught.value is error
    assert doors.core.seen == ["in", "out"]


def test_a_block_is_left_when_its_store_is_closed(portal: Portal) -> None:
    doors = BlockingDoors(portal)

    def work() -> None:
        with doors.opened("front"):
            portal.close(nothing())

    with pytest.raises(NotOpenError):
        work()
    assert doors.core.seen == ["in", "out"]


def test_ctrl_c_ends_the_wait_for_a_block(portal: Portal) -> None:
    doors = BlockingDoors(portal)
    timer = threading.Timer(0.3, interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt), doors.opened("stuck"):
        raise AssertionError
    timer.join()

    async def left() -> int:
        await asyncio.sleep(0)
        return sum(task.get_name() == "mongostore call" for task in asyncio.all_tasks()) - 1

    assert portal.run(left()) == 0


def test_the_twin_of_a_context_shows_the_signature_and_help_of_its_core() -> None:
    signature = inspect.signature(BlockingDoors.opened)
    assert signature.parameters == inspect.signature(Doors.opened).parameters
    assert signature.return_annotation == "Iterator[str]"
    assert BlockingDoors.opened.__doc__ == "Open a door."


def test_close_waits_first_for_what_it_is_told_to(portal: Portal) -> None:
    seen: list[str] = []
    started, ended = threading.Event(), threading.Event()

    async def work() -> str:
        started.set()
        await asyncio.to_thread(ended.wait)
        seen.append("work")
        return "done"

    async def first() -> None:
        ended.set()
        while not seen:
            await asyncio.sleep(0)
        seen.append("first")

    async def last() -> None:
        seen.append("last")

    with ThreadPoolExecutor() as threads:
        result = threads.submit(portal.run, work())
        started.wait()
        portal.close(last(), first())
        assert result.result() == "done"
    assert seen == ["work", "first", "last"]


def test_a_portal_may_be_closed_from_its_own_thread_without_waiting() -> None:
    portal, ended = Portal(), threading.Event()

    async def last() -> None:
        ended.set()

    async def collect() -> threading.Thread:
        portal.close_in_background(last())
        return threading.current_thread()

    thread = portal.run(collect())
    assert ended.wait(10)
    thread.join(10)
    assert not thread.is_alive()
    assert not portal.is_usable


class StandIn(types.ModuleType):
    """As much of gevent as a portal uses: its hub is a thread that calls what it is told to."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.started: list[Callable[[], None]] = []
        self.watchers: list[Any] = []
        self.event = SimpleNamespace(Event=threading.Event)

    def is_module_patched(self, name: str) -> bool:
        return name == "threading"

    def get_original(self, module: str, name: str) -> Callable[..., int]:
        assert (module, name) == ("_thread", "start_new_thread")

        def start(target: Callable[[], None], arguments: tuple[()]) -> int:
            self.started.append(target)
            return _thread.start_new_thread(target, arguments)

        return start

    def get_hub(self) -> Any:
        return SimpleNamespace(loop=SimpleNamespace(async_=lambda: Watcher(self.watchers)))


class Watcher:
    """A callback that any thread may have called, as one of gevent's hub is."""

    def __init__(self, watchers: list[Watcher]) -> None:
        self.is_open = True
        watchers.append(self)

    def start(self, callback: Callable[[], None]) -> None:
        self.callback = callback

    def send(self) -> None:
        self.callback()

    def close(self) -> None:
        self.is_open = False


def test_among_greenlets_the_loop_has_a_native_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    gevent = StandIn("gevent")
    monkeypatch.setitem(sys.modules, "gevent", gevent)
    monkeypatch.setitem(sys.modules, "gevent.monkey", gevent)
    portals = [Portal(), Portal()]

    async def thread_id() -> int:
        return threading.get_ident()

    async def last() -> None: ...

    assert len(gevent.started) == 2
    assert len({threading.get_ident(), *(portal.run(thread_id()) for portal in portals)}) == 3
    for portal in portals:
        portal.close(last())
        assert not portal.is_usable
    assert not [watcher for watcher in gevent.watchers if watcher.is_open]
