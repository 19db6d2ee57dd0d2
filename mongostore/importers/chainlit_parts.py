"""Parts of Chainlit's threads, from any of its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mongostore.importers.report import Report
from mongostore.importers.sources import Reading
from mongostore.importers.tables import Row
from mongostore.importers.units import FileUnit
from mongostore.importers.values import find_inside
from mongostore.models import Element, Feedback
from mongostore.models.threads import element_file_key

_UNTYPED = "application/octet-stream"


def vote_of(row: Row) -> int | None:
    """Return the value of a feedback; None if it is no whole number."""
    value = row["value"]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def to_feedback(table: str, row: Row, message_id: str, report: Report) -> Feedback | None:
    """Return a feedback; None, which is reported, if its value is no whole number."""
    value = vote_of(row)
    if value is None:
        reason = f"value {row['value']!r} is no integer: kept in the message's data.feedbacks"
        report.warn(table, row["id"], reason)
        return None
    return Feedback(id=row["id"], message_id=message_id, value=value, comment=row.get("comment"))


def to_element(
    reading: Reading,
    table: str,
    thread_id: str,
    message_id: str,
    element_id: str,
    data: dict[str, Any],
    files: list[FileUnit],
) -> Element:
    """Return an element with its file, if that is in the folder of the options."""
    key = data.get("objectKey")
    path: Path | None = None
    if isinstance(key, str):
        folder = reading.options.files
        path = None if folder is None else find_inside(folder, key)
        if path is None:
            reading.report.warn(table, element_id, f"its file {key!r} is not in the folder of --files")
    if path is None:
        return Element(id=element_id, message_id=message_id, data=data)
    file_key = element_file_key(thread_id, element_id, str(data.get("name") or "file"))
    mime = data.get("mime")
    content_type = mime if isinstance(mime, str) and mime else _UNTYPED
    files.append(FileUnit(file_key, lambda: path, content_type))
    rest = {name: value for name, value in data.items() if name != "objectKey"}
    return Element(id=element_id, message_id=message_id, file_key=file_key, data=rest)
