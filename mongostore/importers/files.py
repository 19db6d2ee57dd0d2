"""Stores the files of units; one that is there with the same content is left as it is."""

from __future__ import annotations

import asyncio
import hashlib
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from mongostore.errors import NotFoundError
from mongostore.importers.report import REFUSALS, RefusedError, Report
from mongostore.importers.sources import SourceError
from mongostore.importers.units import FileUnit
from mongostore.store import AsyncMongoStore


async def write_files(
    store: AsyncMongoStore, units: Iterable[FileUnit], report: Report, writes: bool
) -> None:
    """Store files and read them back."""
    counts = report.of("files")
    files = store.threads.files
    for unit in units:
        counts.read += 1
        try:
            content = await asyncio.to_thread(unit.read)
            digest = await asyncio.to_thread(_sha256, content)
        except (OSError, SourceError, zipfile.BadZipFile, zlib.error) as error:
            counts.refused += 1
            report.refuse("files", unit.key, f"cannot be read ({type(error).__name__})")
            continue
        try:
            if await _stored_sha256(store, unit.key) == digest:
                counts.known += 1
            elif not writes:
                counts.new += 1
            else:
                await files.upload(unit.key, content, content_type=unit.content_type, data=unit.data)
                if await _stored_sha256(store, unit.key) != digest:
                    raise RefusedError("what is stored differs from the source")
                counts.new += 1
        except (*REFUSALS, RefusedError) as error:
            counts.refused += 1
            report.refuse("files", unit.key, str(error))
        else:
            report.add_digest(f"files/{unit.key}", digest)


async def _stored_sha256(store: AsyncMongoStore, key: str) -> str | None:
    digest = hashlib.sha256()
    try:
        async for piece in store.threads.files.iter_content(key):
            digest.update(piece)
    except NotFoundError:
        return None
    return digest.hexdigest()


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
