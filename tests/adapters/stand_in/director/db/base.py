from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class BaseDB(ABC):
    @abstractmethod
    def create_session(
        self, session_id: str, video_id: str | None = None, collection_id: str | None = None
    ) -> None: ...

    @abstractmethod
    def get_session(self, session_id: str) -> dict[str, Any]: ...

    @abstractmethod
    def get_sessions(self) -> list[dict[str, Any]]: ...

    @abstractmethod
    def add_or_update_msg_to_conv(self) -> None: ...

    @abstractmethod
    def get_conversations(self, session_id: str) -> list[dict[str, Any]]: ...

    @abstractmethod
    def get_context_messages(self, session_id: str) -> list[Any]: ...

    @abstractmethod
    def add_or_update_context_msg(self, session_id: str, context_messages: list[Any]) -> None: ...

    @abstractmethod
    def health_check(self) -> bool: ...
