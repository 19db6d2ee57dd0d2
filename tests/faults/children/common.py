"""What the child processes share."""

import json

from mongostore.repositories.sessions import TailLimits


def limits_of(given: str) -> TailLimits:
    """Return the limits that a parent has given as JSON; it and its children must have the same."""
    return TailLimits(**json.loads(given))
