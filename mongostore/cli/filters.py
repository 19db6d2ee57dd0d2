"""The options by which commands choose conversations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from mongostore.cli.conversations import parse_time
from mongostore.errors import InvalidValueError


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except InvalidValueError as error:
        raise typer.BadParameter(str(error)) from None


Since = Annotated[
    datetime | None,
    typer.Option(parser=_time, metavar="TIME", help="Active since: 2026-07-04, 2026-07-04T12:00Z or 90d."),
]
Until = Annotated[datetime | None, typer.Option(parser=_time, metavar="TIME", help="Active before.")]
Metadata = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="With this metadata, JSON or text; may be repeated."),
]
Participant = Annotated[
    str | None, typer.Option(metavar="ID", help="With this participant; of a thread its user or owner.")
]


def to_filter(
    since: datetime | None, until: datetime | None, metadata: Sequence[str] | None, participant: str | None
) -> dict[str, Any]:
    """Return the filters of a list that options mean."""
    filter: dict[str, Any] = {"since": since, "until": until, "participant_id": participant}
    if metadata:
        filter["metadata"] = dict(map(_pair, metadata))
    return {name: value for name, value in filter.items() if value is not None}


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter("must be KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
