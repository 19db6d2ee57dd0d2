"""Times, texts and files as sources write them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

_MILLISECONDS_FROM = 100_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_epoch(value: Any) -> datetime | None:
    """Return the time of a number of seconds, or of milliseconds if it is above 10^11; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    seconds = value / 1000 if abs(value) > _MILLISECONDS_FROM else value
    with suppress(OverflowError, ValueError):
        return _EPOCH + timedelta(seconds=seconds)
    return None


def from_text(value: Any, zone: tzinfo = UTC) -> datetime | None:
    """Return the time of an ISO text, in a zone if it has none of its own; None if it has no time."""
    if not isinstance(value, str):
        return None
    with suppress(ValueError, OverflowError):
        time = datetime.fromisoformat(value.strip())
        return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)
    return None


def to_time(value: Any) -> datetime | None:
    """Return the time of a number since 1970 or of an ISO text; None if it has none."""
    return from_epoch(value) if isinstance(value, int | float) else from_text(value)


def unread_times(value: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return those members that should be times and are none, to keep them as they are."""
    return {
        name: value[name] for name in names if value.get(name) is not None and to_time(value[name]) is None
    }


def text_or_none(value: Any) -> str | None:
    """Return a text that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def rest_of(value: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the members of an object but those with these names."""
    return {name: item for name, item in value.items() if name not in names}


def find_inside(folder: Path, name: str) -> Path | None:
    """Return a file of a folder; None if it is not there, or would be outside."""
    root = folder.resolve()
    path = (root / name.lstrip("/")).resolve()
    return path if path.is_relative_to(root) and path.is_file() else None
