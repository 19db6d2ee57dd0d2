"""`mongostore serve` as a process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_PATIENCE = 60


class Serving:
    """A server that listens at a free port once it is entered; its log is a file.

    Args:
        log: The file.
        options: Options of the command.
        what: Which server it is.
        environment: Variables beside those of this process.
    """

    def __init__(self, log: Path, *options: str, what: str = "sessions", **environment: str) -> None:
        self._log = log
        command = [sys.executable, "-m", "mongostore", "serve", what, "--port", "0", *options]
        with log.open("wb") as written:
            self.process = subprocess.Popen(
                command, stdout=written, stderr=written, env=os.environ | environment, start_new_session=True
            )
        self.url = ""

    @property
    def log(self) -> str:
        return self._log.read_text()

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _PATIENCE
        while not (texts := re.search(r"listening at (\S+)\n", self.log)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(self.log)
            time.sleep(0.05)
        self.url = texts[1]
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask the server to end, and return its exit code."""
        self.process.send_signal(how)
        return self.process.wait(_PATIENCE)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            try:
                self.stop()
            finally:
                self.kill()
