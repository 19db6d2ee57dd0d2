"""Conversations of frameworks for agents look like all others to each command and page."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from typer.testing import CliRunner

from mongostore import AsyncMongoStore, Message, MongoStore
from mongostore.adapters.claude_agent_sdk import MongoSessionStore
from mongostore.adapters.openai_agents import MongoSession
from mongostore.adapters.pydantic_ai import MongoConversationStore
from mongostore.cli import app
from mongostore.servers.studio.addresses import encode_id
from tests.servers.studio.conftest import open_client
from tests.servers.studio.serving import TOKEN

QUESTION, ANSWER, HOURS = "When does the Louvre open?", "At nine.", "9 to 6"
TOOL, ARGUMENTS = "find_hours", {"place": "Louvre"}


def openai_agents(uri: str) -> MongoSession:
    return MongoSession("talk", uri, user_id="ada")


async def begin_openai_agents(uri: str) -> None:
    parts = [{"type": "output_text", "text": ANSWER, "annotations": []}]
    items: list[Any] = [
        {"role": "user", "content": QUESTION},
        {"type": "function_call", "call_id": "c1", "name": TOOL, "arguments": json.dumps(ARGUMENTS)},
        {"type": "function_call_output", "call_id": "c1", "output": HOURS},
        {"type": "message", "role": "assistant", "content": parts},
    ]
    await openai_agents(uri).add_items(items)


KEY: Any = {"project_key": "-home-ada", "session_id": "talk"}


def claude_agent_sdk(uri: str) -> MongoSessionStore:
    return MongoSessionStore(uri, user_of=lambda key: "ada")


async def begin_claude_agent_sdk(uri: str) -> None:
    texts: list[tuple[str, dict[str, Any]]] = [
        ("user", {"type": "text", "text": QUESTION}),
        ("assistant", {"type": "tool_use", "id": "c1", "name": TOOL, "input": ARGUMENTS}),
        ("user", {"type": "tool_result", "tool_use_id": "c1", "content": HOURS}),
        ("assistant", {"type": "text", "text": ANSWER}),
    ]
    entries: Any = [
        {"type": role, "uuid": str(number), "message": {"role": role, "content": [part]}}
        for number, (role, part) in enumerate(texts)
    ]
    await claude_agent_sdk(uri).append(KEY, entries)


async def begin_pydantic_ai(uri: str) -> None:
    messages: list[ModelMessage] = [
        ModelRequest(parts=[SystemPromptPart(content="Be short."), UserPromptPart(content=QUESTION)]),
        ModelResponse(parts=[ToolCallPart(tool_name=TOOL, args=ARGUMENTS, tool_call_id="c1")]),
        ModelRequest(parts=[ToolReturnPart(tool_name=TOOL, content=HOURS, tool_call_id="c1")]),
        ModelResponse(parts=[TextPart(content=ANSWER)]),
    ]
    conversation = Conversation(conversation_id="talk", messages=messages)
    await MongoConversationStore(uri).save(conversation, scope="ada")


@dataclass(frozen=True)
class Framework:
    """How a conversation begins, and how its framework finds it."""

    namespace: str
    begin: Callable[[str], Awaitable[None]]
    find: Callable[[str], Awaitable[object]]


FRAMEWORKS = {
    "openai_agents": Framework("openai", begin_openai_agents, lambda uri: openai_agents(uri).get_items()),
    "claude_agent_sdk": Framework(
        "claude:-home-ada", begin_claude_agent_sdk, lambda uri: claude_agent_sdk(uri).load(KEY)
    ),
    "pydantic_ai": Framework(
        "pydantic_ai", begin_pydantic_ai, lambda uri: MongoConversationStore(uri).load("talk", scope="ada")
    ),
}


def call(verb: Callable[[str], Awaitable[object]], uri: str) -> object:
    async def await_it() -> object:
        return await verb(uri)

    return asyncio.run(await_it())


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Framework:
    """Each of them in turn."""
    return FRAMEWORKS[request.param]


@pytest.fixture
def uri(framework: Framework) -> str:
    """A database with one conversation."""
    uri = f"mongomock://{uuid4().hex}"
    call(framework.begin, uri)
    return uri


def test_a_conversation_is_listed_and_shown(framework: Framework, uri: str) -> None:
    where = ["--namespace", framework.namespace, "--uri", uri]
    [listed] = map(json.loads, run("ls", "--user", "ada", *where).splitlines())
    assert (listed["house"], listed["id"], listed["user_id"]) == ("sessions", "talk", "ada")
    assert (listed["count"], listed["last"]["text"]) == (4, ANSWER)
    result_text = run("show", "talk", "--as", "text", *where)
    for text in (QUESTION, f"→ {TOOL}({json.dumps(ARGUMENTS)})", HOURS, ANSWER):
        assert text in result_text


def read_openai(result_text: dict[str, Any]) -> list[Any]:
    pieces: list[Any] = []
    for one in result_text["messages"]:
        assert one.keys() <= {"role", "content", "tool_calls", "tool_call_id"}
        calls = [(call["id"], call["function"]) for call in one.get("tool_calls", ())]
        pieces += [(id, function["name"], json.loads(function["arguments"])) for id, function in calls]
        if one["content"] is not None:
            pieces.append((one.get("tool_call_id", one["role"]), one["content"]))
    return pieces


def read_claude(result_text: dict[str, Any]) -> list[Any]:
    pieces: list[Any] = [("system", result_text["system"])] if "system" in result_text else []
    for one in result_text["messages"]:
        assert one["role"] in ("user", "assistant")
        for block in one["content"]:
            match block:
                case {"type": "text", "text": text}:
                    pieces.append((one["role"], text))
                case {"type": "tool_use", **call}:
                    pieces.append((call["id"], call["name"], call["input"]))
                case {"type": "tool_result", **result}:
                    pieces.append((result["tool_use_id"], result["content"]))
    return pieces


def read_pydantic(result_text: dict[str, Any]) -> list[Any]:
    pieces: list[Any] = []
    for part in chain(
        *(one.parts for one in ModelMessagesTypeAdapter.validate_python(result_text["messages"]))
    ):
        match part:
            case SystemPromptPart():
                pieces.append(("system", part.content))
            case UserPromptPart():
                pieces.append(("user", part.content))
            case ToolCallPart():
                pieces.append((part.tool_call_id, part.tool_name, part.args_as_dict()))
            case ToolReturnPart():
                assert part.tool_name == TOOL
                pieces.append((part.tool_call_id, part.content))
            case TextPart():
                pieces.append(("assistant", part.content))
    return pieces


@pytest.mark.parametrize("read", [read_openai, read_claude, read_pydantic])
def test_a_conversation_is_shown_in_the_form_of_each_framework(
    framework: Framework, uri: str, read: Callable[[dict[str, Any]], list[Any]]
) -> None:
    form = read.__name__.removeprefix("read_")
    result_text = run("show", "talk", "--as", form, "--namespace", framework.namespace, "--uri", uri)
    pieces = read(json.loads(result_text))
    assert [one for one in pieces if one != ("system", "Be short.")] == [
        ("user", QUESTION),
        ("c1", TOOL, ARGUMENTS),
        ("c1", HOURS),
        ("assistant", ANSWER),
    ]


@pytest.mark.parametrize("form", ["openai", "claude", "pydantic"])
def test_calls_of_one_step_are_shown_in_one_message(form: str) -> None:
    uri = f"mongomock://{uuid4().hex}"

    async def begin(uri: str) -> None:
        calls: list[Any] = [
            {"type": "function_call", "call_id": id, "name": TOOL, "arguments": "{}"} for id in ("c1", "c2")
        ]
        outputs: list[Any] = [
            {"type": "function_call_output", "call_id": id, "output": HOURS} for id in ("c1", "c2")
        ]
        await openai_agents(uri).add_items([*calls, *outputs])

    call(begin, uri)
    found = json.loads(run("show", "talk", "--as", form, "--namespace", "openai", "--uri", uri))["messages"]
    inside = [
        len(one.get("parts") or one.get("tool_calls") or ([one] if form == "openai" else one["content"]))
        for one in found
    ]
    assert inside == ([2, 1, 1] if form == "openai" else [2, 2])


@pytest.mark.parametrize("form", ["openai", "claude", "pydantic"])
def test_an_image_is_shown_in_the_form_of_each_framework(form: str) -> None:
    uri, picture = f"mongomock://{uuid4().hex}", "iVBORw0KGgo="
    url = f"data:image/png;base64,{picture}"
    source = {"type": "base64", "media_type": "image/png", "data": picture}
    images: list[Any] = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "input_image", "image_url": url},
        {"type": "image", "source": source},
        {"type": "composite", "parts": [{"kind": "binary", "media_type": "image/png", "data": picture}]},
    ]
    with MongoStore(uri) as store:
        texts = [Message(role="user", content=[image]) for image in images]
        store.sessions.messages.append_many("s", texts, create=True)
    found = json.loads(run("show", "s", "--as", form, "--uri", uri))["messages"]
    contents = [one["parts"][0]["content"] if form == "pydantic" else one["content"] for one in found]
    expected: dict[str, Any] = {
        "openai": images[0],
        "claude": images[2],
        "pydantic": {"kind": "binary", "media_type": "image/png", "data": picture},
    }
    assert contents == [[expected[form]]] * len(images)


def test_a_conversation_is_found_by_a_word(framework: Framework, uri: str) -> None:
    where = ["--namespace", framework.namespace, "--uri", uri]
    for word in ("louvre", "nine", TOOL):
        [found] = map(json.loads, run("search", word, *where, "--json").splitlines())
        assert '"talk"' in json.dumps(found)
    assert run("search", "prado", *where, "--json") == ""


def test_a_person_gets_a_conversation_and_has_it_erased(
    framework: Framework, uri: str, tmp_path: Path
) -> None:
    file = tmp_path / "ada.zip"
    run("people", "export", "ada", "-o", str(file), "--uri", uri)
    with zipfile.ZipFile(file) as archive:
        received = b"".join(archive.read(name) for name in archive.namelist()).decode()
    for text in (QUESTION, TOOL, HOURS, ANSWER):
        assert text in received
    assert call(framework.find, uri)
    run("people", "erase", "ada", "--yes", "--uri", uri)
    assert not call(framework.find, uri)
    assert run("ls", "--namespace", framework.namespace, "--uri", uri) == ""


def test_a_conversation_goes_when_it_is_old(framework: Framework, uri: str) -> None:
    run("prune", "--idle", "1h", "--uri", uri)
    assert call(framework.find, uri)
    run("prune", "--idle", "0.001s", "--yes", "--uri", uri)
    assert not call(framework.find, uri)


async def test_the_studio_shows_texts_and_calls(framework: Framework) -> None:
    uri = f"mongomock://{uuid4().hex}"
    await framework.begin(uri)
    async with AsyncMongoStore(uri) as store, open_client(store) as studio:
        await studio.get("/open", params={"token": TOKEN})
        page = (await studio.get(f"/s/{encode_id(framework.namespace)}/talk")).text
    for text in (QUESTION, TOOL, HOURS, ANSWER):
        assert text in page
    # The result stands with its call, which is done, and not as a message of its own.
    assert page.count("<article") == 3
