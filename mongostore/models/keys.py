"""Keys with which programs use a server of ours."""

from __future__ import annotations

from mongostore.models.fields import Id, Ids, Text, Time
from mongostore.models.value import Value

ALL_NAMESPACES = "*"


class ApiKey(Value):
    """A key, without the secret: that is told once, when the key is made.

    Attributes:
        id: What a list shows; the token begins with it.
        name: What the key is for.
        owner_id: Whom it speaks for; None for nobody in particular.
        namespaces: Those it may use; `["*"]` for all, which makes it an administrator's.
        expires_at: When it stops being good; None for never.
    """

    id: Id
    name: Text
    owner_id: Id | None = None
    namespaces: Ids
    created_at: Time
    expires_at: Time | None = None

    def allows(self, namespace: str) -> bool:
        """Return whether the key may use a namespace."""
        return self.namespaces == [ALL_NAMESPACES] or namespace in self.namespaces
