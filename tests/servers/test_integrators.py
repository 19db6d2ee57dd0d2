"""Integrators: keywords without a model, and a model behind a server that speaks OpenAI's protocol."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from openai import APIStatusError, APITimeoutError, OpenAIError

from mongostore import AsyncMongoStore, ConfigurationError
from mongostore.integrators import integrator_for
from mongostore.integrators.keywords import KeywordIntegrator
from mongostore.integrators.openai import OpenAIIntegrator
from mongostore.integrators.transcripts import text_of
from mongostore.models import Turn
from mongostore.settings import IntegratorName, Settings
from tests.servers.endpoint import Endpoint

DIALOGUE = [
    "Why is my bill so high this month? I was charged twice for the premium plan.",
    "I see a duplicate charge for the premium plan on 3 November.",
    "Please refund the duplicate charge.",
]


def turns(*contents: Any) -> list[Turn]:
    return [Turn(role="user", content=content, number=n) for n, content in enumerate(contents, 1)]


def test_keywords_are_those_of_the_text_with_the_turns_they_are_from() -> None:
    [insight] = KeywordIntegrator()("ada", turns(*DIALOGUE))
    assert insight["kind"] == "keywords"
    assert (insight["first_turn"], insight["last_turn"]) == (1, 3)
    assert {"premium plan", "duplicate charge"} <= {*insight["keywords"]}
    assert len(insight["keywords"]) <= 8


def test_keywords_are_the_same_in_every_process() -> None:
    code = (
        "from mongostore.integrators.keywords import KeywordIntegrator\n"
        "from mongostore.models import Turn\n"
        f"turns = [Turn(role='user', content=text) for text in {DIALOGUE!r}]\n"
        "print(KeywordIntegrator()('ada', turns))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(found) == 1
    assert "premium plan" in found.pop()


@pytest.mark.parametrize(
    "content", ["", "   ", None, "!!!", "\0", "\ud800 half", 17, {"k": []}, [], "a" * 300_000, "[[[" * 9000]
)
def test_any_turn_has_keywords_or_none(content: Any) -> None:
    [insight] = KeywordIntegrator()("ada", turns(content))
    assert all(0 < len(keyword) <= 100 for keyword in insight["keywords"])


def test_long_histories_are_read_in_parts_that_cover_every_turn_once() -> None:
    insights = KeywordIntegrator()("ada", turns(*["word " * 1500] * 9, "x" * 50_000, "last"))
    covered = [n for one in insights for n in range(one["first_turn"], one["last_turn"] + 1)]
    assert covered == [*range(1, 12)]
    assert len(insights) == 7


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain", "plain"),
        ([{"type": "text", "text": "a"}, {"type": "image"}, {"text": "b"}, 7], "a\nb"),
        ({"k": "é"}, '{"k": "é"}'),
        (None, ""),
    ],
)
def test_the_text_of_a_turn_is_what_a_person_would_read(content: Any, text: str) -> None:
    assert text_of(content) == text


async def test_a_model_is_asked_in_the_protocol_and_its_notes_are_the_insights(endpoint: Endpoint) -> None:
    endpoint.content = json.dumps({"insights": ["Was charged twice.", "Half \ud800."]})
    integrator = OpenAIIntegrator("small", base_url=endpoint.url, api_key="k")
    assert await integrator("ada", turns(*DIALOGUE)) == [
        {"kind": "note", "text": "Was charged twice.", "first_turn": 1, "last_turn": 3},
        {"kind": "note", "text": "Half ?.", "first_turn": 1, "last_turn": 3},
    ]
    [asked] = endpoint.asked
    assert (asked["path"], asked["model"]) == ("/v1/chat/completions", "small")
    assert asked["response_format"] == {"type": "json_object"}
    assert '"ada"' in asked["messages"][0]["content"]
    assert asked["messages"][1]["content"].splitlines()[2] == f"[3] user: {DIALOGUE[2]}"
    assert endpoint.keys == ["Bearer k"]


async def test_a_long_history_is_asked_about_in_parts(endpoint: Endpoint) -> None:
    endpoint.content = '{"insights": ["x"]}'
    insights = await OpenAIIntegrator("m", base_url=endpoint.url)("ada", turns(*["x" * 30_000] * 3))
    assert [(one["first_turn"], one["last_turn"]) for one in insights] == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "I think that",
        "[]",
        "{}",
        '{"insights": "x"}',
        '{"insights": [1]}',
        json.dumps({"insights": ["x"] * 51}),
        json.dumps({"insights": ["x" * 4001]}),
    ],
)
async def test_an_answer_of_another_form_is_an_error(endpoint: Endpoint, content: str | None) -> None:
    endpoint.content = content
    with pytest.raises(ValueError, match=r"answer|JSON|Expecting"):
        await OpenAIIntegrator("m", base_url=endpoint.url)("ada", turns("x"))


async def test_an_endpoint_that_refuses_is_an_error(endpoint: Endpoint) -> None:
    endpoint.status = 401
    with pytest.raises(APIStatusError):
        await OpenAIIntegrator("m", base_url=endpoint.url)("ada", turns("x"))


async def test_an_endpoint_that_does_not_answer_is_given_up(endpoint: Endpoint) -> None:
    endpoint.go_on.clear()
    with pytest.raises((TimeoutError, APITimeoutError)):
        await OpenAIIntegrator("m", base_url=endpoint.url, timeout=0.2)("ada", turns("x"))


async def test_nothing_listens(endpoint: Endpoint) -> None:
    with pytest.raises(OpenAIError):
        await OpenAIIntegrator("m", base_url="http://127.0.0.1:9/v1")("ada", turns("x"))


async def test_a_session_is_integrated_by_a_model(store: AsyncMongoStore, endpoint: Endpoint) -> None:
    await store.sessions.create("s1", participants=["ada", "bob"])
    for participant in ("ada", "bob"):
        await store.sessions.turns.append_many("s1", participant, turns("hello"))
    integrator = OpenAIIntegrator("m", base_url=endpoint.url)
    endpoint.status = 500
    failed = await store.sessions.turns.integrate("s1", integrator)
    assert [(result.status, result.error) for result in failed.results] == [
        ("failed", "InternalServerError")
    ] * 2
    endpoint.status, endpoint.content = 200, '{"insights": ["said hello"]}'
    outcomes = await asyncio.gather(*(store.sessions.turns.integrate("s1", integrator) for _ in range(3)))
    results = [result for outcome in outcomes for result in outcome.results]
    assert sum(result.turns_integrated for result in results) == 2
    for participant in (await store.sessions.get("s1")).participants:
        assert [insight["text"] for insight in participant.insights] == ["said hello"]


def test_the_settings_choose(monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint) -> None:
    assert isinstance(integrator_for(Settings()), KeywordIntegrator)
    monkeypatch.setenv("MONGOSTORE_INTEGRATOR", "openai")
    with pytest.raises(ConfigurationError, match="MONGOSTORE_OPENAI_MODEL"):
        integrator_for(Settings())
    monkeypatch.setenv("MONGOSTORE_OPENAI_MODEL", "m")
    monkeypatch.setenv("MONGOSTORE_OPENAI_BASE_URL", endpoint.url)
    monkeypatch.setenv("MONGOSTORE_OPENAI_API_KEY", "secret")
    chosen = integrator_for(Settings())
    assert isinstance(chosen, OpenAIIntegrator)
    assert asyncio.run(chosen("ada", turns("x"))) == []
    assert endpoint.keys == ["Bearer secret"]
    assert "secret" not in repr(Settings())
    assert isinstance(integrator_for(Settings(), IntegratorName.KEYWORDS), KeywordIntegrator)
    monkeypatch.setenv("MONGOSTORE_INTEGRATOR", "magic")
    with pytest.raises(ConfigurationError, match="MONGOSTORE_INTEGRATOR"):
        Settings()
