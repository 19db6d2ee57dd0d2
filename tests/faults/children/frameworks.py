"""Conversations of the frameworks for agents: steps of each, and what must be there after them.

A step that is taken again, by a process that does not know what became of it, has its effect once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, ClassVar

from claude_agent_sdk import fold_session_summary
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict
from pydantic_ai.messages import ModelMessage, ModelRequest, UserPromptPart

from mongostore import AsyncMongoStore
from mongostore.adapters.claude_agent_sdk import MongoSessionStore
from mongostore.adapters.openai_agents import MongoSession
from mongostore.adapters.pydantic_ai import MongoConversationStore

Found = dict[str, list[str]]


def content_of(name: str) -> str:
    """Return what is said under a name: of one in capitals more than a session's document embeds."""
    return name * 1000 if name.isupper() else name


def name_of(content: Any) -> str:
    """Return the name under which something is said."""
    return content[: len(content) // 1000] if isinstance(content, str) and content.isupper() else str(content)


class Framework(ABC):
    """One conversation, or a few that belong together.

    Attributes:
        steps: What is done, in order; the last ones delete all.
        in_parts: The steps that a crash may leave half done, so that some of what goes is there.
    """

    steps: ClassVar[list[list[Any]]]
    in_parts: ClassVar[set[str]] = set()

    def __init__(self, store: AsyncMongoStore, id: str) -> None:
        self.store = store
        self.id = id

    @abstractmethod
    async def do(self, verb: str, *rest: Any) -> None:
        """Take one step, or the rest of it."""

    @abstractmethod
    async def write(self, *names: str) -> None:
        """Add something beside others who do so."""

    async def delete(self) -> None:
        """Delete all."""
        for step in self.steps:
            if step[0] == self.steps[-1][0]:
                await self.do(*step)

    @abstractmethod
    async def read(self) -> Found:
        """Return the names of all that is said, by conversation, having looked whether it is whole."""

    @classmethod
    @abstractmethod
    def after(cls, steps: list[list[Any]]) -> Found:
        """Return what must be there after steps."""


class OpenAIAgents(Framework):
    """A session; its runner looks at the newest items before it adds them again."""

    steps: ClassVar = [
        ["add", "a1"],
        ["add", "a2", "a3", "a4"],
        ["add", *(f"b{n}" for n in range(6))],
        ["add", "BIG", "c1"],
        ["pop", "c1"],
        ["pop", "BIG"],
        ["replace", ["b4", "b5"], ["d1", "LARGE"]],
        ["clear"],
        ["add", "f1", "HUGE"],
        ["clear"],
    ]

    @property
    def session(self) -> MongoSession:
        """The session, as a process that has just started makes it."""
        return MongoSession(self.id, store=self.store)

    async def do(self, verb: str, *rest: Any) -> None:
        session: Any = self.session
        match verb, *rest:
            case "add", *names:
                if await self.newest(len(names)) != names:
                    await self.write(*names)
            case "pop", name:
                if await self.newest(1) == [name]:
                    popped = await session.pop_item()
                    assert name_of(popped["content"]) == name
            case "replace", old, new:
                if await self.newest(len(old)) == old:
                    snapshot = await session._get_compaction_snapshot(len(old))
                    items = [{"role": "user", "content": content_of(name)} for name in new]
                    assert await snapshot.replace_suffix(0, items)
            case ["clear"]:
                await session.clear_session()

    async def write(self, *names: str) -> None:
        await self.session.add_items([{"role": "user", "content": content_of(name)} for name in names])

    async def newest(self, count: int | None) -> list[str]:
        """Return the names of the newest items."""
        items: list[Any] = await self.session.get_items(count)
        return [name_of(item["content"]) for item in items]

    async def read(self) -> Found:
        return {"": names} if (names := await self.newest(None)) else {}

    @classmethod
    def after(cls, steps: list[list[Any]]) -> Found:
        names: list[str] = []
        for verb, *rest in steps:
            match verb, *rest:
                case "add", *new:
                    names += new
                case "pop", _:
                    names.pop()
                case "replace", old, new:
                    names[-len(old) :] = new
                case ["clear"]:
                    names = []
        return {"": names} if names else {}


class ClaudeAgentSDK(Framework):
    """A main transcript, whose path is empty, and those of two subagents."""

    steps: ClassVar = [
        ["append", "", "u1"],
        ["append", "", "u1", "u2", "u3"],
        ["append", "sub/a", "s1", "s2"],
        ["append", "", *(f"u{n}" for n in range(3, 10))],
        ["append", "", "BIG", "u10"],
        ["append", "sub/b", "s3", "LARGE"],
        ["delete", "sub/a"],
        ["append", "sub/a", "s4"],
        ["delete", ""],
    ]
    in_parts: ClassVar = {"delete"}

    def key(self, path: str) -> Any:
        """Return the key of a transcript."""
        return {"project_key": "shop", "session_id": self.id} | ({"subpath": path} if path else {})

    async def do(self, verb: str, *rest: Any) -> None:
        path, *names = rest
        if verb == "delete":
            await MongoSessionStore(store=self.store).delete(self.key(path))
        else:
            await self.write(*names, path=path)

    async def write(self, *names: str, path: str = "") -> None:
        entries: Any = [
            {"type": "user", "uuid": name, "message": {"role": "user", "content": content_of(name)}}
            for name in names
        ]
        await MongoSessionStore(store=self.store).append(self.key(path), entries)

    async def read(self) -> Found:
        transcripts = MongoSessionStore(store=self.store)
        named = await transcripts.list_subkeys(self.key(""))
        loaded = {path: await transcripts.load(self.key(path)) for path in ("", "sub/a", "sub/b")}
        found = {path: entries for path, entries in loaded.items() if entries is not None}
        assert found.keys() <= {"", *named}
        for summary in await transcripts.list_session_summaries("shop"):
            if summary["session_id"] == self.id:
                [listed] = [
                    one for one in await transcripts.list_sessions("shop") if one["session_id"] == self.id
                ]
                whole = fold_session_summary(None, self.key(""), found[""])
                assert summary["data"] == whole["data"] or summary["mtime"] < listed["mtime"]
        return {path: [entry["uuid"] for entry in entries] for path, entries in found.items()}

    @classmethod
    def after(cls, steps: list[list[Any]]) -> Found:
        found: Found = {}
        for verb, path, *names in steps:
            if verb == "append":
                known = found.setdefault(path, [])
                known += [name for name in names if name not in known]
            elif path:
                found.pop(path, None)
            else:
                found = {}
        return found


class PydanticAI(Framework):
    """A conversation, whose history is rewritten, and a fork of it."""

    steps: ClassVar = [
        ["save", "c", "a1"],
        ["save", "c", "a2", "a3"],
        ["save", "c", *(f"b{n}" for n in range(7))],
        ["save", "c", "BIG", "c1"],
        ["rewrite", "c", 4, "d1"],
        ["fork", "c", "f"],
        ["save", "f", "e1", "LARGE"],
        ["delete", "c"],
        ["delete", "f"],
    ]

    async def do(self, verb: str, *rest: Any) -> None:
        conversations = MongoConversationStore(store=self.store)
        id = f"{self.id}/{rest[0]}"
        loaded = await conversations.load(id)
        names = self.names(loaded)
        match verb, *rest:
            case "save", _, *new:
                if names[-len(new) :] != new:
                    conversation = loaded or Conversation(conversation_id=id)
                    conversation.messages.extend(map(self.new_message, new))
                    await conversations.save(conversation)
            case "rewrite", _, remaining, new:
                if loaded is not None and names[-1] != new:
                    loaded.messages[remaining:] = [self.new_message(new)]
                    loaded.new_message_index = None
                    await conversations.save(loaded)
            case "fork", _, other:
                if await conversations.load(f"{self.id}/{other}") is None:
                    await conversations.fork(id, new_conversation_id=f"{self.id}/{other}")
            case "delete", _:
                await conversations.delete(id)

    async def write(self, *names: str) -> None:
        conversations, id = MongoConversationStore(store=self.store), f"{self.id}/c"
        while True:
            conversation = await conversations.load(id) or Conversation(conversation_id=id)
            conversation.messages.extend(map(self.new_message, names))
            with suppress(ConversationConflict):
                await conversations.save(conversation)
                return

    @staticmethod
    def new_message(name: str) -> ModelMessage:
        """Return the message of a name."""
        return ModelRequest(parts=[UserPromptPart(content=content_of(name))])

    @staticmethod
    def names(conversation: Conversation | None) -> list[str]:
        """Return the names of a conversation's messages."""
        messages = conversation.messages if conversation else []
        return [name_of(part.content) for message in messages for part in message.parts]  # type: ignore[union-attr]

    async def read(self) -> Found:
        conversations = MongoConversationStore(store=self.store)
        records = {record.conversation_id: record for record in await conversations.list_conversations()}
        found = {}
        for name in "cf":
            if loaded := await conversations.load(f"{self.id}/{name}"):
                found[name] = self.names(loaded)
                for tip in records[f"{self.id}/{name}"].branches:
                    assert await conversations.read_history(tip)
        assert {id for id in records if id.startswith(f"{self.id}/")} == {f"{self.id}/{one}" for one in found}
        return found

    @classmethod
    def after(cls, steps: list[list[Any]]) -> Found:
        found: Found = {}
        for verb, id, *rest in steps:
            match verb, *rest:
                case "save", *names:
                    found[id] = [*found.get(id, ()), *names]
                case "rewrite", remaining, name:
                    found[id] = [*found[id][:remaining], name]
                case "fork", other:
                    found[other] = found[id]
                case ["delete"]:
                    found.pop(id, None)
        return found


FRAMEWORKS: dict[str, type[Framework]] = {
    "openai_agents": OpenAIAgents,
    "claude_agent_sdk": ClaudeAgentSDK,
    "pydantic_ai": PydanticAI,
}
