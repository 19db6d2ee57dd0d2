"""How tests say something to a database of Director, and read it."""

from __future__ import annotations

import json
from typing import Any


def say(db: Any, /, msg_id: str = "m", content: Any = "text", **members: Any) -> None:
    sent = {"session_id": "s", "conv_id": "c", "msg_type": "output", "agents": [], "actions": []}
    db.add_or_update_msg_to_conv(**{**sent, "msg_id": msg_id, "content": content, **members})


def ids(db: Any, session_id: str = "s") -> list[str]:
    return [row["msg_id"] for row in db.get_conversations(session_id)]


def nested(depth: int) -> Any:
    value: Any = "core"
    for _ in range(depth):
        value = [value]
    return value


def text(value: Any) -> str:
    """The form in which values differ: 1, 1.0 and true, the order of keys, and NaN, which equals nothing."""
    return json.dumps(value)
