"""Random steps on our conversation store and on Pydantic AI's in-memory one: no difference."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationStore, InMemoryConversationStore
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.usage import RunUsage

from mongostore import AsyncMongoStore
from mongostore.adapters.pydantic_ai import MongoConversationStore
from mongostore.repositories.sessions import TailLimits

NAMES = [f"c{number}" for number in range(6)]
SCOPES = [None, None, "ada", "bob"]
Both = tuple[Conversation, Conversation]


@pytest.fixture
def tail_limits() -> TailLimits:
    """Messages leave the session's document soon."""
    return TailLimits(keep=4, full=8)


def text_of(message: ModelMessage) -> str:
    return "|".join(str(getattr(part, "content", part)) for part in message.parts)


def seen(value: Any) -> Any:
    """Return what callers may compare of an outcome."""
    if isinstance(value, Conversation):
        waiting = value.deferred_tool_requests
        return [text_of(message) for message in value.messages], value.usage, waiting, value.conversation_id
    if isinstance(value, list):
        return [seen(item) for item in value]
    if hasattr(value, "branches"):
        is_fork = value.forked_from is not None
        heads = value.head_id is not None, len(value.branches), is_fork, value.forked_at is not None
        return value.conversation_id, value.scope, value.forked_from, heads, value.usage
    return text_of(value.message) if hasattr(value, "message") else value


class Steps:
    """Takes the same steps on both stores, and compares what becomes of each."""

    def __init__(self, ours: ConversationStore, seed: int) -> None:
        self.stores: tuple[ConversationStore, ConversationStore] = ours, InMemoryConversationStore()
        self.dice = random.Random(seed)
        self.held: list[Both] = []
        self.numbers = count()
        self.done: dict[str, int] = {}

    def messages(self, most: int = 4) -> list[ModelMessage]:
        made: list[ModelMessage] = []
        for _ in range(self.dice.randint(0, most)):
            text = f"m{next(self.numbers)}"
            is_answer = self.dice.random() < 0.5
            parts: Any = [TextPart(content=text)] if is_answer else [UserPromptPart(content=text)]
            made.append(ModelResponse(parts=parts) if is_answer else ModelRequest(parts=parts))
        return made

    async def both(self, step: Callable[[int, ConversationStore], Awaitable[Any]]) -> tuple[Any, Any]:
        outcomes: list[Any] = []
        for side, store in enumerate(self.stores):
            try:
                outcomes.append(await step(side, store))
            except Exception as error:
                outcomes.append(error)
        ours, theirs = outcomes
        if isinstance(theirs, Exception):
            assert type(ours) is type(theirs), (ours, theirs)
            assert str(ours) == str(theirs)
        else:
            assert seen(ours) == seen(theirs)
        return ours, theirs

    def hold(self, outcomes: tuple[Any, Any]) -> None:
        if isinstance(outcomes[0], Conversation):
            self.held = [*self.held[-12:], outcomes]

    async def step(self) -> None:
        kinds = ["new", "load", "window", "save", "save", "save", "rewrite", "branch", "back", "fork", "list"]
        kind = self.dice.choice([*kinds, "delete"] if self.dice.random() < 0.3 else kinds)
        self.done[kind] = self.done.get(kind, 0) + 1
        await getattr(self, kind)(self.dice.choice(NAMES), self.dice.choice(SCOPES))

    async def new(self, name: str, scope: str | None) -> None:
        made = self.messages(12)
        both = tuple(Conversation(conversation_id=name, messages=[*made]) for _ in self.stores)
        await self.both(lambda side, store: store.save(both[side], scope=scope))
        self.hold(both)  # type: ignore[arg-type]

    async def load(self, name: str, scope: str | None) -> None:
        self.hold(await self.both(lambda side, store: store.load(name, scope=scope)))

    async def window(self, name: str, scope: str | None) -> None:
        limit = self.dice.choice([-1, 0, 1, 2, 5, 30])
        self.hold(await self.both(lambda side, store: store.load(name, limit=limit)))
        await self.both(lambda side, store: store.load_entries(name, limit=limit, scope=scope))

    async def save(self, name: str, scope: str | None) -> None:
        if not self.held:
            return
        both, made = self.dice.choice(self.held), self.messages()
        for conversation in both:
            conversation.messages.extend(made)
            conversation.usage = conversation.usage + RunUsage(requests=1, input_tokens=len(made))
        await self.both(lambda side, store: store.save(both[side]))

    async def rewrite(self, name: str, scope: str | None) -> None:
        if not self.held:
            return
        both, made = self.dice.choice(self.held), self.messages()
        remaining = self.dice.randint(0, len(both[0].messages))
        for conversation in both:
            conversation.messages[remaining:] = made
            conversation.new_message_index = None
        await self.both(lambda side, store: store.save(both[side]))

    async def branch(self, name: str, scope: str | None) -> None:
        if not self.held:
            return
        both, at = self.dice.choice(self.held), self.dice.choice([0, 1, 2, 3, 7, 99])
        self.hold(
            await self.both(
                lambda side, store: store.branch(
                    both[side].conversation_id, at=at, expected_revision=both[side].revision
                )
            )
        )

    async def entries(self, store: ConversationStore, name: str) -> tuple[list[str], str | None]:
        """Return the ids of a conversation's entries, those of its branches last, and its revision."""
        record = await store.read_record(name)
        if record is None:
            return [], None
        history = await store.read_history(record.head_id)
        left = [entry for tip in record.branches for entry in await store.read_history(tip)]
        return [entry.id for entry in [*history, *left]], record.revision

    async def back(self, name: str, scope: str | None) -> None:
        known = [await self.entries(store, name) for store in self.stores]
        assert len(known[0][0]) == len(known[1][0])
        chosen = self.dice.randrange(len(known[0][0])) if known[0][0] else None
        await self.both(lambda side, store: self.read_entry(store, known[side][0], chosen))
        self.hold(
            await self.both(
                lambda side, store: store.branch(
                    name,
                    from_entry="none" if chosen is None else known[side][0][chosen],
                    expected_revision=known[side][1],
                    scope=scope,
                )
            )
        )

    async def read_entry(self, store: ConversationStore, ids: list[str], chosen: int | None) -> Any:
        return None if chosen is None else await store.read_entry(ids[chosen])

    async def fork(self, name: str, scope: str | None) -> None:
        known = [await self.entries(store, name) for store in self.stores]
        target, at = self.dice.choice(NAMES), self.dice.choice([None, 0, 1, 3, 99])
        chosen = self.dice.randrange(len(known[0][0])) if known[0][0] and at is None else None
        self.hold(
            await self.both(
                lambda side, store: store.fork(
                    name,
                    at=at,
                    from_entry=None if chosen is None else known[side][0][chosen],
                    new_conversation_id=target,
                    scope=scope,
                )
            )
        )

    async def delete(self, name: str, scope: str | None) -> None:
        await self.both(lambda side, store: store.delete(name, scope=scope))

    async def list(self, name: str, scope: str | None) -> None:
        limit = self.dice.choice([None, None, 0, 1, 3, -1])
        await self.both(lambda side, store: store.list_conversations(scope=scope, limit=limit))


async def take(steps: int, store: AsyncMongoStore, seed: int) -> None:
    both = Steps(MongoConversationStore(store=store, namespace=uuid4().hex), seed)
    for _ in range(steps):
        await both.step()
    assert len(both.done) >= 10


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=() if seed < 2 else pytest.mark.long) for seed in range(10)]
)
async def test_two_hundred_random_steps_tell_no_difference(tail_limits: TailLimits, seed: int) -> None:
    async with AsyncMongoStore("mongomock://", tail_limits=tail_limits) as store:
        await take(200, store, seed)


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", range(100, 110))
async def test_two_thousand_random_steps_tell_no_difference(tail_limits: TailLimits, seed: int) -> None:
    async with AsyncMongoStore("mongomock://", tail_limits=tail_limits) as store:
        await take(2000, store, seed)


@pytest.mark.long
@pytest.mark.server
@pytest.mark.timeout(1500)
async def test_two_thousand_random_steps_on_a_server_tell_no_difference(
    server_store: AsyncMongoStore,
) -> None:
    await take(2000, server_store, 200)
