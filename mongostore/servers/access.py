"""Who may use a server: those who show a key, as soon as there is one."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from mongostore.models import ApiKey
from mongostore.servers.problems import ProblemError
from mongostore.store import AsyncMongoStore

_bearer = HTTPBearer(
    scheme_name="key", description="A token that `mongostore keys create` has made.", auto_error=False
)


class Access:
    """Admits those who show a good key; anybody, as long as the store has no key and none is required.

    Args:
        store: Where the keys are.
        required: Whether a key is needed even then.
    """

    def __init__(self, store: AsyncMongoStore, *, required: bool = False) -> None:
        self._store = store
        self._required = required

    async def admit(self, token: str | None) -> ApiKey | None:
        """Return the key of a token; None for somebody who needs none and shows none.

        Raises:
            ProblemError: The token is no good, or there is none where one is needed (401).
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
        return None


def _refusal(challenge: str) -> ProblemError:
    return ProblemError(401, "A good key is needed here", headers={"WWW-Authenticate": challenge})


def let_in(app: FastAPI, access: Access) -> None:
    """Say who may use an application, for `Caller` to ask."""
    app.state.access = access


async def _caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> ApiKey | None:
    access: Access = request.app.state.access
    return await access.admit(credentials.credentials if credentials else None)


# The key of whoever calls an endpoint, which refuses those who need one and have none.
Caller = Annotated[ApiKey | None, Depends(_caller)]
