"""Files that others see whole, or not at all."""

from __future__ import annotations

import glob
import os
import stat
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
    the next one that writes to the path deletes it. The new file is read by those who could read the old one,
    and a link leads to it as before. A device or a pipe is written to as it is.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            yield device
        return
    real_path = Path(os.path.realpath(path))
    _delete_parts(real_path)
    try:
        part, target = _open_part(real_path)
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        with target:
            if real_path.exists():
                part.chmod(stat.S_IMODE(real_path.stat().st_mode))
            yield target
            target.flush()
            # Else a machine that stops could leave the name without the content.
            os.fsync(target.fileno())
        part.replace(real_path)
    finally:
        part.unlink(missing_ok=True)


def _part_stem(path: Path) -> str:
    """Return how the names of its parts begin: a name has 255 bytes at most, and a character four."""
    return path.name[:60]


def _open_part(path: Path) -> tuple[Path, BinaryIO]:
    """Open a part, and hold it while it is open."""
    while True:
        part = path.with_name(f"{_part_stem(path)}.{uuid4().hex[:8]}.part")
        target = part.open("xb")
        if sys.platform != "win32":
            # Where files cannot be held, none is deleted either.
            with suppress(OSError):
                fcntl.flock(target, fcntl.LOCK_EX)
        # Another one may have met it before it was held.
        if part.exists():
            return part, target
        target.close()


def _delete_parts(path: Path) -> None:
    """Delete the parts that killed processes have left; a living one holds its own."""
    for part in path.parent.glob(f"{glob.escape(_part_stem(path))}.{'[0-9a-f]' * 8}.part"):
        with suppress(OSError):
            if sys.platform == "win32":
                # What is open stays there.
                part.unlink()
                continue
            with part.open("rb") as target:
                fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()
