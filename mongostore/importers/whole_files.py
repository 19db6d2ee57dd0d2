"""Files that others see whole, or not at all."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

if sys.platform != "win32":
    import fcntl


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of the one at a path when the block has ended well.

    A process that is killed in the block leaves a part of it under a name of its own, beside what was there:
    the next one that writes to the path deletes it. A device or a pipe is written to as it is.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            yield device
        return
    _delete_parts(path)
    part, target = _open_part(path)
    try:
        with target:
            yield target
            target.flush()
            # Else a machine that stops could leave the name without the content.
            os.fsync(target.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _open_part(path: Path) -> tuple[Path, BinaryIO]:
    """Open a part, and hold it while it is open."""
    while True:
        part = path.with_name(f"{path.name}.{uuid4().hex[:8]}.part")
        try:
            target = part.open("xb")
        except OSError as error:
            error.filename = str(path)
            raise
        if sys.platform != "win32":
            fcntl.flock(target, fcntl.LOCK_EX)
        # Another one may have met it before it was held.
        if part.exists():
            return part, target
        target.close()


def _delete_parts(path: Path) -> None:
    """Delete the parts that killed processes have left; a living one holds its own."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 8}.part"):
        with suppress(OSError):
            if sys.platform == "win32":
                # What is open stays there.
                part.unlink()
                continue
            with part.open("rb") as target:
                fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()
