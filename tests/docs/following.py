"""A reader who follows a page: each block of it is run in its order, in one folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from doctest import NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.docs.pages import ROOT, Block
from tests.ports import free_port

# The address that pages name where they need a replica set.
SERVER = "mongodb://localhost:27017/?replicaSet=rs0"

_PATIENCE = 120
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_PORT = re.compile(r"(?:127\.0\.0\.1:|localhost:|--port )(8[07]\d\d)\b")
# Commands that run until they are stopped; a person has a second terminal for what follows.
_SERVING = re.compile(r"\b(?:mongostore (?:serve|studio)|uvicorn|chainlit run|fastapi run)\b")


def _answers(port: int) -> bool:
    try:
        urlopen(f"http://127.0.0.1:{port}/", timeout=_PATIENCE).close()
    except HTTPError:
        return True
    except OSError:
        return False
    return True


class Reader:
    """Runs the blocks of one page.

    Args:
        folder: The folder in which the files of the page are saved and its commands run.
        server: The address of a replica set, in the place of the one that pages name.
    """

    def __init__(self, folder: Path, server: str | None = None) -> None:
        self._folder = folder
        self._server = server
        self._ports: dict[str, str] = {}
        self._running: list[subprocess.Popen[bytes]] = []
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("MONGOSTORE_") or name == "MONGOSTORE_MONGOD"
        }
        # As a project has it in its configuration; without it a plugin of pytest warns.
        self._environment["PYTHONWARNINGS"] = "ignore:The configuration option"
        self._environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # Director is not published: a stand-in has its interface.
        self._environment["PYTHONPATH"] = os.pathsep.join(
            [str(folder), str(ROOT), str(ROOT / "tests" / "adapters" / "stand_in")]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._running:
            process.wait(_PATIENCE)

    def follow(self, block: Block) -> None:
        """Do with a block what its reader does: save it, start it, or run it and compare the output."""
        code = self._localize(block.code)
        if block.title is not None:
            (self._folder / block.title).write_text(code)
        elif block.language == "sh" and _SERVING.search(code):
            self.start(code)
        elif block.language in ("python", "sh"):
            command = [sys.executable, "-c", code] if block.language == "python" else ["sh", "-ec", code]
            self._run(command, block.output)

    def _localize(self, code: str) -> str:
        for port in _PORT.findall(code):
            free = self._ports.setdefault(port, str(free_port()))
            code = re.sub(rf"(?<=[: ]){port}\b", free, code)
        return code.replace(SERVER, self._server) if self._server else code

    def _run(self, command: list[str], output: str | None) -> None:
        ran = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr
        if output is not None:
            expected, printed = (_TIME.sub("", text) for text in (self._localize(output), ran.stdout))
            matches = OutputChecker().check_output(expected, printed, NORMALIZE_WHITESPACE)
            assert matches, f"printed:\n{ran.stdout}\nshown:\n{output}"

    @property
    def log(self) -> str:
        """The output of the commands that were started."""
        return "".join(log.read_text() for log in self._folder.glob("*.log"))

    def start(self, code: str) -> str:
        """Start a command that serves, wait until it answers, and return its address."""
        code = self._localize(code)
        [port] = {int(port) for port in re.findall(r"--port (\d+)", code)}
        log = self._folder / f"{port}.log"
        with log.open("wb") as written:
            process = subprocess.Popen(
                ["sh", "-ec", code],
                cwd=self._folder,
                env=self._environment,
                stdout=written,
                stderr=written,
                start_new_session=True,
            )
        self._running.append(process)
        deadline = time.monotonic() + _PATIENCE
        while not _answers(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        return f"http://localhost:{port}"
