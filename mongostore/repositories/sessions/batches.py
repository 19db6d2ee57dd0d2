"""Batches of messages or turns, which one write appends: their limits, and whether they are there already."""

from __future__ import annotations

from collections.abc import Sequence

from mongostore.codec import is_same
from mongostore.documents.mapping import MAX_VALUE_BYTES, StoredDocument, bson_size
from mongostore.documents.sessions import EMPTY
from mongostore.errors import DocumentTooLargeError, InvalidValueError

BATCH_MESSAGES = 1000
# With the other parts of a session at their limits, its document still holds a batch.
BATCH_BYTES = 6 * 1024 * 1024


def find_large(
    path: str, names: Sequence[str], entries: Sequence[StoredDocument], embed_bytes: int
) -> list[int]:
    """Return the indexes of those entries of a batch that are too large to be embedded, alone or together."""
    if len(entries) > BATCH_MESSAGES:
        raise InvalidValueError(
            path, f"are {len(entries)}; at most {BATCH_MESSAGES} can be appended in one step"
        )
    if len({entry["id"] for entry in entries}) < len(entries):
        raise InvalidValueError(path, "hold the same id twice")
    sizes = [bson_size(name, entry) for name, entry in zip(names, entries, strict=True)]
    for name, size in zip(names, sizes, strict=True):
        if size > MAX_VALUE_BYTES:
            raise DocumentTooLargeError(name, size, MAX_VALUE_BYTES)
    together, count = sum(sizes), 0
    if together <= min(embed_bytes, BATCH_BYTES):
        return []
    # The largest first, until the others fit into one write.
    falling = sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True)
    for index in falling:
        if sizes[index] <= embed_bytes and together <= BATCH_BYTES:
            break
        together -= sizes[index]
        count += 1
    return sorted(falling[:count])


def has_other_content(stored: StoredDocument, new: StoredDocument, fields: Sequence[str]) -> bool:
    """Return whether two stored messages or turns differ in one of the fields."""
    one, other = ({name: {**EMPTY, **entry}[name] for name in fields} for entry in (stored, new))
    return not is_same(one, other)
