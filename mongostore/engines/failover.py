"""A line in the log whenever a replica set has another primary."""

from __future__ import annotations

import logging
import time

from pymongo.monitoring import (
    TopologyClosedEvent,
    TopologyDescriptionChangedEvent,
    TopologyListener,
    TopologyOpenedEvent,
)
from pymongo.topology_description import TopologyDescription

_log = logging.getLogger("mongostore.failover")


class FailoverLog(TopologyListener):
    """Logs each change of the primary of one client, with the time for which there was none.

    Args:
        address: The client's target as it may be shown.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._primary: str | None = None
        self._lost_at: float | None = None

    def opened(self, event: TopologyOpenedEvent) -> None:
        """Ignore that the client begins to look for servers."""

    def description_changed(self, event: TopologyDescriptionChangedEvent) -> None:
        """Log the new primary, unless it is the first one."""
        primary = _primary_of(event.new_description)
        if primary is None:
            self._lost_at = self._lost_at or time.monotonic()
            return
        if self._primary not in (None, primary):
            seconds = 0.0 if self._lost_at is None else time.monotonic() - self._lost_at
            _log.warning(
                "the primary is now %s (was %s, for %.1f s nobody)",
                *(primary, self._primary, seconds),
                extra={"address": self._address},
            )
        self._primary, self._lost_at = primary, None

    def closed(self, event: TopologyClosedEvent) -> None:
        """Ignore that the client is closed."""


def _primary_of(topology: TopologyDescription) -> str | None:
    for (host, port), server in topology.server_descriptions().items():
        if server.server_type_name == "RSPrimary":
            return f"{host}:{port}"
    return None
