"""Files that are at their path once they are whole, and never before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_target(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, which replaces one at its path when the `with` block ends well.

    Raises:
        OSError: If there can be no such file; names the path.
    """
    if path.exists() and not path.is_file():
        # A device or a pipe; a directory is refused.
        with path.open("wb") as target:
            yield target
        return
    part = path.with_name(f"{path.name}.part")
    try:
        target = part.open("wb")
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        with target:
            yield target
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
