"""One store for all who need the same one: objects that connect when they are first used."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary, WeakSet

from mongostore.store import AsyncMongoStore

# What the environment says decides too, so it is part of the name.
_Target = tuple[str | None, ...]


@dataclass
class _SharedEntry:
    store: AsyncMongoStore
    # One that is dropped without leaving uses the store no more, and its `id` may soon be another's.
    users: WeakSet[SharedStore] = field(default_factory=WeakSet)


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Target, _SharedEntry]] = WeakKeyDictionary()


class SharedStore:
    """A user of a store: of its own, or of one that users of the same event loop share.

    Args:
        uri: As for `AsyncMongoStore`; else `MONGOSTORE_URI`.
        database: Likewise.
        store: An open store to use instead; it stays its owner's to close.
    """

    def __init__(
        self, uri: str | None = None, database: str | None = None, store: AsyncMongoStore | None = None
    ) -> None:
        self._uri = uri
        self._database = database
        self._own = store
        self._using: tuple[int, asyncio.AbstractEventLoop, _Target] | None = None

    async def get(self) -> AsyncMongoStore:
        """Return the store, open.

        Raises:
            MongoStoreError: It cannot be opened; the next call tries again.
        """
        if self._own is not None:
            return self._own
        loop = asyncio.get_running_loop()
        if self._using is None or self._using[:2] != (os.getpid(), loop):
            uri = self._uri or os.environ.get("MONGOSTORE_URI")
            target = uri, self._database, os.environ.get("MONGOSTORE_DATABASE"), str(os.getpid())
            self._using = os.getpid(), loop, target
        of_loop = _shared.setdefault(loop, {})
        shared = of_loop.get(self._using[2])
        if shared is None:
            shared = of_loop[self._using[2]] = _SharedEntry(
                AsyncMongoStore(self._using[2][0], self._database)
            )
        shared.users.add(self)
        await shared.store.open()
        return shared.store

    def is_same_as(self, other: SharedStore) -> bool:
        """Return whether another one uses the same store as this one."""
        return (self._own, self._uri, self._database) == (other._own, other._uri, other._database)

    async def close(self) -> None:
        """Leave the store; the last of its users closes it. Leaving twice is harmless."""
        using, self._using = self._using, None
        if using is None or using[:2] != (os.getpid(), asyncio.get_running_loop()):
            return
        shared = _shared[using[1]][using[2]]
        shared.users.discard(self)
        if not shared.users:
            del _shared[using[1]][using[2]]
            await shared.store.close()
