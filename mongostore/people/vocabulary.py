"""The rest of a value when its words go: its shape, and the names of its kinds."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any

# A type, a role, a status: such words stay where others have the same one in the same place.
_KIND = re.compile(r"[a-z][a-z0-9_.:/-]{0,31}")

Path = tuple[str, ...]


class Vocabulary:
    """The words that say of which kind things are, as others have them in the same places.

    Args:
        values: The words of others.
        names: The names of the person, which are never such words.
        ids: The values that stay in any place, such as the ids of channels.
    """

    def __init__(self, values: Iterable[Any], names: Collection[str], ids: Collection[str]) -> None:
        self._names = names
        self._ids = {*ids} - {*names}
        self._words = {
            (path, text)
            for value in values
            for path, text in _texts(value, ())
            if _KIND.fullmatch(text) and text not in names
        }

    def blank(self, value: Any, path: Path = ()) -> Any:
        """Return a value with the same shape, its texts empty and its numbers 0.

        Flags, times and the words of the vocabulary stay, so that what reads it still can.
        """
        match value:
            case dict():
                return {
                    key: self.blank(one, (*path, key)) for key, one in value.items() if key not in self._names
                }
            case list():
                return [self.blank(one, (*path, "")) for one in value]
            case str():
                stays = value in self._ids or (path, value) in self._words or _is_time(value)
                return value if stays else ""
            case bool() | None:
                return value
        return 0


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    match value:
        case dict():
            for key, one in value.items():
                yield from _texts(one, (*path, key))
        case list():
            for one in value:
                yield from _texts(one, (*path, ""))
        case str():
            yield path, value


def _is_time(text: str) -> bool:
    # A date alone may be a birthday.
    if "T" not in text:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
