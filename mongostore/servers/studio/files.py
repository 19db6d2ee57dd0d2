"""Stored bytes: as images that browsers draw, or as downloads that they do not open."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from mongostore.servers.error_responses import ProblemError
from mongostore.servers.studio.addresses import decode_id
from mongostore.servers.studio.content import decode_image, image_type, read_content
from mongostore.servers.studio.frame import WholeStudio

# Nothing in a file runs, whatever it is, and however it is opened.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HEAD_BYTES = 16
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?\Z")

router: Final = APIRouter()


@router.get("/files/{key}")
async def file(request: Request, studio: WholeStudio, key: str) -> Response:
    """Return a file: as an attachment, but to an `<img>` an image."""
    files = studio.store.threads.files
    key = decode_id(key)
    stored = await files.get(key)
    head = b"".join([part async for part in files.iter_content(key, end=min(_HEAD_BYTES, stored.size))])
    is_image = request.headers.get("sec-fetch-dest") == "image"
    drawn = image_type(head) if is_image else None
    start, end, status, extra = 0, stored.size, 200, {"Accept-Ranges": "bytes"}
    found = _RANGE.match(request.headers.get("range", ""))
    # One that ends before it begins is none.
    if found is not None and int(found[2] or found[1]) >= int(found[1]):
        start, end = int(found[1]), min(int(found[2] or stored.size) + 1, stored.size)
        if start >= stored.size:
            return Response(status_code=416, headers=_HEADERS | {"Content-Range": f"bytes */{stored.size}"})
        status, extra = 206, extra | {"Content-Range": f"bytes {start}-{end - 1}/{stored.size}"}
    headers = (
        _HEADERS | extra | {"Content-Length": str(end - start)} | _disposition(drawn, key.rpartition("/")[2])
    )

    async def stream() -> AsyncIterator[bytes]:
        async for part in files.iter_content(key, start=start, end=end):
            yield part

    return StreamingResponse(stream(), status, headers, drawn or "application/octet-stream")


def image_response(content: Any, data: dict[str, Any], number: int, name: str) -> Response:
    """Return an image that stands inside of a message; as an attachment where browsers do not draw it."""
    for block in read_content(content, data).blocks:
        if block.kind == "image" and block.number == number:
            image = decode_image(block) or b""
            drawn = image_type(image)
            headers = _HEADERS | _disposition(drawn, block.name or name)
            return Response(image, headers=headers, media_type=drawn or "application/octet-stream")
    raise ProblemError(404, "The message has no such image")


def _disposition(drawn: str | None, name: str) -> dict[str, str]:
    if drawn is not None:
        return {"Content-Disposition": "inline"}
    quoted = quote(name[-200:] or "file", safe="", errors="replace")
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quoted}"}
