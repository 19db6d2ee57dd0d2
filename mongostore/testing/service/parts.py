"""Requests to a service that several suites make."""

from __future__ import annotations

from typing import Any

import httpx

ROOT = "/v1/namespaces/acme/sessions"
S1 = f"{ROOT}/s1"
TURNS = [
    {"role": "user", "content": "Why is my bill so high?"},
    {"role": "assistant", "content": "Let me look."},
]


async def make(client: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    answer = await client.post(ROOT, json={"id": "s1", **members})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def say(client: httpx.AsyncClient, participant: str, *contents: Any) -> int:
    turns = [{"role": "user", "content": content} for content in contents]
    answer = await client.post(f"{S1}/participants/{participant}/chat_turns", json={"turns": turns})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["chat_turn_count"])


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert {"type", "title", "detail", "instance"} <= found.keys()
    assert found["status"] == status
    return found
