"""Role threads that a server keeps."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final

from mongostore.adapters.threadmem.file_storage import FileStorage
from mongostore.adapters.threadmem.http import check_supported, read_answer, request
from mongostore.adapters.threadmem.messages import RoleMessage
from mongostore.adapters.threadmem.server.models import V1Role, V1RoleMessage, V1RoleThread, V1RoleThreads
from mongostore.adapters.threadmem.state import ThreadState
from mongostore.errors import NotFoundError

logger: Final = logging.getLogger(__name__)

# Threads that a server is asked for at once.
PAGE = 100


class HttpBackend:
    """The requests of a thread to the server of its `remote`.

    Args:
        state: The thread.
        remote: The address of the server.
        storage: The place of messages that are taken from the thread to a local one.
        messages: Its messages.
    """

    def __init__(
        self,
        state: ThreadState,
        remote: str,
        storage: FileStorage,
        messages: list[RoleMessage] | None = None,
    ) -> None:
        self.state = state
        self._remote = remote
        self._storage = storage
        self._messages = [] if messages is None else messages
        # Whether the server has been seen to have the thread.
        self._is_on_server = False
        # What a server that has just made the thread still lacks.
        self._unsent: list[V1Role | RoleMessage] = []

    @classmethod
    def find(cls, remote: str, storage: FileStorage) -> Iterator[HttpBackend]:
        """Yield the threads of the user of a server."""
        query: dict[str, Any] = {"limit": PAGE}
        while True:
            answer = read_answer(V1RoleThreads, request(remote, "GET", None, query=query), remote)
            for schema in answer.threads:
                made = cls(ThreadState.from_v1(schema, remote), remote, storage)
                made._adopt(schema)
                yield made
            # Threadmem's own server knows no pages, and has answered with all.
            if answer.next_cursor is None:
                return
            query["cursor"] = answer.next_cursor

    def read(self) -> list[RoleMessage]:
        return self._messages

    def refresh(self, auth_token: str | None = None) -> None:
        self._adopt(self._get(auth_token))

    def save(self) -> None:
        self.state.check()
        existing = None if self.state.is_new else self._find()
        if existing is None:
            self._create()
            return
        if existing.version != self.state.version:
            logger.warning("thread %r was changed on its server since it was read", self.state.id)
        answer = self._ask("PUT", "", self.state.to_update().model_dump())
        made = read_answer(V1RoleThread, answer, self._remote)
        if self._unsent:
            if self._has(existing, self._unsent[0]):
                self._unsent.pop(0)
            self._send_all()
        else:
            self._adopt_members(made)

    def post(self, message: RoleMessage) -> None:
        self._check(message)
        self._send(message)
        self.refresh()

    def add_role(self, role: V1Role) -> None:
        self._ask("POST", "/roles", role.model_dump())
        self.refresh()

    def remove_role(self, name: str) -> None:
        self._ask("DELETE", "/roles", {"name": name})
        self.refresh()

    def delete(self) -> None:
        self._ask("DELETE")

    def _ask(self, method: str, part: str = "", body: Any = None, token: str | None = None) -> Any:
        return request(self._remote, method, self.state.id, part, body, token)

    def _get(self, token: str | None = None) -> V1RoleThread:
        return read_answer(V1RoleThread, self._ask("GET", token=token), self._remote)

    def _find(self) -> V1RoleThread | None:
        """Return the thread as its server has it; None if it has not been there yet."""
        try:
            return self._get()
        except NotFoundError:
            # Deleted by another caller, and nothing brings it back.
            if self._is_on_server:
                raise
            return None

    def _create(self) -> None:
        body = {**self.state.to_update().model_dump(), "id": self.state.id}
        roles, messages = [*self.state.role_mapping.values()], [*self._messages]
        for message in messages:
            self._check(message)
        # It may be made though no answer comes: the next save looks.
        self.state.is_new, self._unsent = False, [*roles, *messages]
        answer = request(self._remote, "POST", None, body=body)
        # Servers may give it another id.
        self.state.id = read_answer(V1RoleThread, answer, self._remote).id
        self._send_all()

    def _send_all(self) -> None:
        """Send the roles and messages of a thread that was just made; the next save goes on if it fails."""
        while self._unsent:
            match self._unsent[0]:
                case V1Role() as role:
                    self._ask("POST", "/roles", role.model_dump())
                case RoleMessage() as message:
                    self._send(message)
            self._unsent.pop(0)
        self.refresh()

    def _has(self, thread: V1RoleThread, sent: V1Role | RoleMessage) -> bool:
        """Return whether a thread on its server has what was sent last, though no answer came."""
        if isinstance(sent, V1Role):
            return thread.role_mapping.get(sent.name) == sent
        content = _content_of(sent)
        answered = [one for one in self._messages if all(one is not other for other in self._unsent)]
        earlier = sum(_content_of(one) == content for one in answered)
        return sum(_content_of(one) == content for one in thread.messages) > earlier

    def _check(self, message: RoleMessage) -> None:
        message.check()
        for member in ("private", "metadata"):
            if getattr(message, member):
                check_supported(self._remote, member)

    def _send(self, message: RoleMessage) -> None:
        body = {"role": message.role, "msg": message.text, "images": message.images}
        more = {name: value for name in ("private", "metadata") if (value := getattr(message, name))}
        self._ask("POST", "/msgs", body | more)

    def _adopt(self, schema: V1RoleThread) -> None:
        self._adopt_members(schema)
        self._messages = [RoleMessage.from_v1(message, self._storage) for message in schema.messages]

    def _adopt_members(self, schema: V1RoleThread) -> None:
        """Take over what a server has but for the messages, which callers may have changed in memory."""
        self._is_on_server = True
        state = self.state
        state.owner_id, state.public, state.name = schema.owner_id, schema.public, schema.name
        state.metadata, state.role_mapping = schema.metadata, dict(schema.role_mapping)
        state.created, state.updated, state.version = schema.created, schema.updated, schema.version


def _content_of(message: RoleMessage | V1RoleMessage) -> tuple[Any, ...]:
    """Return what is sent of a message."""
    return message.role, message.text, [*message.images], message.private or False, message.metadata or None
