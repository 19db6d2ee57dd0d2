"""Files of Chainlit's elements in GridFS, and the route that serves them."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO
from urllib.parse import quote

import jwt
from chainlit.auth.jwt import get_jwt_secret
from chainlit.data.storage_clients.base import BaseStorageClient, storage_expiry_time
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from mongostore.errors import AlreadyExistsError, InvalidValueError, NotFoundError
from mongostore.models import File
from mongostore.shared_store import SharedStore
from mongostore.store import AsyncMongoStore

_PATH = "/mongostore/files"
# So that a login token opens no file, and a file's token is no login.
_AUDIENCE = "mongostore.files"
# What a browser would run as a page of the application.
_ACTIVE = ("html", "svg", "xml", "javascript")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; media-src 'self'",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cache-Control": "private, max-age=300",
    "Accept-Ranges": "bytes",
    # Said, so that Chainlit compresses no part of a file.
    "Content-Encoding": "identity",
}
_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII | re.IGNORECASE)
_secret = secrets.token_hex(32)


class GridFSStorageClient(BaseStorageClient):
    """Keeps the files of elements in MongoDB and serves them from the Chainlit application itself.

    Addresses are signed with `CHAINLIT_AUTH_SECRET` (or, without one, a secret of this process) and are good
    for `STORAGE_EXPIRY_TIME` seconds, an hour unless said otherwise.

    Args:
        uri: As for `AsyncMongoStore`; else `MONGOSTORE_URI`.
        database: Likewise.
        store: An open store to use instead; it stays open when this client is closed.
        base_url: The beginning of addresses, such as `https://chat.example.com`, for pages of other origins;
            else they are relative to the application.
    """

    def __init__(
        self,
        uri: str | None = None,
        database: str | None = None,
        *,
        store: AsyncMongoStore | None = None,
        base_url: str = "",
    ) -> None:
        self._user = SharedStore(uri, database, store)
        self._base_url = base_url.rstrip("/")
        self._mount()

    async def upload_file(
        self,
        object_key: str,
        data: bytes | str | BinaryIO,
        mime: str = "application/octet-stream",
        overwrite: bool = True,
        content_disposition: str | None = None,
    ) -> dict[str, Any]:
        files = (await self._user.get()).threads.files
        if not overwrite and await files.exists(object_key):
            raise AlreadyExistsError("file", object_key)
        content = data.encode(errors="surrogatepass") if isinstance(data, str) else data
        metadata = {"content_disposition": content_disposition} if content_disposition else {}
        await files.upload(object_key, content, content_type=mime, data=metadata)
        return {"object_key": object_key, "url": await self.get_read_url(object_key)}

    async def delete_file(self, object_key: str) -> bool:
        store = await self._user.get()
        return await store.threads.files.delete(object_key)

    async def get_read_url(self, object_key: str) -> str:
        expires = datetime.now(UTC) + timedelta(seconds=storage_expiry_time)
        claims = {"aud": _AUDIENCE, "key": object_key, "exp": expires}
        token = jwt.encode(claims, get_jwt_secret() or _secret, algorithm="HS256")
        above = (os.environ.get(f"CHAINLIT_{name}ROOT_PATH", "") for name in ("PARENT_", ""))
        root = "".join(path.rstrip("/") for path in above)
        return f"{self._base_url}{root}{_PATH}/{token}"

    async def close(self) -> None:
        await self._user.close()

    def is_in_database_of(self, user: SharedStore) -> bool:
        """Return whether the files are kept in the database that a user of a store uses."""
        return self._user.is_same_as(user)

    def _mount(self) -> None:
        """Put the route before Chainlit's own, the last of which answers everything."""
        # Imported here, since it is the application, which does much when it is imported.
        from chainlit.config import config
        from chainlit.server import app

        path = f"{config.run.root_path}{_PATH}/{{token}}"
        routes = app.router.routes
        routes[:] = [route for route in routes if getattr(route, "path", None) != path]
        routes.insert(0, Route(path, self._serve))

    async def _serve(self, request: Request) -> Response:
        try:
            key = jwt.decode(
                request.path_params["token"],
                get_jwt_secret() or _secret,
                algorithms=["HS256"],
                audience=_AUDIENCE,
                options={"require": ["exp", "key"]},
            )["key"]
            asked = request.headers.get("range", "")
            file, span, content = await _open(await self._user.get(), key, asked)
        except (jwt.InvalidTokenError, InvalidValueError, NotFoundError):
            return PlainTextResponse("Not found", 404, headers=_HEADERS)
        kind = file.content_type.encode("latin-1", errors="replace").decode("latin-1")
        headers = {**_HEADERS, "Content-Type": kind, "Content-Disposition": _disposition(file)}
        start, end = span or (0, file.size)
        if span and start >= end:
            return Response(status_code=416, headers={**_HEADERS, "Content-Range": f"bytes */{file.size}"})
        if span:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        headers["Content-Length"] = str(end - start)
        if request.method == "HEAD":
            return Response(status_code=206 if span else 200, headers=headers)
        return StreamingResponse(content, 206 if span else 200, headers=headers)


async def _open(
    store: AsyncMongoStore, key: str, asked: str
) -> tuple[File, tuple[int, int] | None, AsyncIterator[bytes]]:
    """Return a file, the part that a Range header asks for, and its content, all of one upload.

    Raises:
        NotFoundError: There is no such file.
    """
    files = store.threads.files
    while True:
        file = await files.get(key)
        span = _byte_range(asked, file.size)
        start, end = span or (0, file.size)
        content = files.iter_content(key, start=min(start, end), end=end)
        try:
            first = await anext(content, b"")
        except InvalidValueError:
            # A smaller one is in its place.
            continue
        # From its first piece on the content stays that of one upload.
        if await files.get(key) == file:
            return file, span, _following(first, content)


async def _following(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _disposition(file: File) -> str:
    if disposition := file.data.get("content_disposition"):
        return str(disposition)
    kind = "attachment" if any(word in file.content_type.lower() for word in _ACTIVE) else "inline"
    return f"{kind}; filename*=UTF-8''{quote(file.key.rsplit('/', 1)[-1])}"


def _byte_range(asked: str, size: int) -> tuple[int, int] | None:
    """Return the first byte that a Range header asks for and the one behind the last, beyond the end or not.

    What asks for several, or is malformed, asks for the whole: None.
    """
    match = _RANGE.fullmatch(asked)
    first, last = match.groups() if match else ("", "")
    if not first:
        return (max(size - int(last), 0), size) if last else None
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size
