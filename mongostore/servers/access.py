"""Access to a server: by API keys, as soon as there is one, and before a body is read."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.types import Scope

from mongostore.models import ApiKey
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.rate_limits import RateLimit
from mongostore.store import AsyncMongoStore

bearer: HTTPBearer = HTTPBearer(
    scheme_name="key", description="A token that `mongostore keys create` has made.", auto_error=False
)

_FORWARDING = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class Access:
    """Identifies callers by their API keys, and counts their requests.

    Args:
        store: The store with the keys, open when it is asked.
        required: Whether a key is needed even while the store has none. If None, it is needed by callers on
            other machines, those behind a proxy among them, and by all callers of an application that is
            inside another one.
        local: Whether, while no key is needed, only requests to this machine by its own name are answered,
            and none from a proxy or a page from elsewhere: a browser on this machine would let such a page
            call any port here.
        rate: The limit of requests of a key, or of an address without a good one.
    """

    def __init__(
        self,
        store: AsyncMongoStore,
        *,
        required: bool | None = False,
        local: bool = False,
        rate: RateLimit | None = None,
    ) -> None:
        self._store = store
        self._required = required
        self._local = local
        self._rate = rate

    async def authenticate(self, request: Request) -> ApiKey | None:
        """Return the key of a request; None if it has none and needs none."""
        credentials = await bearer(request)
        key = None
        try:
            key = await self._identify(credentials.credentials if credentials else None, request)
        finally:
            # The line in the log names the key; a refused request counts as one of its address.
            request.state.key = key and key.id
            if self._rate is not None:
                await self._rate.count(caller_of(request.scope))
        return key

    async def _identify(self, token: str | None, request: Request) -> ApiKey | None:
        if token is not None:
            key = await self._store.keys.verify(token)
            if key is None:
                raise unauthorized('Bearer error="invalid_token"')
            # Deleting the last key must not open the server to everyone.
            self._required = True
            return key
        if not self._required and await self._store.keys.count(limit=1):
            self._required = True
        if self._required or (self._required is None and _is_stranger(request)):
            raise unauthorized("Bearer")
        if self._local and not _is_local(request.headers):
            raise ProblemError(403, "Without keys, this server answers this machine alone")
        return None


def caller_of(scope: Scope) -> str:
    """Return the name by which a request is counted: that of its key, else its address."""
    key, client = scope.get("state", {}).get("key"), scope.get("client")
    return f"key {key}" if key else f"address {client[0] if client else ''}"


def unauthorized(challenge: str) -> ProblemError:
    """Return the answer to a request without a good key."""
    return ProblemError(
        401,
        "A key is needed: send `Authorization: Bearer` and a token of `mongostore keys create`",
        headers={"WWW-Authenticate": challenge},
    )


def _is_stranger(request: Request) -> bool:
    """Return whether a request is from another machine, or to an application inside another one."""
    host, scope = request.client.host if request.client else "", request.scope
    # The outermost application of Starlette is the first that routes; others name a path.
    is_inside = scope.get("router") is not request.app.router or bool(scope.get("root_path"))
    return is_inside or not is_loopback(host) or _is_forwarded(request.headers)


def _is_forwarded(headers: Headers) -> bool:
    """Return whether a proxy has sent a request, which may be on this machine while the caller is not."""
    return any(name in headers for name in _FORWARDING)


def _is_local(headers: Headers) -> bool:
    """Return whether a request is to this machine by its own name, and not from a page or a proxy."""
    return names_loopback(headers) and not comes_from_elsewhere(headers) and not _is_forwarded(headers)


def names_loopback(headers: Headers) -> bool:
    """Return whether a request calls this machine by its own name."""
    try:
        return is_loopback(urlsplit(f"//{headers.get('host', '')}").hostname or "")
    except ValueError:
        return False


def comes_from_elsewhere(headers: Headers) -> bool:
    """Return whether a page of another server has sent a request."""
    # Browsers alone send it; `none` stands for an address that a person has typed.
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    try:
        return origin is not None and urlsplit(origin).netloc != headers.get("host", "")
    except ValueError:
        return True


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
