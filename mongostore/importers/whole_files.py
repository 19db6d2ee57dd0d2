"""Files that others see whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of the one at a path when the block has ended well.

    A process that is killed in the block leaves a part of it under a name of its own, beside what was there.
    A device or a pipe is written to as it is.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as target:
            yield target
        return
    part = path.with_name(f"{path.name}.{uuid4().hex[:8]}.part")
    try:
        target = part.open("xb")
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        with target:
            yield target
            target.flush()
            # Else a machine that stops could leave the name without the content.
            os.fsync(target.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
