"""RoomKit's room locks: one section at a time in any number of processes, whatever becomes of them."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from subprocess import Popen
from typing import Any

import pytest

if sys.version_info < (3, 12):
    pytest.skip("RoomKit needs Python 3.12", allow_module_level=True)

from mongostore import AsyncMongoStore, ConflictError, UnavailableError
from mongostore.adapters.roomkit import MongoRoomLockManager
from mongostore.repositories.lease_holder import LeaseHolder
from mongostore.testing.roomkit import RoomLockSuite
from mongostore.testing.roomkit.locks import SOON


async def take(store: AsyncMongoStore) -> None:
    """Take the room's lease away from whoever has it."""
    taken = {"$set": {"owner": "somebody else"}, "$inc": {"token": 1}}
    assert (await store.engine.database["leases"].update_one({"_id": "room/r"}, taken)).matched_count


def remembered() -> list[Any]:
    """What managers hold in memory of rooms, and the tasks of ours that are not forgotten."""
    gc.collect()
    modules = [sys.modules[cls.__module__] for cls in (MongoRoomLockManager, LeaseHolder)]
    names, files = {module.__name__ for module in modules}, {module.__file__ for module in modules}

    def is_of_a_room(one: Any) -> bool:
        # By its type: other libraries' proxies raise when they are asked for their class.
        if issubclass(type(one), asyncio.Task):
            code = getattr(one.get_coro(), "cr_code", None)
            return code is not None and code.co_filename in files
        return type(one).__module__ in names and type(one) not in (MongoRoomLockManager, LeaseHolder)

    return [one for one in gc.get_objects() if is_of_a_room(one)]


@pytest.fixture
async def locks(store: AsyncMongoStore) -> AsyncIterator[MongoRoomLockManager]:
    """Locks on each engine in turn, whose leases last but a second."""
    # What was there before is not looked through: that may take longer than a lease lasts.
    gc.freeze()
    manager = MongoRoomLockManager(store=store, lease=1)
    yield manager
    await manager.close()
    assert not remembered()
    gc.unfreeze()


@pytest.fixture
async def others(store: AsyncMongoStore) -> AsyncIterator[MongoRoomLockManager]:
    """The same locks as another process has them."""
    manager = MongoRoomLockManager(store=store, lease=1)
    yield manager
    await manager.close()


class TestRoomLocks(RoomLockSuite):
    """What RoomKit asks of any manager of locks, and what is left of it."""

    async def test_an_error_of_ours_that_a_section_raises_comes_through(
        self, locks: MongoRoomLockManager
    ) -> None:
        await self.test_what_a_section_raises_comes_through(locks, ConflictError)

    async def test_waiters_cancelled_at_any_moment_strand_nothing(
        self, locks: MongoRoomLockManager, others: MongoRoomLockManager, store: AsyncMongoStore
    ) -> None:
        await super().test_waiters_cancelled_at_any_moment_strand_nothing(locks, others)
        assert not remembered()
        assert await store.leases.acquire("room/r", "whoever comes next", 1)


async def test_managers_do_not_open_each_other(
    locks: MongoRoomLockManager, others: MongoRoomLockManager
) -> None:
    async with locks.locked("r"):
        assert remembered()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4), others.locked("r"):
                pass
    async with asyncio.timeout(SOON), others.locked("r"):
        pass


@pytest.mark.server
async def test_processes_that_count_without_care_under_the_lock_lose_nothing(
    child: Callable[..., Popen[str]], server_uri: str, server_store: AsyncMongoStore, database: str
) -> None:
    counters = server_store.engine.database["counters"]
    await counters.insert_one({"_id": "r", "n": 0})
    processes = [child("room_locker.py", server_uri, database, "count", 4, 10) for _ in range(4)]
    ended = await asyncio.gather(*(asyncio.to_thread(one.communicate, "go\n") for one in processes))
    for process, (_, errors) in zip(processes, ended, strict=True):
        assert process.returncode == 0, errors
    assert (await counters.find_one({"_id": "r"}))["n"] == 4 * 4 * 10


@pytest.mark.server
async def test_a_process_that_is_killed_frees_its_rooms_when_their_leases_end(
    child: Callable[..., Popen[str]], server_uri: str, server_store: AsyncMongoStore, database: str
) -> None:
    process = child("room_locker.py", server_uri, database, "hold", 1, 1)
    assert process.stdin
    assert process.stdout
    process.stdin.write("go\n")
    process.stdin.flush()
    assert await asyncio.to_thread(process.stdout.readline) == "held\n"
    manager = MongoRoomLockManager(store=server_store, lease=1)
    entered = asyncio.Event()

    async def wait() -> None:
        async with manager.locked("r"):
            entered.set()

    waiting = asyncio.create_task(wait())
    # Longer than its lease: as long as it lives, it keeps the room.
    await asyncio.sleep(1.5)
    assert not entered.is_set()
    process.kill()
    await asyncio.wait_for(waiting, SOON)
    await manager.close()


async def test_a_section_that_outlasts_its_lease_keeps_the_room(
    locks: MongoRoomLockManager, others: MongoRoomLockManager
) -> None:
    inside = False

    async def enter() -> None:
        async with others.locked("r"):
            assert not inside

    async with locks.locked("r"):
        inside = True
        waiting = asyncio.create_task(enter())
        await asyncio.sleep(2)
        assert not waiting.done()
        inside = False
    await asyncio.wait_for(waiting, SOON)


async def test_a_section_whose_lease_is_taken_is_cancelled(
    locks: MongoRoomLockManager, store: AsyncMongoStore
) -> None:
    cancelled = False

    async def enter() -> None:
        nonlocal cancelled
        async with locks.locked("r"):
            await take(store)
            try:
                await asyncio.sleep(SOON)
            except asyncio.CancelledError:
                cancelled = True
                raise

    with pytest.raises(ConflictError):
        await enter()
    assert cancelled


async def test_a_section_that_ignores_its_cancellation_is_not_taken_for_locked(
    locks: MongoRoomLockManager, store: AsyncMongoStore
) -> None:
    async def enter() -> None:
        async with locks.locked("r"):
            await take(store)
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(SOON)

    with pytest.raises(ConflictError):
        await enter()


async def test_a_section_that_ends_before_it_learns_of_its_loss_is_told(
    locks: MongoRoomLockManager, store: AsyncMongoStore
) -> None:
    async def enter() -> None:
        async with locks.locked("r"):
            await take(store)

    with pytest.raises(ConflictError):
        await enter()


@pytest.mark.server
@pytest.mark.parametrize(
    "how",
    [
        {"closeConnection": True},
        *(pytest.param({"errorCode": code}, marks=pytest.mark.long) for code in (11600, 13)),
    ],
)
async def test_a_section_whose_renewals_fail_is_cancelled_before_anybody_else_enters(
    faults: Any, server_store: AsyncMongoStore, how: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    locks = MongoRoomLockManager(store=faults.store, lease=1)
    others = MongoRoomLockManager(store=server_store, lease=1)
    inside = False

    async def enter() -> None:
        async with others.locked("r"):
            assert not inside

    async def lose() -> None:
        nonlocal inside
        async with locks.locked("r"):
            inside = True
            await faults.fail(["update"], "alwaysOn", **how)
            try:
                await asyncio.sleep(SOON)
            finally:
                inside = False

    losing = asyncio.create_task(lose())
    while not inside:
        await asyncio.sleep(0)
    waiting = asyncio.create_task(enter())
    with pytest.raises(ConflictError):
        await losing
    await asyncio.wait_for(waiting, SOON)
    await faults.admin.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    async with asyncio.timeout(SOON), locks.locked("r"):
        pass
    await locks.close()
    await others.close()
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.mark.server
async def test_a_renewal_that_comes_too_late_harms_nobody(
    faults: Any, caplog: pytest.LogCaptureFixture
) -> None:
    locks = MongoRoomLockManager(store=faults.store, lease=1)

    async def lose() -> None:
        async with locks.locked("r"):
            await faults.fail(["update"], 1, blockConnection=True, blockTimeMS=1500)
            try:
                await asyncio.sleep(SOON)
            finally:
                # Time to tidy up, in which the answer comes.
                await asyncio.sleep(2)

    with pytest.raises(ConflictError):
        await lose()
    await locks.close()
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.mark.server
async def test_a_renewal_that_fails_once_is_made_good(faults: Any) -> None:
    locks = MongoRoomLockManager(store=faults.store, lease=2)
    async with locks.locked("r"):
        await faults.fail(["update"], 1, errorCode=11600)
        # Longer than the lease.
        await asyncio.sleep(2.5)
    await locks.close()


async def test_a_closed_manager_leaves_no_lease_behind(store: AsyncMongoStore) -> None:
    async def enter(locks: MongoRoomLockManager) -> None:
        async with locks.locked("r"):
            await asyncio.sleep(SOON)

    for n in range(20):
        locks = MongoRoomLockManager(store=store, lease=3600)
        work = asyncio.create_task(enter(locks))
        for _ in range(n):
            await asyncio.sleep(0.0005)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await locks.close()
        lease = await store.leases.acquire("room/r", f"next {n}", 1)
        assert lease
        await store.leases.release(lease)


async def test_everybody_gets_a_turn(locks: MongoRoomLockManager, others: MongoRoomLockManager) -> None:
    turns = [0] * 8
    ends = asyncio.get_running_loop().time() + 1.5

    async def work(n: int) -> None:
        while asyncio.get_running_loop().time() < ends:
            async with (locks if n else others).locked("r"):
                turns[n] += 1
                await asyncio.sleep(0.005)

    await asyncio.gather(*(work(n) for n in range(8)))
    assert all(turns), turns


@pytest.mark.server
async def test_a_release_that_fails_is_told_and_the_room_is_free_when_the_lease_ends(
    faults: Any, server_store: AsyncMongoStore
) -> None:
    locks = MongoRoomLockManager(store=faults.store, lease=1)
    others = MongoRoomLockManager(store=server_store, lease=1)
    # No failure of a moment, which would be made good.
    with pytest.raises(Exception, match="lacks a right"):
        async with locks.locked("r"):
            await faults.fail(["update"], "alwaysOn", errorCode=13)
    for manager in (others, locks):
        async with asyncio.timeout(SOON), manager.locked("r"):
            await faults.admin.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    await locks.close()
    await others.close()


@pytest.mark.server
async def test_a_lease_that_was_long_in_coming_is_renewed_before_its_section(faults: Any) -> None:
    locks = MongoRoomLockManager(store=faults.store, lease=2)
    acquire, asked = faults.store.leases.acquire, 0

    async def slowly(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        lease = await acquire(*arguments)
        await asyncio.sleep(1.7 if asked == 1 else 0)
        return lease

    faults.store.leases.acquire = slowly
    async with asyncio.timeout(SOON), locks.locked("r"):
        await asyncio.sleep(1)
    await locks.close()


@pytest.mark.server
async def test_a_server_that_is_gone_is_told_to_who_waits(
    faults: Any, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGOSTORE_TIMEOUT", "1")
    async with AsyncMongoStore(faults.uri, database) as store:
        locks = MongoRoomLockManager(store=store, lease=1)
        async with faults.failing(["findAndModify"], errorCode=11600):
            with pytest.raises(UnavailableError):
                async with locks.locked("r"):
                    raise AssertionError
        async with asyncio.timeout(SOON), locks.locked("r"):
            pass
        await locks.close()
