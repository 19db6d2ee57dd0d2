"""Conversations of frameworks for agents look like all others on the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart
from typer.testing import CliRunner

from mongostore.adapters.claude_agent_sdk import MongoSessionStore
from mongostore.adapters.openai_agents import MongoSession
from mongostore.adapters.pydantic_ai import MongoConversationStore
from mongostore.cli import app

QUESTION, ANSWER = "Where is the Louvre?", "In Paris."


async def openai_agents(uri: str) -> None:
    session = MongoSession("talk", uri, user_id="ada")
    parts: Any = [{"type": "output_text", "text": ANSWER, "annotations": []}]
    await session.add_items(
        [{"role": "user", "content": QUESTION}, {"type": "message", "role": "assistant", "content": parts}]  # type: ignore[list-item,misc]
    )


async def claude_agent_sdk(uri: str) -> None:
    entries: Any = [
        {"type": role, "uuid": role, "message": {"role": role, "content": [{"type": "text", "text": text}]}}
        for role, text in (("user", QUESTION), ("assistant", ANSWER))
    ]
    key: Any = {"project_key": "-home-ada", "session_id": "talk"}
    await MongoSessionStore(uri, user_of=lambda key: "ada").append(key, entries)


async def pydantic_ai(uri: str) -> None:
    said = [
        ModelRequest(parts=[UserPromptPart(content=QUESTION)]),
        ModelResponse(parts=[TextPart(content=ANSWER)]),
    ]
    await MongoConversationStore(uri).save(Conversation(conversation_id="talk", messages=said), scope="ada")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    ("begin", "namespace"),
    [(openai_agents, "openai"), (claude_agent_sdk, "claude:-home-ada"), (pydantic_ai, "pydantic_ai")],
)
def test_a_conversation_is_listed_and_shown_like_any_other(
    begin: Callable[[str], Awaitable[None]], namespace: str
) -> None:
    uri = f"mongomock://{uuid4().hex}"
    asyncio.run(begin(uri))  # type: ignore[arg-type]
    where = ["--namespace", namespace, "--uri", uri]
    [listed] = map(json.loads, run("ls", "--user", "ada", *where).splitlines())
    assert (listed["house"], listed["id"], listed["user_id"]) == ("sessions", "talk", "ada")
    assert ANSWER in json.dumps(listed)
    shown = run("show", "talk", "--as", "text", *where)
    assert QUESTION in shown
    assert ANSWER in shown
    [chat] = map(json.loads, run("show", "talk", "--as", "openai", *where).splitlines())
    assert [message["role"] for message in chat["messages"]] == ["user", "assistant"]
    assert ANSWER in json.dumps(chat["messages"][1]["content"])
