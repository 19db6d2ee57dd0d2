"""A PostgreSQL server as its packages bring it, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.ports import free_port

PACKAGED = Path("/usr/lib/postgresql")
SECONDS = 60


class MissingError(Exception):
    """There is no PostgreSQL here that could be run."""


@contextmanager
def running(driver: str = "asyncpg") -> Iterator[str]:
    """Run a server with all its defaults, and yield its DSN.

    Args:
        driver: The package that the caller connects with.

    Raises:
        MissingError: Something that it takes is not installed.
    """
    if find_spec(driver) is None:
        raise MissingError(f"no {driver}: `pip install {driver}`")
    programs = _programs()
    # It refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="mongostore-bench-") as folder:
        if user:
            shutil.chown(folder, user, user)
        data, log = Path(folder) / "data", Path(folder) / "log"
        port = free_port()

        def run(program: str, *arguments: str) -> None:
            command = [str(programs / program), "-D", str(data), *arguments]
            # To no pipe: the server, which inherits it, would keep it open.
            subprocess.run(
                command,
                cwd=folder,
                user=user,
                group=user,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=True,
            )

        run("initdb", "--auth=trust", "--username=bench")
        run("pg_ctl", "--wait", f"--log={log}", f"-o -p {port} -h 127.0.0.1 -k ''", "start")
        try:
            yield f"postgresql://bench@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "--wait", "--mode=fast", "stop")


def _programs() -> Path:
    """Return the folder of the server's programs: on PATH, else the newest of the packages'."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    packaged = sorted(PACKAGED.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not packaged:
        raise MissingError("no PostgreSQL server (initdb) on PATH or in /usr/lib/postgresql")
    return packaged[-1].parent
