"""Access: by the token that the command has printed, or by API keys; and from which host."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from mongostore.models import ApiKey
from mongostore.models.keys import ALL_NAMESPACES
from mongostore.servers.access import comes_from_elsewhere, names_loopback
from mongostore.servers.error_responses import ProblemError
from mongostore.store import AsyncMongoStore


@dataclass(frozen=True)
class Viewer:
    """A reader of the studio.

    Attributes:
        namespaces: The only namespaces that are seen; None for all, and for threads, rooms and people, too.
    """

    namespaces: tuple[str, ...] | None = None

    @property
    def sees_all(self) -> bool:
        """Whether all is seen."""
        return self.namespaces is None

    def require(self, namespace: str | None = None) -> None:
        """Refuse what is not seen: a namespace, or what belongs to none."""
        if self.namespaces is not None and namespace not in self.namespaces:
            raise ProblemError(404)


class StudioAccess:
    """Knows viewers by a cookie, which a token or a key was traded for, or by a key in the header.

    Args:
        store: The store with the keys.
        token: The token of a studio on this machine; None where keys are needed.
    """

    def __init__(self, store: AsyncMongoStore, token: str | None) -> None:
        self._store = store
        self._token = token

    @property
    def needs_key(self) -> bool:
        """Whether a key is asked for, and not the token of the command."""
        return self._token is None

    async def authenticate(self, request: Request) -> Viewer:
        """Return who looks."""
        self.check_source(request)
        secret = self._secret_of(request)
        if self._token is not None:
            if not hmac.compare_digest(secret.encode(), self._cookie_of(self._token).encode()):
                raise ProblemError(401, "Open the address that `mongostore studio` has printed")
            return Viewer()
        key = await self._store.keys.verify(secret)
        if key is None:
            raise ProblemError(
                401,
                "A key is needed: one that `mongostore keys create` has made",
                headers={"WWW-Authenticate": "Bearer"},
            )
        request.state.key = key.id
        return _viewer_of(key)

    def sign(self, request: Request, text: str) -> str:
        """Return a signature of a text for the caller of a request, which all processes make."""
        return hmac.new(self._secret_of(request).encode(), text.encode(), hashlib.sha256).hexdigest()

    async def admit(self, request: Request, secret: str, response: Response) -> None:
        """Trade a token or a key for the cookie."""
        self._check_host(request)
        if self._token is not None:
            if not hmac.compare_digest(secret.encode(), self._token.encode()):
                raise ProblemError(
                    401, "The token is that of another studio: open the address it has printed"
                )
            value = self._cookie_of(self._token)
        else:
            if await self._store.keys.verify(secret) is None:
                raise ProblemError(401, "The key is not valid")
            value = secret
        response.set_cookie(
            self._cookie_name(request),
            value,
            path=request.scope.get("root_path", "") or "/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    def check_source(self, request: Request) -> None:
        """Refuse requests of pages from elsewhere, and of names that lead here only by a trick."""
        self._check_host(request)
        if comes_from_elsewhere(request.headers):
            raise ProblemError(403, "The studio answers its own pages alone")

    def _check_host(self, request: Request) -> None:
        if self._token is not None and not names_loopback(request.headers):
            raise ProblemError(403, "Without keys, the studio answers this machine alone")

    def _secret_of(self, request: Request) -> str:
        """Return the cookie of a request, or the key in its header, where one is needed."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if self._token is None and scheme.lower() == "bearer":
            return token
        return request.cookies.get(self._cookie_name(request), "")

    def _cookie_name(self, request: Request) -> str:
        """Return a name of this studio's own: those of one host share its cookies, whatever their ports."""
        named = (request.headers.get("host", ""), request.scope.get("root_path", ""), self._token or "")
        return f"mongostore_studio_{hashlib.sha256(repr(named).encode()).hexdigest()[:16]}"

    @staticmethod
    def _cookie_of(token: str) -> str:
        return hashlib.sha256(f"studio {token}".encode()).hexdigest()


def _viewer_of(key: ApiKey) -> Viewer:
    return Viewer(None if key.namespaces == [ALL_NAMESPACES] else tuple(key.namespaces))


async def _look(request: Request) -> Viewer:
    await request.app.state.studio.open()
    access: StudioAccess = request.app.state.studio.access
    return await access.authenticate(request)


# Who looks at a page; others are refused.
Looking = Annotated[Viewer, Depends(_look)]
