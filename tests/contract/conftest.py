"""The server's clock, as tests of what expires move it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from mongostore.repositories.server_clock import ServerClock


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Move the server's clock forward, as the stores of this process know it."""

    def move(span: timedelta) -> None:
        micros = span // timedelta(microseconds=1)
        monkeypatch.setattr(ServerClock, "from_host", lambda clock, at: at + clock.offset + micros)

    return move
