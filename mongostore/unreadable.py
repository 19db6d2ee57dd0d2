"""The log of stored things that cannot be read, where the others are shown without them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from mongostore.errors import InvalidDocumentError

_log: Final = logging.getLogger("mongostore.documents")


def log_unreadable(errors: Sequence[InvalidDocumentError]) -> None:
    """Log at WARNING what one reading passed over: the first by its id, the others by their number."""
    if not errors:
        return
    context = {"kind": errors[0].kind, "id": errors[0].id}
    reason = ", ".join(errors[0].fields)
    if more := len(errors) - 1:
        reason += f"; and {more:,} more"
    _log.warning("passed over %s %r, which cannot be read: %s", *context.values(), reason, extra=context)
