"""Items of OpenAI's Responses API, as the Agents SDK stores them, as messages."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from mongostore.importers.report import Report
from mongostore.importers.values import rest_of
from mongostore.models import Message


def to_message(
    item: Any, id: str, created_at: datetime | None, *, conversation_id: str = "default"
) -> Message | None:
    """Return the message of an item; None if it is no object.

    An item that has no role gets that of its speaker; `data.type` marks that it had none.
    """
    if not isinstance(item, dict):
        return None
    role, data = item.get("role"), rest_of(item, "role", "content")
    if not isinstance(role, str) or not role:
        role = role_of(item)
        if "role" in item:
            data["role"] = item["role"]
    if "content" in item and item["content"] is None:
        data["content_absent"] = True
    return Message(
        id=id,
        conversation_id=conversation_id,
        role=role,
        content=item.get("content"),
        data=data,
        created_at=created_at,
    )


def role_of(item: dict[str, Any]) -> str:
    """Return the role of the speaker of an item that has none."""
    kind = item.get("type")
    return "tool" if isinstance(kind, str) and kind.endswith("_output") else "assistant"


def parse_item(text: Any, table: str, key: object, report: Report) -> Any:
    """Return the item in a text; None for what is no JSON, which is reported."""
    if not isinstance(text, str):
        report.refuse(table, key, "message_data is neither text nor a list")
        return None
    try:
        item = json.loads(text)
    except (ValueError, RecursionError):
        report.refuse(table, key, "message_data is not JSON")
        return None
    if not isinstance(item, dict):
        report.refuse(table, key, "message_data is no JSON object")
        return None
    return item
