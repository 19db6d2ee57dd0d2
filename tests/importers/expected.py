"""Compares what is stored with what a sample has to become."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mongostore import AsyncMongoStore, Message
from mongostore.importers import Report

DATA = Path(__file__).with_name("data")


def load(folder: str, name: str = "expected.json") -> dict[str, Any]:
    """Return what a sample says that has to be there."""
    expected: dict[str, Any] = json.loads((DATA / folder / name).read_text())
    return expected


def matches(expected: Any, actual: Any, *, whole: bool = True) -> bool:
    """Return whether a value is the expected one; not `whole`, it may have members beside these."""
    match expected:
        case {"$text": {"characters": characters, "sha256": digest}}:
            text = actual.encode("utf-8", "surrogatepass")
            return len(actual) == characters and hashlib.sha256(text).hexdigest() == digest
        case {"$float": "nan"}:
            return isinstance(actual, float) and math.isnan(actual)
        case dict():
            return (
                isinstance(actual, dict)
                and (expected.keys() == actual.keys() if whole else expected.keys() <= actual.keys())
                and all(matches(value, actual[name]) for name, value in expected.items())
            )
        case list():
            return (
                isinstance(actual, list)
                and len(expected) == len(actual)
                and all(map(matches, expected, actual))
            )
    return type(expected) is type(actual) and bool(expected == actual)


def time_of(text: str | None) -> datetime | None:
    """Return a time of a sample; None if it is unknown."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


async def check_session(store: AsyncMongoStore, expected: dict[str, Any], namespace: str = "default") -> None:
    """Check a session with all its messages."""
    sessions = store.sessions.in_namespace(namespace)
    session = await sessions.get(expected["id"])
    for name in ("name", "description", "user_id"):
        if name in expected:
            assert getattr(session, name) == expected[name]
    if expected.get("created_at"):
        assert session.created_at == time_of(expected["created_at"])
    if expected.get("data"):
        assert matches(expected["data"], session.data, whole=False)
    if "context" in expected:
        assert matches(expected["context"], await sessions.context.get(session.id))
    stored = [message async for message in sessions.messages.iter(session.id)]
    assert [message.id for message in stored] == [message["id"] for message in expected["messages"]]
    for one, message in zip(expected["messages"], stored, strict=True):
        check_message(one, message)
    if "path" in expected:
        path = [message.id for message in stored if message.conversation_id == "default"]
        assert path == expected["path"]


def check_message(expected: dict[str, Any], message: Message) -> None:
    """Check one message."""
    for name in ("role", "conversation_id"):
        if name in expected:
            assert getattr(message, name) == expected[name]
    for name in ("created_at", "updated_at"):
        if expected.get(name):
            assert getattr(message, name) == time_of(expected[name])
    if "content" in expected:
        assert matches(expected["content"], message.content)
    if "data" in expected:
        assert matches(expected["data"], message.data)
    for name in ("attachments", "files", "parent"):
        if name in expected:
            assert matches(expected[name], message.data[name])
    if "metadata" in expected:
        assert matches(expected["metadata"], message.metadata, whole=False)
    if "item" in expected:
        assert matches(expected["item"], to_item(message))


def to_item(message: Message) -> dict[str, Any]:
    """Return the item of the Responses API that became a message."""
    item = dict(message.data)
    was_null = item.pop("content_absent", False)
    if item.get("type", "message") == "message":
        item["role"] = message.role
    if message.content is not None or was_null:
        item["content"] = message.content
    return item


def named(report: Report, kind: str) -> list[tuple[str, str]]:
    """Return the table and key of each row that a report names."""
    return [(row.table, row.key) for row in getattr(report, kind).first]


def numbers(report: Report, noun: str) -> tuple[int, int, int, int, int]:
    """Return how many of a noun were read, new, known, changed and refused."""
    counts = report.of(noun)
    return counts.read, counts.new, counts.known, counts.changed, counts.refused
