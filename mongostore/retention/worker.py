"""Applies a store's policy while it is open, one process at a time."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from mongostore.errors import (
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    MongoStoreError,
    NotOpenError,
)
from mongostore.models.retention import RetentionPolicy
from mongostore.repositories.leases import AsyncLeases
from mongostore.retention.retention import AsyncRetention

LEASE = "mongostore.retention"
_LEASE_SECONDS = 60.0

_log = logging.getLogger("mongostore.retention")


class RetentionWorker:
    """Prunes again and again, unless another process does.

    Args:
        retention: The verbs that prune.
        leases: The leases of the store.
        policy: The policy.

    Raises:
        ConfigurationError: If the policy is of the wrong type or has a member out of range.
    """

    def __init__(self, retention: AsyncRetention, leases: AsyncLeases, policy: RetentionPolicy) -> None:
        if not isinstance(policy, RetentionPolicy):
            raise ConfigurationError(f"retention: must be a RetentionPolicy, not {type(policy).__name__}")
        for name in ("idle", "older", "every"):
            span = getattr(policy, name)
            if span is None and name != "every":
                continue
            if not isinstance(span, timedelta) or span <= timedelta(0):
                raise ConfigurationError(f"retention.{name}: must be a timedelta above 0")
        self._retention = retention
        self._leases = leases
        self._policy = policy

    async def run(self) -> None:
        """Prune until the store is closed; a failure is logged, and tried again the next time."""
        while True:
            try:
                await self._prune()
            except NotOpenError:
                return
            except ConflictError:
                _log.debug("another process prunes")
            except InvalidValueError as error:
                _log.error("retention: %s", error)
                return
            except MongoStoreError as error:
                _log.warning("pruning was cut short and goes on later: %s", error)
            await asyncio.sleep(self._policy.every.total_seconds())

    async def _prune(self) -> None:
        policy = self._policy
        async with self._leases.hold(LEASE, seconds=_LEASE_SECONDS):
            report = await self._retention.prune(
                idle=policy.idle,
                older=policy.older,
                namespaces=policy.namespaces,
                keep_pinned=policy.keep_pinned,
            )
        if report.total or report.errors:
            _log.info(
                "pruned %d sessions, %d threads and %d rooms; %d could not be deleted",
                *(report.sessions, report.threads, report.rooms, len(report.errors)),
            )
