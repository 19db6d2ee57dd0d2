"""Our conversation store of Pydantic AI: real agents, both protocols, races, values and costs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationEntry
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.ui.ag_ui import AGUIAdapter
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mongostore import AsyncMongoStore, InvalidDocumentError, Message, UnavailableError
from mongostore.adapters.pydantic_ai import MongoConversationStore
from mongostore.repositories.sessions import AsyncSessionBranches, AsyncSessions
from tests.contract.command_log import CommandLog, logged_store
from tests.examples import pydantic_agent as example


@pytest.fixture
def conversations(store: AsyncMongoStore) -> MongoConversationStore:
    return MongoConversationStore(store=store)


def turn(number: object) -> list[ModelMessage]:
    return [
        ModelRequest(parts=[UserPromptPart(content=f"ask {number}")]),
        ModelResponse(parts=[TextPart(content=f"answer {number}")]),
    ]


def begun(conversation_id: str, turns: int = 1) -> Conversation:
    texts = [message for number in range(turns) for message in turn(number)]
    return Conversation(conversation_id=conversation_id, messages=texts)


@pytest.mark.smoke
async def test_every_kind_of_message_comes_back(conversations: MongoConversationStore) -> None:
    png = bytes.fromhex("89504e470d0a1a0a")
    odd = {"a.b": 1, "$x": {"\0": 2**80}, "type": "x", "text": "y", "half": "\ud800"}
    messages: list[ModelMessage] = [
        ModelRequest(
            parts=[SystemPromptPart(content="be kind"), UserPromptPart(content="hi")], instructions="short"
        ),
        ModelRequest(
            parts=[UserPromptPart(content=["see", ImageUrl(url="https://x/y.png")])], metadata={"k": [1]}
        ),
        ModelResponse(
            parts=[
                ThinkingPart(content="hm", signature="sig"),
                ToolCallPart(tool_name="add", args='{"a": 1}', tool_call_id="c1"),
                ToolCallPart(tool_name="add", args={"a.b": 1}, tool_call_id="c2"),
            ]
        ),
        ModelRequest(
            parts=[
                ToolReturnPart(tool_name="add", content=odd, tool_call_id="c1"),
                ToolReturnPart(tool_name="add", content="no", tool_call_id="c2", outcome="failed"),
            ]
        ),
        ModelResponse(parts=[]),
        ModelRequest(parts=[UserPromptPart(content=["see", BinaryContent(png, media_type="audio/wav")])]),
    ]
    await conversations.save(Conversation(conversation_id="c", messages=messages))
    loaded = await conversations.load("c")
    assert loaded is not None
    assert loaded.messages == messages


async def test_what_is_stored_has_the_common_form(conversations: MongoConversationStore) -> None:
    await conversations.save(begun("c"), scope="ada")
    sessions = await conversations.sessions()
    [session] = await sessions.list(user_id="ada")
    assert (session.id, session.count, session.last and session.last.text) == ("c", 2, "answer 0")
    stored = (await sessions.messages.list("c")).items
    assert [message.role for message in stored] == ["user", "assistant"]
    assert [message.content[0]["text"] for message in stored] == ["ask 0", "answer 0"]


async def test_a_message_that_is_no_entry_is_refused_by_its_id(
    conversations: MongoConversationStore,
) -> None:
    await conversations.save(begun("c"))
    sessions = await conversations.sessions()
    [session] = (await sessions.list()).items
    await sessions.messages.append(session.id, Message(id="theirs", role="user", content="hello"))
    with pytest.raises(InvalidDocumentError) as caught:
        await conversations.read_entry("theirs")
    assert caught.value.id == "theirs"


async def test_an_image_sent_again_is_no_change(conversations: MongoConversationStore) -> None:
    image = BinaryContent(bytes.fromhex("89504e470d0a1a0a"), media_type="image/png")
    first = Conversation(conversation_id="c", messages=[ModelRequest(parts=[UserPromptPart([image])])])
    assert len(await conversations.save(first)) == 1
    again = Conversation(conversation_id="c", messages=[*first.messages, *turn(1)], revision=first.revision)
    assert len(await conversations.save(again)) == 2
    record = await conversations.read_record("c")
    assert record is not None
    assert record.branches == []
    # The caller's own object goes on.
    again.messages.extend(turn(2))
    assert len(await conversations.save(again)) == 2


@pytest.mark.parametrize("conversation_id", [{"$ne": None}, None, 5, "x" * 600, "\ud800"])
async def test_an_id_that_is_no_plain_text_is_refused(
    conversations: MongoConversationStore, conversation_id: Any
) -> None:
    await conversations.save(begun("c"))
    for call in (
        conversations.load(conversation_id),
        conversations.save(Conversation(conversation_id=conversation_id)),
        conversations.read_entry(conversation_id),
    ):
        with pytest.raises(UserError):
            await call
    with pytest.raises(UserError):
        await conversations.list_conversations(scope=conversation_id if conversation_id is not None else 5)  # type: ignore[arg-type]


async def test_of_parallel_saves_of_one_revision_one_wins(conversations: MongoConversationStore) -> None:
    await conversations.save(begun("c"))
    loaded = [await conversations.load("c") for _ in range(16)]
    for number, conversation in enumerate(loaded):
        assert conversation is not None
        conversation.messages.extend(turn(number))
    saves = [conversations.save(conversation) for conversation in loaded if conversation]
    outcomes = await asyncio.gather(*saves, return_exceptions=True)
    assert sum(isinstance(outcome, list) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, ConversationConflict) for outcome in outcomes) == 15
    entries = await conversations.load_entries("c")
    assert entries is not None
    assert len(entries) == 4


async def test_a_copy_from_before_a_deletion_is_not_saved_over_what_is_new(
    conversations: MongoConversationStore, store: AsyncMongoStore
) -> None:
    old = begun("c")
    await conversations.save(old)
    await conversations.delete("c")
    await conversations.save(begun("c", turns=2))
    old.messages.extend(turn("late"))
    with pytest.raises(ConversationConflict):
        await conversations.save(old)
    # Also where another process has deleted it since the record was read here.
    record = await conversations.read_record("c")
    assert record is not None
    other = MongoConversationStore(store=store)
    await other.delete("c")
    await other.save(begun("c", turns=3))
    late = ConversationEntry(parent_id=record.head_id, message=turn(9)[0])
    record.head_id = late.id
    with pytest.raises(ConversationConflict):
        await conversations.write_record(record, new_entries=[late], expected_revision=record.revision)
    loaded = await conversations.load("c")
    assert loaded is not None
    assert len(loaded.messages) == 6


@pytest.mark.parametrize("verb", ["branch", "delete_record"])
async def test_no_change_of_a_conversation_meets_one_of_that_id_that_is_made_anew_meanwhile(
    conversations: MongoConversationStore,
    store: AsyncMongoStore,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
) -> None:
    await conversations.save(old := begun("c"))
    name, other = {"branch": "update", "delete_record": "delete"}[verb], MongoConversationStore(store=store)
    change = getattr(AsyncSessions, name)

    async def renew_and_change(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(AsyncSessions, name, change)
        await other.delete("c")
        # By as many writes, so that the session has the same revision.
        await other.save(begun("c", turns=2))
        return await change(*args, **options)

    monkeypatch.setattr(AsyncSessions, name, renew_and_change)
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "branch": lambda: conversations.branch("c", at=1, expected_revision=old.revision),
        "delete_record": lambda: conversations.delete_record("c", expected_revision=str(old.revision)),
    }
    with pytest.raises(ConversationConflict):
        await calls[verb]()
    loaded = await other.load("c")
    assert loaded is not None
    assert len(loaded.messages) == 4


@pytest.mark.parametrize(
    "error", [UnavailableError("away"), asyncio.CancelledError()], ids=["lost", "cancelled"]
)
@pytest.mark.parametrize("was_done", [True, False], ids=["done", "not done"])
async def test_a_long_save_whose_outcome_is_unknown_is_whole_or_nothing_is_left_of_it(
    conversations: MongoConversationStore,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    was_done: bool,
) -> None:
    await conversations.save(begun("c"))
    conversation = await conversations.load("c")
    assert conversation is not None
    conversation.messages.extend(message for number in range(501) for message in turn(number))
    append = AsyncSessionBranches.append_many

    async def append_and_fail(*args: Any, update: Any = None, **options: Any) -> Any:
        if update is None or was_done:
            appended = await append(*args, update=update, **options)
        if update is None:
            return appended
        raise error

    monkeypatch.setattr(AsyncSessionBranches, "append_many", append_and_fail)
    with pytest.raises(type(error)):
        await conversations.save(conversation)
    monkeypatch.undo()
    loaded = await conversations.load("c")
    assert loaded is not None
    assert len(loaded.messages) == (1004 if was_done else 2)
    assert await (await conversations.sessions()).messages.count("c") == len(loaded.messages)


@pytest.mark.parametrize("times", [25, pytest.param(300, marks=pytest.mark.long)])
async def test_no_fork_is_left_without_its_history(conversations: MongoConversationStore, times: int) -> None:
    """A fork beside the deletion of its source: it is whole, or it was refused."""
    whole = 0
    for number in range(times):
        source, fork = f"source{number}", f"fork{number}"
        await conversations.save(saved := begun(source, turns=3))
        forked, _ = await asyncio.gather(
            conversations.fork(source, at=4, new_conversation_id=fork),
            conversations.delete(source),
            return_exceptions=True,
        )
        found = await conversations.load(fork)
        if isinstance(forked, Conversation):
            assert found is not None
            assert found.messages == forked.messages == saved.messages[:4]
            whole += 1
        else:
            assert isinstance(forked, UserError)
            assert found is None
            assert not await (await conversations.sessions()).exists(fork)
    remaining = [session async for session in (await conversations.sessions()).iter()]
    assert len(remaining) == whole
    assert sum(session.count for session in remaining) == 4 * whole


async def test_a_history_of_more_than_a_step_holds_is_stored_whole_or_not_at_all(
    conversations: MongoConversationStore,
) -> None:
    long = Conversation(
        conversation_id="c",
        messages=[
            *(message for number in range(700) for message in turn(number)),
            *(ModelRequest(parts=[UserPromptPart(content="x" * 900_000)]) for _ in range(10)),
        ],
    )
    await conversations.save(long)
    loaded = await conversations.load("c")
    assert loaded is not None
    assert loaded.messages == long.messages
    fork = await conversations.fork("c", new_conversation_id="f")
    await conversations.delete("c")
    forked = await conversations.load("f")
    assert forked is not None
    assert forked.messages == fork.messages == long.messages


async def test_real_agents_go_on_with_what_is_stored(conversations: MongoConversationStore) -> None:
    agent = Agent(TestModel(custom_output_text="hello"))
    for number in range(3):
        loaded = await conversations.load("c") or Conversation(conversation_id="c")
        result = await agent.run(f"turn {number}", conversation=loaded)
        await conversations.save(result)
        stored = await conversations.load("c")
        assert stored == result.conversation
    assert stored is not None
    assert (len(stored.messages), stored.usage.requests) == (6, 3)


async def test_deferred_requests_survive(conversations: MongoConversationStore) -> None:
    agent = Agent(TestModel(), output_type=[str, DeferredToolRequests])

    @agent.tool_plain(requires_approval=True)
    def pay(amount: int) -> str:
        return "paid"

    result = await agent.run("pay", conversation=Conversation(conversation_id="c"))
    await conversations.save(result)
    stored = await conversations.load("c")
    assert stored is not None
    assert stored.deferred_tool_requests is not None
    assert stored.deferred_tool_requests == result.conversation.deferred_tool_requests


async def test_a_chat_goes_on_over_another_protocol(conversations: MongoConversationStore) -> None:
    """Begun over Vercel AI, continued over AG-UI, regenerated into a branch; another scope finds nothing."""
    asked: list[list[str]] = []

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> Any:
        asked.append([str(part.content) for message in messages for part in message.parts])  # type: ignore[union-attr]
        yield f"answer {len(asked)}"

    agent = Agent(FunctionModel(stream_function=answer))

    def route(adapter: Any) -> Any:
        async def chat(request: Request) -> Response:
            scope = request.headers["x-user"]
            served: Response = await adapter.dispatch_request(
                request, agent=agent, conversation_store=conversations, conversation_scope=scope
            )
            return served

        return chat

    app = Starlette(
        routes=[
            Route("/vercel", route(VercelAIAdapter), methods=["POST"]),
            Route("/agui", route(AGUIAdapter), methods=["POST"]),
        ]
    )
    asking = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "one"}]}
    submitted = {"trigger": "submit-message", "id": "c", "messages": [asking]}
    continued = {
        **{"threadId": "c", "runId": "r1", "state": {}, "tools": [], "context": [], "forwardedProps": {}},
        "messages": [{"id": "m2", "role": "user", "content": "two"}],
    }
    again = {"id": "m2", "role": "user", "parts": [{"type": "text", "text": "two"}]}
    answered = {"id": "a1", "role": "assistant", "parts": [{"type": "text", "text": "answer 1"}]}
    regenerated = {"trigger": "regenerate-message", "id": "c", "messages": [asking, answered, again]}
    transport = httpx.ASGITransport(app)

    async with httpx.AsyncClient(transport=transport, base_url="http://chat.example") as client:

        async def post(path: str, body: Any, user: str = "ada") -> httpx.Response:
            return await client.post(path, json=body, headers={"x-user": user})

        assert "answer 1" in (await post("/vercel", submitted)).text
        assert "answer 2" in (await post("/agui", continued)).text
        assert asked[1] == ["one", "answer 1", "two"]
        assert (await post("/agui", continued, user="bob")).status_code == 404
        assert "answer 3" in (await post("/vercel", regenerated)).text
    loaded, record = await conversations.load("c", scope="ada"), await conversations.read_record("c")
    assert loaded is not None
    assert record is not None
    assert len(record.branches) == 1
    assert [text for message in loaded.messages for part in message.parts for text in [part.content]] == [  # type: ignore[union-attr]
        *("one", "answer 1", "two", "answer 3")
    ]


@pytest.mark.server
async def test_calls_send_few_commands(server_uri: str, database: str) -> None:
    wire = CommandLog()
    async with logged_store(server_uri, database, wire) as store:
        conversations = MongoConversationStore(store=store)

        async def sent(call: Any) -> int:
            wire.sent.clear()
            await call
            return len(wire.sent)

        assert await sent(conversations.save(begun("new"))) <= 4
        long = begun("long", turns=460)
        await conversations.save(long)
        counts = []
        for number in range(40):
            long.messages.extend(turn(number))
            # As another process does, which remembers nothing.
            counts.append(await sent(MongoConversationStore(store=store).save(long)))
        # Two of them move messages out of the session's document.
        assert max(counts) <= 4
        assert sum(counts) <= 2 * 40 + 2 * 2
        assert await sent(conversations.load("long", limit=20)) <= 1
        assert await sent(conversations.load("long")) <= 2
        assert len(long.messages) == 1000
        assert await sent(conversations.load("new")) <= 1
        assert await sent(conversations.load("none")) <= 2
        assert await sent(conversations.list_conversations(limit=20)) <= 1


@pytest.mark.smoke
async def test_the_example_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGOSTORE_URI", f"mongomock://{uuid4().hex}")
    await example.main(TestModel(custom_output_text="In Paris."))
    assert capsys.readouterr().out.splitlines() == ["In Paris.", "In Paris.", "ada-1 1 3"]
