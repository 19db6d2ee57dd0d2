"""New ids."""

from __future__ import annotations

import os
import time
from typing import Self
from uuid import uuid4

FRESH_SECONDS = 3.0


def generate_id() -> str:
    """Return an id that nothing else has."""
    return uuid4().hex


class GeneratedId(str):
    """A new id, which knows whether it was used: an unused one need not be looked for before it is stored.

    All copies of a message share its id and so this knowledge. In another process it counts as used,
    and so it does after a few seconds: it may have gone somewhere as text, and come from there.
    """

    __slots__ = ("_unused_in",)
    _unused_in: list[tuple[int, float]]

    def __new__(cls) -> Self:
        """Generate an id."""
        generated = super().__new__(cls, uuid4().hex)
        generated._unused_in = [(os.getpid(), time.monotonic())]
        return generated

    def claim(self) -> bool:
        """Return whether this is the first use; of calls in several threads only one is."""
        try:
            process, generated_at = self._unused_in.pop()
        except IndexError:
            return False
        return process == os.getpid() and time.monotonic() - generated_at < FRESH_SECONDS

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        self.claim()
        return str, (str(self),)
