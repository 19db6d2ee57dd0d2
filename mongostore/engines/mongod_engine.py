"""A MongoDB server of its own, with its data in a folder, through the engine of any server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mongostore.engines.mongo import MongoEngine
from mongostore.engines.mongod_process import MongodProcess


class MongodEngine(MongoEngine):
    """The engine of `mongod:///folder`: a server of its own, with its data in that folder.

    Args:
        directory: The folder; made when missing.
        database: The database.
        binary: The server to run; else it is looked for (see `MongodProcess`).
        prefix: Begins the name of every collection.
        options: Options of PyMongo's client.
    """

    def __init__(
        self,
        directory: Path,
        database: str,
        *,
        binary: Path | None,
        prefix: str,
        options: Mapping[str, Any] | None,
    ) -> None:
        super().__init__("mongodb://127.0.0.1", database, prefix=prefix, options=options)
        self._server = MongodProcess(directory, binary)
        self.address: str = f"mongod://{directory}"

    async def open(self) -> None:
        """Start the server, or join the one that runs in that folder, and connect."""
        self._source = await asyncio.to_thread(self._server.start)
        await super().open()

    async def close(self) -> None:
        """Disconnect; the last one to leave stops the server."""
        await super().close()
        try:
            stopping = asyncio.get_running_loop().run_in_executor(None, self._server.stop)
        except RuntimeError:
            # An interpreter that is about to exit begins nothing in other threads any more.
            self._server.stop()
        else:
            await stopping

    async def recover(self) -> bool:
        """Start the server again if it died, and end what dead processes have begun."""
        await asyncio.to_thread(self._server.start)
        return await super().recover()
