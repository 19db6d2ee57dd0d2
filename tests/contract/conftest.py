"""What the contract tests share."""

from __future__ import annotations

import pytest

from mongostore.repositories.sessions import history, tail, writing


@pytest.fixture
def small_tails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have tails roll at 8 messages, by 4."""
    for module in (history, tail, writing):
        for name, size in (("KEEP", 4), ("FULL", 8)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, size)
