"""Who may use a server: those who show a key, as soon as there is one."""

from __future__ import annotations

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers

from mongostore.models import ApiKey
from mongostore.servers.error_responses import ProblemError
from mongostore.store import AsyncMongoStore

_bearer = HTTPBearer(
    scheme_name="key", description="A token that `mongostore keys create` has made.", auto_error=False
)


class Access:
    """Admits those who show a good key; anybody, as long as the store has no key and none is required.

    Args:
        store: Where the keys are.
        required: Whether a key is needed even then.
        local: Whether anybody is then only who asks this machine by its own name, and no page from elsewhere:
            a browser on this machine would let such a page ask whatever listens here.
    """

    def __init__(self, store: AsyncMongoStore, *, required: bool = False, local: bool = False) -> None:
        self._store = store
        self._required = required
        self._local = local

    async def authenticate(self, token: str | None, headers: Headers) -> ApiKey | None:
        """Return the key of a token; None for somebody who needs none and shows none.

        Args:
            token: What the caller shows.
            headers: Those of the request.

        Raises:
            ProblemError: The token is no good, or there is none where one is needed (401), or whoever asks
                without one is not from here (403).
            MongoStoreError: The store cannot tell.
        """
        if token is not None:
            key = await self._store.keys.verify(token)
            if key is None:
                raise _refusal('Bearer error="invalid_token"')
            # Whoever revokes the last key closes the server's door, and does not open it.
            self._required = True
            return key
        if not self._required:
            self._required = await self._store.keys.count() > 0
        if self._required:
            raise _refusal("Bearer")
        if self._local and not _is_local(headers):
            raise ProblemError(403, "Without keys, this server is for this machine alone")
        return None


def _refusal(challenge: str) -> ProblemError:
    return ProblemError(401, "A good key is needed here", headers={"WWW-Authenticate": challenge})


def _is_local(headers: Headers) -> bool:
    """Return whether a request is for this machine by its own name, and of no page from elsewhere."""
    host = headers.get("host", "")
    try:
        name, origin = urlsplit(f"//{host}").hostname, urlsplit(headers.get("origin", f"//{host}")).netloc
    except ValueError:
        return False
    # Said by browsers alone; none is for what a person has typed.
    site = headers.get("sec-fetch-site", "none")
    return is_loopback(name or "") and origin == host and site in ("same-origin", "none")


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def install_access(app: FastAPI, access: Access) -> None:
    """Say who may use an application, for `Caller` to ask."""
    app.state.access = access


async def _caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> ApiKey | None:
    access: Access = request.app.state.access
    key = await access.authenticate(credentials.credentials if credentials else None, request.headers)
    # For the line in the log.
    request.state.key = key and key.id
    return key


# The key of whoever calls an endpoint, which refuses those who need one and have none.
Caller = Annotated[ApiKey | None, Depends(_caller)]
