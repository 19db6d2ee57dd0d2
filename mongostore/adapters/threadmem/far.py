"""Role threads that a server keeps."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Self

from mongostore.adapters.threadmem.forms import ThreadForms
from mongostore.adapters.threadmem.messages import RoleMessage
from mongostore.adapters.threadmem.remote import check_keeps, request
from mongostore.adapters.threadmem.server.models import V1RoleThread, V1RoleThreads
from mongostore.errors import NotFoundError

logger = logging.getLogger(__name__)


class FarThread(ThreadForms):
    """What a thread with a `remote` asks of its server."""

    def _ask(self, method: str, part: str = "", body: Any = None, token: str | None = None) -> Any:
        return request(str(self._remote), method, self._id, part, body, token)

    def _send(self, message: RoleMessage) -> None:
        body = {"role": message.role, "msg": message.text, "images": message.images}
        for member in ("private", "metadata"):
            if value := getattr(message, member):
                check_keeps(str(self._remote), member)
                body[member] = value
        self._ask("POST", "/msgs", body)

    def _save_far(self) -> None:
        update = self.to_update_schema().model_dump()
        try:
            answer = None if self._is_minted else self._ask("GET")
            if answer is not None and answer["version"] != self._version:
                logger.warning("thread %s was changed on its server since it was read", self._id)
            if answer is not None:
                answer = self._ask("PUT", "", update)
        except NotFoundError:
            answer = None
        if answer is not None:
            self._adopt(V1RoleThread.model_validate(answer))
            return
        body = {**update, "id": self._id}
        answer = request(str(self._remote), "POST", None, body=body)
        roles, messages = self._role_mapping.values(), self._read()
        # Servers may give it another id.
        self._id, self._is_minted = V1RoleThread.model_validate(answer).id, False
        for role in roles:
            self._ask("POST", "/roles", role.model_dump())
        for message in messages:
            self._send(message)
        self.refresh()

    def refresh(self, auth_token: str | None = None) -> None:
        """Read the thread again from its server.

        Args:
            auth_token: Who asks; else `AGENTSEA_HUB_API_KEY`.

        Raises:
            ValueError: It is a local thread.
            NotFoundError: The server has it no more.
            MongoStoreError: The server does not answer, or refuses.
        """
        if not self._remote:
            raise ValueError("Refresh is only supported for remote threads")
        self._adopt(V1RoleThread.model_validate(self._ask("GET", token=auth_token)))

    def _adopt(self, schema: V1RoleThread) -> None:
        self._owner_id, self._public, self._name = schema.owner_id, schema.public, schema.name
        self._metadata, self._role_mapping = schema.metadata, dict(schema.role_mapping)
        self._created, self._updated, self._version = schema.created, schema.updated, schema.version
        self._messages = [RoleMessage.from_v1(message) for message in schema.messages]

    @classmethod
    def _far_threads(cls, remote: str) -> Iterator[Self]:
        answer = V1RoleThreads.model_validate(request(remote, "GET", None))
        for schema in answer.threads:
            thread = cls.from_v1(schema)
            thread._remote = remote
            yield thread
