"""Role threads that a server keeps."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final, Self

from mongostore.adapters.threadmem.conversions import ThreadConversions
from mongostore.adapters.threadmem.http import check_supported, read_answer, request
from mongostore.adapters.threadmem.messages import RoleMessage
from mongostore.adapters.threadmem.server.models import V1Role, V1RoleThread, V1RoleThreads
from mongostore.errors import NotFoundError

logger: Final = logging.getLogger(__name__)

# Threads that a server is asked for at once.
PAGE = 100


class HttpBackend(ThreadConversions):
    """The requests of a thread with a `remote` to its server."""

    def _ask(self, method: str, part: str = "", body: Any = None, token: str | None = None) -> Any:
        return request(str(self._remote), method, self._id, part, body, token)

    def _post_http(self, message: RoleMessage) -> None:
        self._check_sent(message)
        self._send(message)
        self.refresh()

    def _check_sent(self, message: RoleMessage) -> None:
        message.check()
        for member in ("private", "metadata"):
            if getattr(message, member):
                check_supported(str(self._remote), member)

    def _send(self, message: RoleMessage) -> None:
        body = {"role": message.role, "msg": message.text, "images": message.images}
        more = {name: value for name in ("private", "metadata") if (value := getattr(message, name))}
        self._ask("POST", "/msgs", body | more)

    def _add_http(self, role: V1Role) -> None:
        self._ask("POST", "/roles", role.model_dump())
        self.refresh()

    def _save_http(self) -> None:
        self._check()
        there = None if self._is_minted else self._look()
        if there is None:
            self._create_http()
            return
        if there.version != self._version:
            logger.warning("thread %r was changed on its server since it was read", self._id)
        answer = self._ask("PUT", "", self.to_update_schema().model_dump())
        made = read_answer(V1RoleThread, answer, str(self._remote))
        if self._unsent:
            self._send_all()
        else:
            self._adopt(made)

    def _look(self) -> V1RoleThread | None:
        """Return the thread as its server has it; None if nobody has seen it there yet."""
        try:
            return read_answer(V1RoleThread, self._ask("GET"), str(self._remote))
        except NotFoundError:
            # Deleted by somebody else, and nothing brings it back.
            if self._is_on_server:
                raise
            return None

    def _create_http(self) -> None:
        body = {**self.to_update_schema().model_dump(), "id": self._id}
        roles, messages = [*self._role_mapping.values()], self._read()
        for message in messages:
            self._check_sent(message)
        answer = request(str(self._remote), "POST", None, body=body)
        # Servers may give it another id.
        self._id, self._is_minted = read_answer(V1RoleThread, answer, str(self._remote)).id, False
        self._unsent = [*roles, *messages]
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

    def refresh(self, auth_token: str | None = None) -> None:
        """Read the thread again from its server.

        Args:
            auth_token: The sender; else `AGENTSEA_HUB_API_KEY`.

        Raises:
            ValueError: It is a local thread.
            NotFoundError: The server has it no more.
            MongoStoreError: The server does not answer, or refuses.
        """
        if not self._remote:
            raise ValueError("Refresh is only supported for remote threads")
        schema = read_answer(V1RoleThread, self._ask("GET", token=auth_token), str(self._remote))
        self._adopt(schema)
        self._loaded = [RoleMessage.from_v1(message, self._storage) for message in schema.messages]

    def _adopt(self, schema: V1RoleThread) -> None:
        """Take over what a server has but for the messages, which callers may have changed in memory."""
        self._is_on_server = True
        self._owner_id, self._public, self._name = schema.owner_id, schema.public, schema.name
        self._metadata, self._role_mapping = schema.metadata, dict(schema.role_mapping)
        self._created, self._updated, self._version = schema.created, schema.updated, schema.version

    @classmethod
    def _http_threads(cls, remote: str) -> Iterator[Self]:
        query: dict[str, Any] = {"limit": PAGE}
        while True:
            answer = read_answer(V1RoleThreads, request(remote, "GET", None, query=query), remote)
            for schema in answer.threads:
                thread = cls.from_v1(schema)
                thread._remote, thread._is_on_server = remote, True
                yield thread
            # Threadmem's own server knows no pages, and has answered with all.
            if answer.next_cursor is None:
                return
            query["cursor"] = answer.next_cursor
