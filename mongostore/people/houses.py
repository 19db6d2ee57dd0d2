"""The verbs that an erasure and an export of a person use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass

from mongostore.models import File
from mongostore.models.threads import ELEMENTS_FOLDER
from mongostore.repositories.api_keys import AsyncKeys
from mongostore.repositories.heads import Heads
from mongostore.repositories.mentions import PersonFinder
from mongostore.repositories.rooms import AsyncRooms
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.threads import AsyncThreads


@dataclass(frozen=True)
class Houses:
    """The parts of a store in which a person can be."""

    sessions: AsyncSessions
    threads: AsyncThreads
    rooms: AsyncRooms
    keys: AsyncKeys
    heads: Heads

    async def files_of(self, names: Collection[str], finder: PersonFinder) -> AsyncGenerator[File, None]:
        """Yield the files in folders of a person's names, which may belong to no element."""
        # What is in the folder of elements goes with its element.
        for name in {*names} - {ELEMENTS_FOLDER}:
            others = await finder.folders_in(name)
            async for file in self.threads.files.iter(prefix=f"{name}/"):
                if not file.key.startswith(others):
                    yield file
