"""threadmem: its SQLite file, its PostgreSQL tables or a dump of them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from mongostore.importers.columns import Columns
from mongostore.importers.digests import digest_of
from mongostore.importers.report import Report
from mongostore.importers.sources import Reading, SourceError
from mongostore.importers.tables import Row, Tables, open_tables
from mongostore.importers.units import FileUnit, LooseMessageUnit, ThreadUnit, Unit
from mongostore.importers.values import from_epoch
from mongostore.models import Element, ThreadMessage

# As the adapter keeps them: what goes beyond is a file.
_INLINE_CHARACTERS = 1024 * 1024
_OF_THREAD = ("id", "owner_id", "name", "created")
_OF_MESSAGE = ("id", "text", "created")


@dataclass(frozen=True)
class _Form:
    """Two tables that belong together."""

    threads: str
    messages: str
    speaker: str
    thread_kind: str
    message_kind: str
    data: dict[str, Any]

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        return {
            self.threads: (*_OF_THREAD, "role_mapping", "meta_data"),
            self.messages: (*_OF_MESSAGE, self.speaker, "images", "private", "thread_id"),
        }


_FORMS = (
    _Form("role_threads", "role_messages", "role", "role_thread", "role_message", {}),
    # Of older programs, whose threads the present ones do not show.
    _Form("threads", "messages", "author", "thread", "message", {"legacy": True}),
)


def read(reading: Reading) -> Generator[Unit]:
    """Yield the threads in the order of their rows, and the messages that belong to none."""
    names = [name for form in _FORMS for name in form.columns]
    tables = open_tables(reading, names)
    forms = [form for form in _FORMS if form.threads in tables.names]
    if not forms:
        raise SourceError(f"the source has no table {_FORMS[0].threads!r}")
    reading.total = 0
    for form in forms:
        tables.require(form.columns)
        tables.index(form.messages, "thread_id")
        reading.total += tables.count(form.threads)
    for form in forms:
        yield from _Source(tables, form, reading.report).units()


class _Source:
    def __init__(self, tables: Tables, form: _Form, report: Report) -> None:
        self._tables = tables
        self._form = form
        self._report = report
        self._of_threads = Columns(tables, form.threads, report)
        self._of_messages = Columns(tables, form.messages, report)

    def units(self) -> Iterator[Unit]:
        form = self._form
        for row in self._tables.rows(f"SELECT * FROM {form.threads} ORDER BY rowid"):
            if row.get("remote"):
                self._report.leave_out(form.threads, row["id"], "lives on a server: the row has no messages")
                continue
            files: list[FileUnit] = []
            elements: list[Element] = []
            for message in self._rows(row["id"], with_images=True):
                self._images(message, elements, files)
            yield ThreadUnit(
                id=row["id"],
                members=self._members(row),
                messages=(self._message(message) for message in self._rows(row["id"])),
                elements=elements,
                files=files,
            )
        for row in self._tables.rows(f"SELECT * FROM {form.messages} WHERE thread_id IS NULL ORDER BY rowid"):
            yield LooseMessageUnit(self._message(row))
        orphans = f"""
            SELECT id FROM {form.messages} WHERE thread_id NOT IN (SELECT id FROM {form.threads})
        """
        for row in self._tables.rows(orphans):
            self._report.leave_out(form.messages, row["id"], "its thread does not exist")

    def _members(self, row: Row) -> dict[str, Any]:
        data: dict[str, Any] = {
            "public": bool(row.get("public")),
            "created": row["created"],
            "updated": row.get("updated"),
            **self._form.data,
        }
        for column, prefix in (("role_mapping", "role:"), ("meta_data", "metadata:")):
            value = self._of_threads.read_json(row, column)
            if isinstance(value, dict):
                is_role = column == "role_mapping"
                data |= {prefix + name: item if is_role else [item] for name, item in value.items()}
            elif value is not None:
                data[column] = row[column]
        members = {
            "kind": self._form.thread_kind,
            "owner_id": row["owner_id"],
            "name": row["name"],
            "data": data,
            "created_at": from_epoch(row["created"]),
        }
        return {name: value for name, value in members.items() if value is not None}

    def _rows(self, thread_id: str, *, with_images: bool = False) -> Iterator[Row]:
        where = f" AND length(images) > {_INLINE_CHARACTERS}" if with_images else ""
        sql = f"SELECT * FROM {self._form.messages} WHERE thread_id = ?{where} ORDER BY created, rowid"
        return self._tables.rows(sql, thread_id)

    def _message(self, row: Row) -> ThreadMessage:
        metadata = self._of_messages.read_json(row, "meta_data")
        return ThreadMessage(
            id=row["id"],
            kind=self._form.message_kind,
            content=row["text"],
            data={
                "role": row[self._form.speaker],
                "private": bool(row["private"]),
                "created": row["created"],
                "metadata": metadata,
                "images": self._images(row, [], []),
                **self._form.data,
            },
            created_at=from_epoch(row["created"]),
        )

    def _images(self, row: Row, elements: list[Element], files: list[FileUnit]) -> list[Any]:
        """Return the images of a message as it keeps them, with files for those that are too large."""
        images = self._of_messages.read_json(row, "images")
        room, stored = _INLINE_CHARACTERS, []
        for number, image in enumerate(images if isinstance(images, list) else []):
            if not isinstance(image, str) or len(image) <= room:
                room -= len(image) if isinstance(image, str) else 0
                stored.append(image)
                continue
            key = digest_of(row["id"], number)
            content, content_type, data = _unwrap(image)
            files.append(FileUnit(key, partial(bytes, content), content_type, data))
            elements.append(Element(id=key, message_id=row["id"], file_key=key))
            stored.append({"file": key})
        return stored


def _unwrap(image: str) -> tuple[bytes, str, dict[str, Any]]:
    """Return the content of a `data:` URL with its media type and head; of another image its text."""
    head, comma, text = image.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        try:
            content = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            content = b""
        if base64.b64encode(content).decode() == text:
            media_type = head.removeprefix("data:").partition(";")[0]
            return content, media_type or "application/octet-stream", {"head": head}
    return image.encode("utf-8", "surrogatepass"), "application/octet-stream", {}
