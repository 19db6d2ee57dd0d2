"""Other callers that act between two steps of a call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

import pytest

Act = Callable[[], Awaitable[object]]


async def run_apart(act: Act) -> None:
    """Act as another caller does, who is no part of the call that runs."""

    async def run() -> None:
        await act()

    await asyncio.get_running_loop().create_task(run(), context=Context())


def act_before(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Act) -> None:
    """Let another caller act before the next call of a function."""
    function = getattr(owner, name)

    async def call(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, name, function)
        await run_apart(act)
        return await function(*arguments, **options)

    monkeypatch.setattr(owner, name, call)


def act_after(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Act) -> None:
    """Let another caller act behind the next call of a function."""
    function = getattr(owner, name)

    async def call(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, name, function)
        result = await function(*arguments, **options)
        await run_apart(act)
        return result

    monkeypatch.setattr(owner, name, call)
