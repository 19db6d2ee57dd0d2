"""A role thread in memory, and the forms that it takes: rows, the REST interface, copies."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol
from uuid import uuid4

from mongostore.adapters.threadmem.db.models import RoleThreadRecord
from mongostore.adapters.threadmem.messages import RoleMessage, now
from mongostore.adapters.threadmem.server.models import V1Role, V1RoleThread, V1UpdateRoleThread
from mongostore.codec import encode_object
from mongostore.errors import InvalidValueError

COLUMNS = tuple(column.name for column in fields(RoleThreadRecord) if column.name != "messages")
# The members that rows and the REST interface have as they are.
_PLAIN = ("id", "owner_id", "public", "name", "version", "created", "updated")


@dataclass(kw_only=True)
class ThreadState:
    """The members of a thread apart from its messages."""

    owner_id: str | None
    public: bool
    name: str | None
    metadata: dict[str, Any] | None
    id: str = field(default_factory=lambda: str(uuid4()))
    role_mapping: dict[str, V1Role] = field(default_factory=dict)
    created: float = field(default_factory=now)
    updated: float = 0.0
    remote: str | None = None
    version: str | None = None
    # Whether no other process can know the id.
    is_new: bool = False

    def __post_init__(self) -> None:
        self.updated = self.updated or self.created

    @classmethod
    def from_record(cls, record: RoleThreadRecord) -> ThreadState:
        """Return the members of a row, those of a local thread."""
        roles = json.loads(record.role_mapping) if record.role_mapping else {}
        return cls(
            role_mapping={name: V1Role(**role) for name, role in roles.items()},
            metadata=json.loads(record.meta_data) if record.meta_data else None,
            **{name: getattr(record, name) for name in _PLAIN},
        )

    def to_record(self) -> RoleThreadRecord:
        """Return the members as a row."""
        return RoleThreadRecord(
            role_mapping=json.dumps({role.name: role.model_dump() for role in self.role_mapping.values()}),
            meta_data=json.dumps(self.metadata) if self.metadata else None,
            remote=self.remote,
            **{name: getattr(self, name) for name in _PLAIN},
        )

    @classmethod
    def from_v1(cls, schema: V1RoleThread, remote: str | None) -> ThreadState:
        """Return the members that the REST interface has."""
        made = cls(**{name: getattr(schema, name) for name in (*_PLAIN, "metadata")}, remote=remote)
        made.role_mapping.update(schema.role_mapping)
        return made

    def to_v1(self) -> V1RoleThread:
        """Return the members as the REST interface has them, which never names where a thread is kept."""
        members = {name: getattr(self, name) for name in (*_PLAIN, "metadata", "role_mapping")}
        return V1RoleThread(**members, messages=[])

    def to_update(self) -> V1UpdateRoleThread:
        """Return the members that a save sends to a server."""
        return V1UpdateRoleThread(name=self.name, public=bool(self.public), metadata=self.metadata)

    def detached_copy(self) -> ThreadState:
        """Return a copy that shares nothing with it, with an id of its own."""
        time = now()
        return replace(copy.deepcopy(self), id=str(uuid4()), created=time, updated=time, is_new=True)

    def has_columns(self, columns: Mapping[str, Any]) -> bool:
        """Return whether the row has these values."""
        record = self.to_record()
        return all(
            _parse_json_column(getattr(record, name)) == _parse_json_column(value)
            for name, value in columns.items()
        )

    def check(self) -> None:
        """Refuse what cannot be stored.

        Raises:
            InvalidValueError: A value cannot be stored; names it.
        """
        if not isinstance(self.public, bool):
            raise InvalidValueError("public", "must be True or False")
        if self.metadata is not None:
            encode_object("metadata", self.metadata)
        for name, role in self.role_mapping.items():
            if not isinstance(name, str) or not isinstance(role, V1Role):
                raise InvalidValueError("role_mapping", "must have names of roles and a V1Role of each")


class Backend(Protocol):
    """Where one thread is kept: it reads and writes the state, and holds the messages.

    Each call may raise a `MongoStoreError` of the store, or about the answers of a server.
    """

    state: ThreadState

    def read(self) -> list[RoleMessage]:
        """Return the live list of messages."""

    def refresh(self, auth_token: str | None = None) -> None:
        """Read again what others may have changed; without effect where saves merge with their changes."""

    def save(self) -> None:
        """Store what has changed."""

    def post(self, message: RoleMessage) -> None:
        """Append a message of this thread, or of none."""

    def add_role(self, role: V1Role) -> None:
        """Add a role.

        Raises:
            ConflictError: Another instance has just added one of that name.
        """

    def remove_role(self, name: str) -> None:
        """Remove a role that is there."""

    def delete(self) -> None:
        """Delete the thread with its messages and their images."""


def _parse_json_column(value: Any) -> Any:
    """Return a value of a column; of JSON text what it says, since the order of keys is not kept."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
