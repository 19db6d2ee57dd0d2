"""What stands around each server: limits, headers, problems and a log without words."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from itertools import count
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from mongostore import AsyncMongoStore, errors
from mongostore.servers import error_responses
from mongostore.servers.middleware import MAX_BODY_BYTES, MAX_JSON_DEPTH, exceeds_depth
from tests.servers.parts import ERRORS, client, small_app

KiB = 1024
SECRET = "topsecret"
ANYWHERE = {"client": None, "server": None, "scheme": "http", "http_version": "1.1"}


@pytest.fixture
async def app() -> AsyncIterator[FastAPI]:
    async with AsyncMongoStore("mongomock://") as store:
        yield small_app(store)


@pytest.fixture
async def asking(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app) as opened:
        yield opened


def is_problem(answer: httpx.Response, status: int, path: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found.keys() - {"errors"} == {"type", "title", "status", "detail", "instance"}
    assert (found["status"], found["instance"]) == (status, path)
    return found


def body_of(size: int) -> bytes:
    empty = json.dumps({"name": ""}).encode()
    return empty[:-2] + b"x" * (size - len(empty)) + empty[-2:]


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 100 * KiB):
        yield body[start : start + 100 * KiB]


@pytest.mark.parametrize("streamed", [False, True], ids=["said", "streamed"])
async def test_the_largest_body_is_read_and_one_byte_more_is_not(
    asking: httpx.AsyncClient, streamed: bool
) -> None:
    for size, status in ((MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413), (5 * MAX_BODY_BYTES, 413)):
        body = body_of(size)
        content: Any = pieces(body) if streamed else body
        answer = await asking.post("/things/a", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == status
        if status == 413:
            is_problem(answer, 413, "/things/a")


async def test_a_body_that_says_it_is_too_large_is_not_even_read(app: FastAPI) -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("it was read")

    sent = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-length", str(10**30).encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/things/a", "query_string": b"", "headers": headers}
    await app({**scope, **ANYWHERE}, receive, send)
    assert sent[0]["status"] == 413


async def test_who_goes_away_in_the_middle_of_a_body_has_changed_nothing(app: FastAPI) -> None:
    coming: Iterator[dict[str, Any]] = iter(
        [
            {"type": "http.request", "body": b'{"name": "x"}', "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> dict[str, Any]:
        return next(coming)

    sent = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/things/a", "query_string": b""}
    scope |= {"headers": [(b"content-type", b"application/json")]}
    await app({**scope, **ANYWHERE}, receive, send)
    assert sent[0]["status"] == 400


async def test_a_body_in_another_coding_is_refused_unread(asking: httpx.AsyncClient) -> None:
    packed = gzip.compress(b'{"name": "x"}')
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await asking.post("/things/a", content=packed, headers=headers)
    assert is_problem(answer, 415, "/things/a")["detail"] == "Send the body without Content-Encoding"
    assert answer.headers["accept-encoding"] == "identity"
    plain = {"name": "x"}
    answer = await asking.post("/things/a", json=plain, headers={"Content-Encoding": "identity"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("levels", "status"), [(MAX_JSON_DEPTH - 1, 200), (MAX_JSON_DEPTH, 422), (100_000, 422)]
)
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
async def test_json_may_be_nested_so_deep_and_no_deeper(
    asking: httpx.AsyncClient, levels: int, status: int, brackets: tuple[str, str]
) -> None:
    opening, closing = brackets
    nested = f"{opening * levels}1{closing * levels}"
    content = f'{{"name": "x", "data": {nested}}}'
    answer = await asking.post("/things/a", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    if status == 422:
        assert is_problem(answer, 422, "/things/a")["errors"][0]["loc"] == ["body"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("depth", [1, 300, 5000])
async def test_json_in_another_encoding_does_not_hide_how_deep_it_is(
    asking: httpx.AsyncClient, encoding: str, depth: int
) -> None:
    # One byte of this sign is that of a quote.
    text = f'{{"name": "\u2200", "data": {"[" * depth}{"]" * depth}}}'
    headers = {"Content-Type": "application/json"}
    answer = await asking.post("/things/a", content=text.encode(encoding), headers=headers)
    assert is_problem(answer, 422, "/things/a")["errors"][0]["loc"] == ["body"]
    assert (await asking.post("/things/a", content='{"name": "\u2200"}', headers=headers)).status_code == 200


JSON = st.recursive(
    st.none() | st.floats() | st.text('[]{}"\\aé'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('[]{}"\\a'), inner),
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        value = [*value.values()]
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(JSON, st.booleans())
@settings(deadline=None)
def test_the_depth_is_found_in_any_json(value: Any, ascii: bool) -> None:
    text, depth = json.dumps(value, ensure_ascii=ascii).encode(), depth_of(value)
    assert not exceeds_depth(text, depth)
    assert depth == 0 or exceeds_depth(text, depth - 1)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 900_000,
        b'{"name": "' + b'\\"' * 400_000,
        b"]" * 900_000,
        b'"' * 900_001,
        b"\xff\xfe[",
        b"\\" * 9,
    ],
    ids=["opened", "a text without end", "closed", "quotes", "no UTF-8", "backslashes"],
)
async def test_what_is_no_json_is_a_problem(asking: httpx.AsyncClient, content: bytes) -> None:
    answer = await asking.post("/things/a", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    is_problem(answer, answer.status_code, "/things/a")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/quiet", 200),
        ("GET", "/nowhere", 404),
        ("PUT", "/quiet", 405),
        ("POST", "/things/a", 422),
        ("GET", "/raise/missing", 404),
        ("GET", "/raise/own", 500),
        ("GET", "/raise/other", 500),
        ("GET", "/docs", 200),
    ],
)
async def test_every_answer_has_the_headers(
    asking: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await asking.request(method, path)
    assert answer.status_code == status
    headers = answer.headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    if status >= 400:
        is_problem(answer, status, path)


async def test_a_wrong_method_is_told_the_right_ones(asking: httpx.AsyncClient) -> None:
    assert (await asking.put("/quiet")).headers["allow"] == "GET, HEAD"
    assert (await asking.post("/docs")).headers["allow"] == "GET, HEAD"


async def test_head_is_answered_as_get_without_its_body(app: FastAPI, asking: httpx.AsyncClient) -> None:
    @app.get("/text")
    async def text() -> Response:
        return Response("seven b", headers={"ETag": '"1"'}, background=BackgroundTask(done.append, "after"))

    done: list[str] = []
    got = await asking.get("/text")
    for path in ("/text", "/whoami", "/docs", "/openapi.json", "/raise/missing", "/nowhere"):
        got, head = await asking.get(path), await asking.head(path)
        assert (head.status_code, head.headers) == (got.status_code, got.headers), path
        assert got.content
        assert not head.content
    assert done == ["after"] * 3
    assert (await asking.head("/things/a")).headers["allow"] == "POST"


async def test_of_a_stream_head_makes_no_more_than_the_beginning(
    app: FastAPI, asking: httpx.AsyncClient
) -> None:
    made: list[int] = []

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for number in count():
                made.append(number)
                yield b"x"
                await asyncio.sleep(0)

        return StreamingResponse(parts(), media_type="text/event-stream")

    answer = await asyncio.wait_for(asking.head("/endless"), 10)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert len(made) < 5


async def test_what_is_said_of_a_path_is_a_uri(asking: httpx.AsyncClient) -> None:
    for path in ("/é b", "/%0a%22", "/a%2Fb?q=1"):
        texts = (await asking.get(path)).json()["instance"]
        assert texts.isascii()
        assert unquote(texts) == unquote(path).partition("?")[0]
    assert is_problem(await asking.get("/docs/none"), 404, "/docs/none")


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/things/a?number=topsecret", {"json": {"name": "x"}}),
        ("/things/a", {"json": {"name": [SECRET]}}),
        ("/things/a", {"json": {"name": "x", SECRET: 1}}),
        ("/things/a", {"json": SECRET}),
        ("/things/a", {"json": [{SECRET: SECRET}]}),
        ("/things/a", {"content": SECRET, "headers": {"Content-Type": "application/json"}}),
        ("/things/a", {"content": SECRET, "headers": {"Content-Type": SECRET}}),
        ("/things/a", {"data": {"name": SECRET}}),
    ],
)
async def test_nothing_that_was_sent_comes_back_in_an_error(
    asking: httpx.AsyncClient, path: str, sent: dict[str, Any]
) -> None:
    answer = await asking.post(path, **sent)
    found = is_problem(answer, 422, "/things/a")
    assert SECRET not in answer.text
    assert found["errors"]
    assert all(wrong.keys() == {"loc", "msg"} for wrong in found["errors"])


@pytest.mark.parametrize("kind", ["own", "other"])
async def test_what_fails_is_logged_without_its_words(
    asking: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    answer = await asking.get(f"/raise/{kind}?q={SECRET}")
    is_problem(answer, 500, f"/raise/{kind}")
    assert "secret words" not in answer.text
    logged = [record for record in caplog.records if record.name == "mongostore.servers"]
    assert [record.levelname for record in logged] == ["ERROR"]
    if kind == "other":
        assert "ValueError" in caplog.text
        assert "parts.py" in caplog.text
        assert "secret words" not in caplog.text


async def test_an_answer_that_breaks_off_is_no_whole_one_and_is_logged_without_words(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as asking:
        with pytest.raises(RuntimeError, match="broke off") as caught:
            await asking.get("/breaks")
    assert caught.value.__suppress_context__
    assert "ValueError" in caplog.text
    assert "secret words" not in caplog.text


async def test_who_waits_when_the_server_ends_is_told_so(app: FastAPI) -> None:
    waiting, sent = asyncio.Event(), []

    async def wait() -> None:
        waiting.set()
        await asyncio.Event().wait()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    app.add_api_route("/wait", wait)
    scope = {"type": "http", "method": "GET", "path": "/wait", "query_string": b"", "headers": []}
    asked = asyncio.ensure_future(app({**scope, **ANYWHERE}, receive, send))
    await waiting.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    headers = dict(sent[0]["headers"])
    assert (sent[0]["status"], headers[b"content-type"]) == (503, b"application/problem+json")
    assert headers[b"retry-after"] == b"1"
    assert json.loads(sent[1]["body"])["detail"] == "The server ends"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFoundError("session", "s"), 404),
        (errors.AlreadyExistsError("session", "s"), 409),
        (errors.ConflictError("lost"), 409),
        (errors.DocumentTooLargeError("it", 2, 1), 413),
        (errors.InvalidValueError(f"data.{SECRET}[0]", "is odd"), 422),
        (errors.UnsupportedError(SECRET), 501),
        (errors.UnavailableError(SECRET), 503),
        (errors.AccessDeniedError(SECRET), 500),
        (errors.InvalidDocumentError("session", SECRET), 500),
        (errors.NotOpenError(SECRET), 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_each_error_of_ours_is_a_problem_of_its_kind(
    asking: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    monkeypatch.setitem(ERRORS, "this", error)
    answer = await asking.get("/raise/this")
    found = is_problem(answer, status, "/raise/this")
    assert SECRET not in answer.text
    assert found["detail"]
    assert ("retry-after" in answer.headers) == (status == 503)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.message) for record in caplog.records if record.name == "mongostore.access"]


async def test_each_request_is_a_line_of_its_route_and_says_nothing_else(
    asking: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answers = [
        await asking.get(f"/quiet?{SECRET}={SECRET}"),
        await asking.post(f"/things/{SECRET}?number=1", json={"name": SECRET}),
        await asking.get("/whoami", headers={"Authorization": f"Bearer {SECRET}"}),
        await asking.get("/raise/other"),
        await asking.head("/raise/other"),
        await asking.get("/nowhere%0A%22forged%22"),
        await asking.post(f"/things/{SECRET}", content=b"x" * (2 * MAX_BODY_BYTES)),
        await asking.delete(f"/things/{SECRET}"),
    ]
    found = lines(caplog)
    assert [(line["method"], line["path"], line["status"]) for line in found] == [
        ("GET", "/quiet", 200),
        ("POST", "/things/{thing}", 200),
        ("GET", "/whoami", 401),
        ("GET", "/raise/{kind}", 500),
        ("HEAD", "/raise/{kind}", 500),
        ("GET", '/nowhere\n"forged"', 404),
        ("POST", "/things/{thing}", 413),
        ("DELETE", "/things/{thing}", 405),
    ]
    assert [line["bytes"] for line in found] == [len(answer.content) for answer in answers]
    assert all(line["ms"] >= 0 for line in found)
    assert all(datetime.fromisoformat(line["time"]).tzinfo for line in found)
    logged = [record.getMessage() for record in caplog.records if record.name == "mongostore.access"]
    assert SECRET not in "".join(logged)
    assert not any("\n" in line for line in logged)


async def test_a_line_says_by_which_key_and_not_its_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with AsyncMongoStore("mongomock://") as store:
        key = await store.keys.create(name="k", namespaces=["acme"])
        token = key.token
        async with client(small_app(store), token) as known:
            await known.get("/whoami")
            await known.get("/quiet")
    assert [line["key"] for line in lines(caplog)] == [key.id, None]
    assert token.split("_", 2)[2] not in caplog.text


def test_every_default_answer_is_declared_as_a_problem() -> None:
    for status, answer in error_responses.DEFAULT_HTTP_ERROR_RESPONSES.items():
        assert isinstance(status, int)
        assert [*answer["content"]] == ["application/problem+json"]
        named = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}
        assert [*answer["headers"]] == named.get(status, [])
