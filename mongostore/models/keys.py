"""Keys with which programs use a server of ours."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mongostore.models.fields import Id, Ids, Text, Time
from mongostore.models.model import Model

ALL_NAMESPACES = "*"


class ApiKey(Model):
    """A key with which a program uses a server of ours.

    Attributes:
        id: The id that a list shows; a part of the token.
        name: The purpose of the key.
        owner_id: The user that it stands for, if it is one user's.
        namespaces: Those it may use; `["*"]` for all, which makes it an administrator's.
        expires_at: When it stops being good; None for never.
        token: The secret, which `create` alone returns. It is stored nowhere, and neither printed, dumped nor
            pickled with the key.
    """

    id: Id
    name: Text
    owner_id: Id | None = None
    namespaces: Ids
    created_at: Time
    expires_at: Time | None = None
    token: str | None = Field(default=None, exclude=True, repr=False)

    def allows(self, namespace: str) -> bool:
        """Return whether the key may use a namespace."""
        return self.namespaces == [ALL_NAMESPACES] or namespace in self.namespaces

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return {**state, "__dict__": {**state["__dict__"], "token": None}}
