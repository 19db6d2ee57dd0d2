"""What is stored of rooms and of all that hangs on them."""

from __future__ import annotations

from typing import Any

from mongostore import AsyncMongoStore
from mongostore.testing.store.furnishing import RoomsState

COLLECTIONS = (
    *("rooms", "events", "bindings", "participants", "identities", "identity_addresses", "verifications"),
    *("verification_requests", "tasks", "observations", "read_markers", "voice_deliveries", "leases"),
)


async def rows(store: AsyncMongoStore) -> dict[str, Any]:
    """Return all that is stored."""
    database = store.engine.database
    return {name: await database[name].find({}, sort=[("_id", 1)]).to_list() for name in COLLECTIONS}


class Stored(RoomsState):
    """Suites that mix this in compare what is stored, too."""

    async def state(self, store: AsyncMongoStore) -> Any:
        return await rows(store)
