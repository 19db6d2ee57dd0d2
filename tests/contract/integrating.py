"""What tests of integrations share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mongostore import IntegrationStatus, Session, Turn

FAILED, INTEGRATED, NOTHING_NEW = (
    IntegrationStatus.FAILED,
    IntegrationStatus.INTEGRATED,
    IntegrationStatus.NOTHING_NEW,
)


def contents_of(participant: str, turns: Sequence[Turn]) -> list[Any]:
    return [turn.content for turn in turns]


def insights_of(session: Session) -> list[list[Any]]:
    return [one.insights for one in session.participants]


class Integrator:
    """Notes what it is handed, and does something meanwhile."""

    def __init__(self, meanwhile: Any = None) -> None:
        self.handed: list[tuple[str, list[int | None]]] = []
        self._meanwhile = meanwhile

    async def __call__(self, participant: str, turns: Sequence[Turn]) -> list[Any]:
        self.handed.append((participant, [turn.number for turn in turns]))
        if self._meanwhile and len(self.handed) == 1:
            await self._meanwhile()
        return contents_of(participant, turns)
