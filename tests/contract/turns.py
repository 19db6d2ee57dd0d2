"""What tests of chat turns share."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore import AsyncMongoStore, Turn
from mongostore.repositories.sessions import AsyncSessions, TailLimits

# Has tails roll at 8 messages, by 4.
SMALL_TAILS = pytest.mark.parametrize("tail_limits", [TailLimits(keep=4, full=8)], ids=["small-tails"])


def new_turns(*contents: Any) -> list[Turn]:
    return [Turn(role="user", content=content) for content in contents]


def insights_of(participant: str, turns: Any) -> list[Any]:
    return [f"{participant}: {turn.content}" for turn in turns]


async def contents(store: AsyncMongoStore, participant: str, session_id: str = "s") -> list[tuple[int, Any]]:
    turns = store.sessions.turns.iter(session_id, participant)
    return [(turn.number or 0, turn.content) async for turn in turns]


async def numbers(sessions: AsyncSessions, participant: str, turns: list[Turn]) -> list[int | None]:
    """Append turns to the session `s` and return the numbers that they got."""
    return [turn.number for turn in await sessions.turns.append_many("s", participant, turns)]
