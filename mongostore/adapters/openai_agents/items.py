"""Items of the Responses API as messages, and back."""

from __future__ import annotations

import json
from typing import Any

from mongostore.arguments import check_text
from mongostore.errors import InvalidValueError
from mongostore.models import Message

# An item that the common form cannot return equal is stored whole under this name.
_WHOLE = "item"


def to_message(item: Any) -> Message:
    """Return the message of an item: its role, its text or parts as content, all else as data.

    A call of a function and its output name each other as in OpenAI's chat form.

    Raises:
        TypeError: If the item is no JSON value, in the words of `json.dumps`.
        ValueError: If it contains itself.
    """
    item = json.loads(json.dumps(item))
    members = _members_of(item)
    if members is None or to_item(message := Message(**members)) != item:
        message = Message(role="assistant", data={_WHOLE: item})
    return message


def to_item(message: Message) -> Any:
    """Return the item of a message; of a message from `to_message` the equal one."""
    data = dict(message.data)
    if data.keys() == {_WHOLE}:
        return data[_WHOLE]
    kind = data.get("type")
    item: dict[str, Any] = {"role": message.role} if kind in (None, "message") else {}
    match data:
        case {"type": "function_call", "tool_calls": [{"id": call_id, "function": dict(function)}]}:
            del data["tool_calls"]
            item |= {"call_id": call_id, **function}
        case {"type": str(), "tool_call_id": call_id}:
            del data["tool_call_id"]
            item["call_id"] = call_id
    item |= data
    if message.content is not None:
        item[_content_key(kind, has_both="summary" in data)] = message.content
    return item


def _members_of(item: Any) -> dict[str, Any] | None:
    """Return the members of an item's message, None if it has no common form."""
    if not isinstance(item, dict):
        return None
    kind, role = item.get("type"), item.get("role")
    if kind not in (None, "message"):
        role = "tool" if _is_output(kind) else "assistant"
    try:
        check_text("role", role)
    except InvalidValueError:
        return None
    key = _content_key(kind, has_both="content" in item)
    # A content of None is kept apart from none at all.
    apart = {"role", key} if item.get(key) is not None else {"role"}
    data = {name: value for name, value in item.items() if name not in apart}
    match data:
        case {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}:
            del data["call_id"], data["name"], data["arguments"]
            function = {"name": name, "arguments": arguments}
            data["tool_calls"] = [{"id": call_id, "type": "function", "function": function}]
        case {"call_id": _} if _is_output(kind):
            data["tool_call_id"] = data.pop("call_id")
    return {"role": role, "content": item.get(key), "data": data}


def _content_key(kind: Any, *, has_both: bool) -> str:
    """Return the member that people read: of tools their output, of reasoning its summary if it is all."""
    if _is_output(kind):
        return "output"
    return "summary" if kind == "reasoning" and not has_both else "content"


def _is_output(kind: Any) -> bool:
    return isinstance(kind, str) and kind.endswith("_output")
