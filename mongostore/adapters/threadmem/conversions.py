"""The forms that a role thread takes: rows, the REST interface, OpenAI's messages, copies."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Self
from uuid import uuid4
from weakref import WeakValueDictionary

from mongostore.adapters.threadmem.db.models import RoleThreadRecord
from mongostore.adapters.threadmem.file_storage import STORAGE
from mongostore.adapters.threadmem.messages import RoleMessage, now
from mongostore.adapters.threadmem.server.models import V1Role, V1RoleThread, V1UpdateRoleThread
from mongostore.codec import encode_object
from mongostore.errors import InvalidValueError


class _PendingPost(WeakValueDictionary[str, RoleMessage]):
    """Messages by their ids, as long as somebody has them in hand: nobody has where it is unpickled."""

    def __reduce__(self) -> tuple[type[_PendingPost], tuple[()]]:
        return type(self), ()


class ThreadConversions:
    """A thread in memory."""

    _storage = STORAGE

    def _begin(
        self,
        id: str,
        owner_id: str | None,
        public: bool,
        name: str | None,
        metadata: dict[str, Any] | None,
        created: float,
        roles: Mapping[str, V1Role],
    ) -> None:
        self._id = id
        self._owner_id = owner_id
        self._public = public
        self._name = name
        self._metadata = metadata
        self._created = self._updated = created
        self._role_mapping = dict(roles)
        self._remote: str | None = None
        self._version: str | None = None
        # Whether nobody else can know the id.
        self._is_minted = False
        # Whether its server has been seen to have it.
        self._is_on_server = False
        # What a server that has just made the thread still lacks.
        self._unsent: list[V1Role | RoleMessage] = []
        # None as long as they were not read.
        self._loaded: list[RoleMessage] | None = []
        # The ids of those that an instance which has made the thread knows, None for all there are.
        self._known: set[str] | None = None
        # Those that somebody has added and still has in hand.
        self._added = _PendingPost()
        # Whether somebody may have changed them.
        self._is_shown = True
        self._stored: dict[str, Any] = {}

    def _read(self) -> list[RoleMessage]:
        if self._loaded is None:
            self._loaded = [
                self._added.get(message.id) or RoleMessage.stored(message, self._storage)
                for message in self._storage.messages(self._id)
                if self._known is None or message.id in self._known
            ]
        return self._loaded

    def stored_messages(self) -> Iterator[RoleMessage]:
        """Yield the messages as they are stored, none of which the thread keeps in memory."""
        return (RoleMessage.stored(one, self._storage) for one in self._storage.messages(self._id))

    def _check(self) -> None:
        """Refuse what cannot be stored.

        Raises:
            InvalidValueError: A value cannot be stored; names it.
        """
        if not isinstance(self._public, bool):
            raise InvalidValueError("public", "must be True or False")
        if self._metadata is not None:
            encode_object("metadata", self._metadata)
        for name, role in self._role_mapping.items():
            if not isinstance(name, str) or not isinstance(role, V1Role):
                raise InvalidValueError("role_mapping", "must have names of roles and a V1Role of each")

    @property
    def id(self) -> str:
        """A UUID, made with the thread."""
        return self._id

    @property
    def owner_id(self) -> str | None:
        """The owner of the thread."""
        return self._owner_id

    @property
    def public(self) -> bool:
        """A note; it grants no access."""
        return bool(self._public)

    @property
    def name(self) -> str | None:
        """The name, kept by the next save."""
        return self._name

    @name.setter
    def name(self, value: str | None) -> None:
        self._name = value

    @property
    def metadata(self) -> dict[str, Any] | None:
        """A JSON object, kept by the next save."""
        return self._metadata

    @metadata.setter
    def metadata(self, value: dict[str, Any] | None) -> None:
        self._metadata = value

    @property
    def remote(self) -> str | None:
        """The address of the server where the thread is kept, None for a local one."""
        return self._remote

    @property
    def role_mapping(self) -> dict[str, V1Role]:
        """The speakers of the roles, by the names of the roles."""
        return self._role_mapping

    def generate_version_hash(self) -> str:
        """Return the SHA-256, in hexadecimal digits, of the whole thread as the REST interface has it."""
        return hashlib.sha256(json.dumps(self.to_v1().model_dump(), sort_keys=True).encode()).hexdigest()

    def to_openai(self) -> list[dict[str, Any]]:
        """Return all messages in OpenAI's format.

        Raises:
            ValueError: A message has `<image>` tags, but not as many as images.
        """
        return [message.to_openai() for message in self._read()]

    to_oai = to_openai

    def to_record(self) -> RoleThreadRecord:
        """Return the thread as a row with those of its messages, which needs no database any more."""
        record = self._record()
        record.messages = [message.to_record() for message in self._read()]
        return record

    def _record(self) -> RoleThreadRecord:
        return RoleThreadRecord(
            id=self._id,
            owner_id=self._owner_id,
            public=self._public,
            name=self._name,
            role_mapping=json.dumps({role.name: role.model_dump() for role in self._role_mapping.values()}),
            meta_data=json.dumps(self._metadata) if self._metadata else None,
            remote=self._remote,
            version=self._version,
            created=self._created,
            updated=self._updated,
        )

    @classmethod
    def from_record(cls, record: RoleThreadRecord) -> Self:
        """Return the thread of a row, a local one; nothing is saved."""
        made = cls.__new__(cls)
        roles = json.loads(record.role_mapping) if record.role_mapping else {}
        metadata = json.loads(record.meta_data) if record.meta_data else None
        mapping = {name: V1Role(**role) for name, role in roles.items()}
        made._begin(record.id, record.owner_id, record.public, record.name, metadata, record.created, mapping)
        made._updated, made._version = record.updated, record.version
        made._loaded = [RoleMessage.from_record(message, cls._storage) for message in record.messages]
        return made

    def to_v1(self) -> V1RoleThread:
        """Return the thread as the REST interface has it, which never names where it is kept."""
        return self.head_to_v1().model_copy(
            update={"messages": [message.to_v1() for message in self._read()]}
        )

    def head_to_v1(self) -> V1RoleThread:
        """Return the thread as the REST interface has it, but without its messages."""
        return V1RoleThread(
            id=self._id,
            owner_id=self._owner_id,
            public=self._public,
            name=self._name,
            metadata=self._metadata,
            version=self._version,
            messages=[],
            created=self._created,
            updated=self._updated,
            role_mapping=self._role_mapping,
        )

    @classmethod
    def from_v1(cls, schema: V1RoleThread) -> Self:
        """Return a thread of the REST interface; nothing is saved."""
        made = cls.__new__(cls)
        made._begin(
            str(schema.id),
            schema.owner_id,
            schema.public,
            schema.name,
            schema.metadata,
            schema.created,
            schema.role_mapping,
        )
        made._updated, made._version, made._remote = schema.updated, schema.version, schema.remote
        made._loaded = [RoleMessage.from_v1(message, cls._storage) for message in schema.messages]
        return made

    def to_update_schema(self) -> V1UpdateRoleThread:
        """Return the members that a save sends to a server."""
        return V1UpdateRoleThread(name=self._name, public=self.public, metadata=self._metadata)

    def copy(self) -> Self:
        """Return a copy with an id of its own; once it is saved, its messages have ids of their own, too."""
        made = type(self).__new__(type(self))
        metadata = copy.deepcopy(self._metadata)
        roles = {name: role.model_copy() for name, role in self._role_mapping.items()}
        made._begin(str(uuid4()), self._owner_id, self._public, self._name, metadata, now(), roles)
        made._remote, made._version, made._is_minted = self._remote, self._version, True
        made._loaded = [message.detached_copy() for message in self._read()]
        return made
