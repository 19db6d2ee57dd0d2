"""How long conversations are kept, and what was deleted because of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import Field

from mongostore.models.fields import Time
from mongostore.models.model import Model

House = Literal["sessions", "threads", "rooms"]
"""Where conversations are, by the name of the store's attribute."""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The conversations that a store prunes by itself while it is open, in one process at a time.

    Attributes:
        idle: Conversations that had no activity for so long.
        older: Conversations that were created longer ago.
        namespaces: Only the sessions of these namespaces; None for all, and threads and rooms.
        keep_pinned: Whether threads with pinned messages stay until they expire.
        every: How often.
    """

    idle: timedelta | None = None
    older: timedelta | None = None
    namespaces: Sequence[str] | None = None
    keep_pinned: bool = True
    every: timedelta = timedelta(hours=1)


class PruneReport(Model):
    """The number of conversations that a prune deleted, or would delete.

    Attributes:
        dry_run: Whether nothing was deleted.
        idle_since: Conversations without activity since then went as idle; None if none did.
        created_before: Conversations that were created before that time went as old; None likewise.
        is_complete: Whether nothing is left to delete; False where `limit` ended it.
        errors: The conversations that could not be deleted, and why.
    """

    dry_run: bool
    idle_since: Time | None = None
    created_before: Time | None = None
    sessions: int = 0
    threads: int = 0
    rooms: int = 0
    is_complete: bool = True
    errors: list[str] = Field(default_factory=list)

    @property
    def total(self) -> int:
        """The number of conversations of all three."""
        return self.sessions + self.threads + self.rooms
