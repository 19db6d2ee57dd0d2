"""What the session of an agent framework needs: begin on first use, a guard, state, pop, compact."""

from __future__ import annotations

from typing import Any

from mongostore import AsyncMongoStore, ConflictError, Message


class AgentMemory:
    def __init__(self, store: AsyncMongoStore, session_id: str) -> None:
        self._sessions = store.sessions.in_namespace("agents")
        self._id = session_id
        self._newest: int | None = None  # the position of the newest message that this process knows

    async def get_items(self, limit: int = 100) -> list[dict[str, Any]]:
        messages = await self._sessions.messages.list(self._id, newest=True, limit=limit)
        return [message.to_openai() for message in messages]

    async def add_items(self, items: list[dict[str, Any]], state: dict[str, Any]) -> None:
        messages = [Message.from_openai(item) for item in items]
        try:
            stored = await self._sessions.messages.append_many(
                self._id, messages, create=True, update={"metadata": state}, after=self._newest
            )
        except ConflictError:
            self._newest = None  # another process has appended: read again, then decide
            raise
        self._newest = stored[-1].position

    async def pop_item(self) -> dict[str, Any] | None:
        popped = await self._sessions.messages.pop(self._id)
        return None if popped is None else popped.to_openai()

    async def compact(self, keep: int) -> None:
        newest = await self._sessions.messages.list(self._id, newest=True, limit=keep)
        summary = Message(role="system", content=f"A summary of {len(newest)} messages")
        await self._sessions.messages.replace_newest(self._id, [message.id for message in newest], [summary])

    async def clear(self) -> None:
        self._newest = None
        await self._sessions.delete(self._id)
