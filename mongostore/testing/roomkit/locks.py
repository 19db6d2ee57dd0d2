"""RoomKit's contract for a manager of room locks."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from roomkit.core.locks import unlocked_context

SOON = 30


class RoomLockSuite:
    """The contract of a `RoomLockManager`.

    Fixtures:
        locks: The manager.
        others: Another one of the same locks, as another process has it. Where there can be none, `locks`.
    """

    pytestmark: pytest.MarkDecorator = pytest.mark.asyncio

    @pytest.mark.parametrize("kind", [TimeoutError, asyncio.CancelledError, ValueError])
    async def test_what_a_section_raises_comes_through(self, locks: Any, kind: type[BaseException]) -> None:
        error = kind("its own")
        with pytest.raises(kind) as caught:
            async with locks.locked("r"):
                raise error
        assert caught.value is error
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), locks.locked("r"):
                await asyncio.sleep(SOON)
        async with asyncio.timeout(SOON), locks.locked("r"):
            pass

    async def test_a_holder_and_its_children_enter_again(self, locks: Any) -> None:
        entered = 0

        async def enter() -> None:
            nonlocal entered
            async with locks.locked("r"), locks.locked("r"):
                entered += 1

        async with asyncio.timeout(SOON), locks.locked("r"):
            await asyncio.gather(enter(), enter())
            await enter()
        assert entered == 3

    async def test_a_child_that_outlives_its_section_waits_as_anybody(self, locks: Any) -> None:
        start, entered = asyncio.Event(), asyncio.Event()

        async def child() -> None:
            await start.wait()
            async with locks.locked("r"):
                entered.set()

        async with locks.locked("r"):
            task = asyncio.create_task(child())
        async with locks.locked("r"):
            start.set()
            await asyncio.sleep(0.3)
            assert not entered.is_set()
        await asyncio.wait_for(task, SOON)

    async def test_a_stranger_waits_for_this_room_and_for_no_other(self, locks: Any, others: Any) -> None:
        async def enter() -> None:
            async with others.locked("r"):
                pass

        async with locks.locked("r"):
            async with asyncio.timeout(SOON), others.locked("r2"), locks.locked("r3"):
                pass
            stranger = asyncio.create_task(enter(), context=unlocked_context())
            await asyncio.sleep(0.4)
            assert not stranger.done()
        await asyncio.wait_for(stranger, SOON)

    async def test_waiters_cancelled_at_any_moment_strand_nothing(self, locks: Any, others: Any) -> None:
        chance, inside, entered = random.Random(3), 0, 0

        async def enter(manager: Any) -> None:
            nonlocal inside, entered
            async with manager.locked("r"):
                assert inside == 0
                inside += 1
                entered += 1
                try:
                    await asyncio.sleep(chance.random() * 0.004)
                finally:
                    inside -= 1

        async def hurry(n: int) -> None:
            await asyncio.sleep(chance.random() * 0.5)
            work = asyncio.create_task(enter(locks if n % 2 else others))
            await asyncio.sleep(chance.random() * 0.1)
            work.cancel()
            ended = (await asyncio.gather(work, return_exceptions=True))[0]
            assert ended is None or isinstance(ended, asyncio.CancelledError)

        await asyncio.gather(*(hurry(n) for n in range(100)))
        await asyncio.wait_for(asyncio.gather(enter(locks), enter(others)), SOON)
        await locks.close()
        await others.close()
        assert entered > 2
