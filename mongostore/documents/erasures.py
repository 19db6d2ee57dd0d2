"""The stored form of an erasure that is under way."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mongostore.documents.mapping import StoredPart


class StoredErasure(StoredPart):
    """The names of a person who is being erased: what links them goes before all else has gone.

    Attributes:
        deleting: The `house` and the `key` of the conversation that is deleted now, whose id stays taken.
    """

    id: str
    names: list[str]
    namespaces: list[str] | None
    organization_id: str | None
    deleting: dict[str, Any] | None = None
    expires_at: datetime
