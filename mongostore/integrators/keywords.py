"""The default integrator: keywords, found without a model, the same for the same turns every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, Timer
from typing import Any
from weakref import finalize

from mongostore.errors import ConfigurationError
from mongostore.integrators.transcripts import parts_of
from mongostore.models import Turn

_CHARACTERS = 20_000
# The process answers within some seconds of CPU time; a machine that is so busy gives no more.
_ANSWER_SECONDS = 60.0
_COMMAND = [sys.executable, "-P", str(Path(__file__).with_name("yake_process.py"))]


class KeywordIntegrator:
    """Finds the keywords of chat turns by YAKE, which knows English best and needs nothing but the text.

    It blocks while a process of its own works, so that no text slows this one down, or keeps it from
    ending. A text that takes too long has no keywords.

    Raises:
        ConfigurationError: If YAKE is not installed.
    """

    def __init__(self) -> None:
        if find_spec("yake") is None:
            raise ConfigurationError("the integrator keywords needs mongostore[api]")
        self._processes = _Processes()
        self._end = finalize(self, self._processes.end)

    def __call__(self, participant: str, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        """Return an insight for each 20,000 characters: their keywords and their first and last turn.

        Raises:
            TimeoutError: If the process does not answer within a minute, or was ended.
        """
        parts = list(parts_of(turns, _CHARACTERS))
        texts = ["\n".join(text for _, text in part) for part in parts]
        return [
            {
                "kind": "keywords",
                "keywords": keywords,
                "first_turn": part[0][0].number,
                "last_turn": part[-1][0].number,
            }
            for part, keywords in zip(parts, self._processes.extract(texts) if texts else [], strict=True)
        ]

    def start(self) -> None:
        """Start a process ahead, so that the first call does not wait for it."""
        self._processes.start()

    def close(self) -> None:
        """End the processes; calls under way raise TimeoutError, later calls start new ones."""
        self._processes.end()


class _Processes:
    """As many processes as there are calls at the same time, each for one call after another."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._owner = 0
        self._idle: list[subprocess.Popen[bytes]] = []
        self._running: set[subprocess.Popen[bytes]] = set()

    def extract(self, texts: list[str]) -> list[list[str]]:
        """Return the keywords of texts.

        Raises:
            TimeoutError: If the process does not answer, or was ended.
        """
        process = self._acquire()
        assert process.stdin is not None
        assert process.stdout is not None
        timer = Timer(_ANSWER_SECONDS, process.kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(json.dumps(texts).encode() + b"\n")
            process.stdin.flush()
            found: list[list[str]] = json.loads(process.stdout.readline())
        except (OSError, ValueError):
            self._drop(process)
            raise TimeoutError("the keywords' process was ended") from None
        finally:
            timer.cancel()
        with self._lock:
            if process in self._running:
                self._idle.append(process)
        return found

    def start(self) -> None:
        """Start a process unless there is one."""
        process = self._acquire()
        with self._lock:
            self._idle.append(process)

    def end(self) -> None:
        """End all processes."""
        with self._lock:
            running, self._running, self._idle = self._running, set(), []
        if self._owner == os.getpid():
            for process in running:
                _kill(process)

    def _acquire(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._owner != os.getpid():
                # The pipes of a process from before a fork are its parent's.
                self._owner, self._idle, self._running = os.getpid(), [], set()
            if self._idle:
                return self._idle.pop()
            process = subprocess.Popen(
                _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._running.add(process)
            return process

    def _drop(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running.discard(process)
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
