"""The refusals of a service."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from mongostore.testing.service.parts import ROOT, S1, make, problem

TURNS_OF_P = f"{S1}/participants/p/chat_turns"
NO_IDS = ["", "a/b", "-a", ".", "é", "a b", "a" * 129, "a\n", "$where", "%00"]


class RefusalSuite:
    """A request that does not fit is refused, as a problem of RFC 9457."""

    pytestmark: pytest.MarkDecorator = pytest.mark.asyncio

    async def test_a_wrong_method_is_told_all_that_are_right(self, client: httpx.AsyncClient) -> None:
        for method, path, right in (("PUT", ROOT, {"GET", "POST"}), ("POST", S1, {"DELETE", "GET", "PATCH"})):
            answer = await client.request(method, path)
            assert problem(answer, 405)
            assert right <= {*answer.headers["allow"].split(", ")}
        problem(await client.get("/v1/nowhere"), 404)

    @pytest.mark.parametrize("bad", NO_IDS, ids=lambda bad: repr(bad)[:12])
    async def test_ids_fit_their_pattern(self, client: httpx.AsyncClient, bad: str) -> None:
        problem(await client.post(ROOT, json={"id": bad}), 422)
        problem(await client.post(ROOT, json={"participants": ["a", bad]}), 422)
        if bad and "/" not in bad and bad != ".":
            quoted = "/" + quote(bad)
            problem(await client.get(f"{ROOT}{quoted}"), 422)
            problem(await client.get(f"/v1/namespaces{quoted}/sessions"), 422)
            problem(await client.put(f"{S1}/participants{quoted}"), 422)

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", ROOT, None),
            ("POST", ROOT, {"data": None}),
            ("POST", ROOT, {"data": []}),
            ("POST", ROOT, {"name": "x" * 257}),
            ("POST", ROOT, {"description": "x" * 4097}),
            ("POST", ROOT, {"namespace": "x"}),
            ("POST", ROOT, {"deleted_at": None}),
            ("POST", ROOT, {"participants": ["a", "a"]}),
            ("POST", ROOT, {"participants": None}),
            ("POST", ROOT, {"name": 1}),
            ("PATCH", S1, {"data": None}),
            ("PATCH", S1, {"id": "x"}),
            ("PATCH", S1, {"participants": []}),
            ("PATCH", S1, None),
            ("POST", TURNS_OF_P, {"turns": []}),
            ("POST", TURNS_OF_P, {"turns": [{"role": "user"}]}),
            ("POST", TURNS_OF_P, {"turns": [{"role": "", "content": 1}]}),
            ("POST", TURNS_OF_P, {"turns": [{"role": "u", "content": 1, "number": 1}]}),
            ("POST", TURNS_OF_P, {"turns": [{"role": "u", "content": 1}] * 1001}),
        ],
    )
    async def test_what_does_not_fit_is_refused_and_changes_nothing(
        self, client: httpx.AsyncClient, method: str, path: str, body: Any
    ) -> None:
        made = await make(client, participants=["p"])
        found = problem(await client.request(method, path, json=body), 422)
        assert all({"loc", "msg"} <= error.keys() for error in found["errors"])
        assert found["errors"]
        assert (await client.get(ROOT)).json()["items"] == [made]
