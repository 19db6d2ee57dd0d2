"""How pages show texts, times and sizes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

# Characters that control terminals or turn the order of text around, halves of characters, and private marks.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufff9-\ufffb]"
)


def visible(text: str) -> str:
    """Return a text in which each character that would hide or reorder others stands as its code."""
    return _HIDDEN.sub(lambda found: f"⟨{ord(found[0]):04X}⟩", text)


def finalize(value: Any) -> Any:
    """Return what a template writes of a value: nothing for None, texts with hidden characters shown."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


def clock(at: datetime | None) -> str:
    """Return the time of a day, to the second."""
    return "" if at is None else f"{at.astimezone(UTC):%H:%M:%S}"


def full_time(at: datetime | None) -> str:
    """Return a time to the millisecond."""
    if at is None:
        return "not known"
    at = at.astimezone(UTC)
    return f"{day(at)} {at:%H:%M:%S}.{at.microsecond // 1000:03d} UTC"


def day(at: datetime) -> str:
    """Return a day with its year."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%B} {at.year}"


def week_day(at: datetime) -> str:
    """Return a day as transcripts are divided by it."""
    at = at.astimezone(UTC)
    year = "" if at.year == datetime.now(UTC).year else f" {at.year}"
    return f"{at:%A} {at.day} {at:%B}{year}"


def short_time(at: datetime | None) -> str:
    """Return a time as a list shows it: of today the hour, of others the day."""
    if at is None:
        return ""
    at, now = at.astimezone(UTC), datetime.now(UTC)
    if at.date() == now.date():
        return f"{at:%H:%M}"
    return f"{at.day} {at:%b}" if at.year == now.year else f"{at.day} {at:%b} {at.year}"


def iso(at: datetime | None) -> str:
    """Return a time for machines."""
    return "" if at is None else at.astimezone(UTC).isoformat()


def size(count: int) -> str:
    """Return a number of bytes."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("KB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.5 or unit == "TB":
            break
    return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:.0f} {unit}"


def seconds(duration: float) -> str:
    """Return how long something took."""
    if duration < 1:
        return f"{duration * 1000:.0f} ms"
    return f"{duration:.2f} s" if duration < 100 else f"{duration / 60:.0f} min"


def number(count: int) -> str:
    """Return a count with commas between its thousands."""
    return f"{count:,}"


def plural(counted: tuple[int, str]) -> str:
    """Return a count with its noun."""
    count, noun = counted
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def initial(name: str) -> str:
    """Return the letter that stands for a person."""
    return next((char.upper() for char in name if char.isalnum()), "?")
