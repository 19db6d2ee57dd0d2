"""Ports for servers that tests start."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

# Below those of outgoing connections, of which one might take a port before its server does.
_PORTS = range(10_000, 20_000)
_FOLDER = Path(tempfile.gettempdir()) / f"mongostore-ports-{os.getuid()}"


def free_port() -> int:
    """Return a port at which nobody listens, and that no other test gets before this process ends."""
    _FOLDER.mkdir(exist_ok=True)
    while True:
        port = random.choice(_PORTS)
        # It stays open, and with it the lock, until the process ends.
        lock = os.open(_FOLDER / str(port), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            os.close(lock)
