"""The log of writes that Chainlit starts as tasks of their own, whose errors reach no caller."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from mongostore.errors import MongoStoreError, NotFoundError

logger: Final = logging.getLogger(__name__)

# As many as an id of the front end's has, and more.
_LOGGED_CHARACTERS = 80


@asynccontextmanager
async def log_failures(kind: str, id: str) -> AsyncIterator[None]:
    """Drop writes to things that were deleted since they began, and log other failures."""
    # A caller of Chainlit's routes chooses the id: no line break or terminal sequence of theirs is logged.
    id = str(id)[:_LOGGED_CHARACTERS]
    name = f"{kind} {id if id.isprintable() else repr(id)}"
    try:
        yield
    except NotFoundError as error:
        if error.kind not in ("thread", "message", "element"):
            logger.error("%s is not stored: there is no such %s", name, error.kind)
            raise
        logger.debug("%s is dropped: it was deleted, or its %s", name, error.kind)
    except MongoStoreError as error:
        logger.error("%s is not stored: %s", name, error)
        raise
    except Exception as error:
        # The words of others may quote what was to be stored.
        logger.error("%s is not stored: %s", name, type(error).__name__)
        raise
