"""Leases that are held for a block: acquired, renewed while it runs, and released."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from mongostore.background_tasks import BackgroundTasks
from mongostore.errors import ConflictError, InvalidValueError, MongoStoreError
from mongostore.models import Lease

# Shares of a lease: it is renewed after the one, and by our own clock over a little early.
_RENEWAL_SHARE = 1 / 3
_USABLE_SHARE = 0.9
_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.25


class LeaseVerbs(Protocol):
    """The verbs of `AsyncLeases` by which a lease is held."""

    async def acquire(self, name: str, owner: str, seconds: float) -> Lease | None:
        """Take a lease; None while another owner has it."""

    async def renew(self, lease: Lease) -> bool:
        """Begin a lease anew and return whether it was still held."""

    async def release(self, lease: Lease) -> bool:
        """Give a lease back and return whether it was still held."""


class LeaseHolder:
    """Holds leases, and finishes what it has asked the server for even if its caller is cancelled."""

    def __init__(self) -> None:
        self._tasks = BackgroundTasks()

    @asynccontextmanager
    async def hold(
        self, leases: LeaseVerbs, name: str, seconds: float, wait: float
    ) -> AsyncGenerator[Lease, None]:
        """Hold a lease for a block; see `AsyncLeases.hold`."""
        if not isinstance(wait, int | float) or isinstance(wait, bool) or not wait >= 0:
            raise InvalidValueError("wait", "must be a number of seconds from 0")
        holding = await self._try_acquire(leases, name, seconds, wait)
        ended = ConflictError(f"the lease {name!r} ended before its block")
        try:
            # The end moves with each renewal; whatever keeps those from coming, the block ends in time.
            async with asyncio.timeout_at(holding.began + holding.lease.seconds * _USABLE_SHARE) as end:
                renewing = asyncio.create_task(_keep_renewed(leases, holding, end), context=Context())
                try:
                    yield holding.lease
                finally:
                    renewing.cancel()
        except TimeoutError:
            if end.expired():
                raise ended from None
            raise
        finally:
            released = not end.expired() and await asyncio.shield(
                self._tasks.start(leases.release(holding.lease))
            )
        # A block that took no notice of its cancellation, or gave the loop no time for it, ends here.
        if not released:
            raise ended

    async def finish(self) -> None:
        """Wait until every lease whose caller was cancelled is released."""
        await self._tasks.wait()

    async def _try_acquire(self, leases: LeaseVerbs, name: str, seconds: float, wait: float) -> _HeldLease:
        owner, pause, clock = uuid4().hex, _FIRST_PAUSE, asyncio.get_running_loop().time
        patience = clock() + wait
        while True:
            asking = self._tasks.start(_request_lease(leases, name, owner, seconds))
            try:
                # Not to be cut short: it would be unknown whether the lease was taken.
                if holding := await asyncio.shield(asking):
                    return holding
            except asyncio.CancelledError:
                self._tasks.start(_release_lease(leases, asking))
                raise
            if (left := patience - clock()) <= 0:
                raise ConflictError(f"another owner has the lease {name!r}")
            await asyncio.sleep(min(pause * random.uniform(0.5, 1.0), left))
            pause = min(pause * 2, _LONGEST_PAUSE)


@dataclass
class _HeldLease:
    """A lease, with the time by our own clock from which it lasts at the least."""

    lease: Lease
    began: float


async def _request_lease(leases: LeaseVerbs, name: str, owner: str, seconds: float) -> _HeldLease | None:
    """Ask once for a lease; None while another owner has it."""
    clock = asyncio.get_running_loop().time
    began = clock()
    lease = await leases.acquire(name, owner, seconds)
    if lease and clock() > began + seconds * _RENEWAL_SHARE:
        # Much of it is over by now: the server was asked several times.
        began = clock()
        if not await leases.renew(lease):
            return None
    return _HeldLease(lease, began) if lease else None


async def _keep_renewed(leases: LeaseVerbs, holding: _HeldLease, end: asyncio.Timeout) -> None:
    """Renew a lease until it is lost, moving the end of its block with it."""
    clock, seconds = asyncio.get_running_loop().time, holding.lease.seconds
    due = holding.began + seconds * _RENEWAL_SHARE
    while True:
        await asyncio.sleep(due - clock())
        began = clock()
        due = began + seconds * _RENEWAL_SHARE
        try:
            renewed = await leases.renew(holding.lease)
        except MongoStoreError:
            # Then the block ends with its lease, unless a later renewal comes in time.
            continue
        if end.expired():
            return
        end.reschedule(began + seconds * _USABLE_SHARE if renewed else clock())
        if not renewed:
            return


async def _release_lease(leases: LeaseVerbs, asking: asyncio.Task[_HeldLease | None]) -> None:
    """Give back a lease whose caller was cancelled."""
    with suppress(MongoStoreError):
        if holding := await asking:
            await leases.release(holding.lease)
