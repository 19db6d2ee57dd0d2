"""The route by which Chainlit's application serves the files of elements, on each engine."""

from __future__ import annotations

import asyncio
import itertools
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest

from mongostore import AsyncMongoStore
from tests.adapters.chainlit_parts import (
    CONTENT,
    SECRET,
    THREAD,
    GridFSStorageClient,
    MongoDataLayer,
    chainlit,
    message,
    socket_session,
    steps_of,
    stored,
)

RANGES = [
    ("bytes=0-9", 206, 0, 10),
    ("bytes=300000-600000", 206, 300_000, 600_001),
    ("bytes=1048570-", 206, 1_048_570, 1_048_576),
    ("bytes=-5", 206, 1_048_571, 1_048_576),
    ("bytes=-9999999", 206, 0, 1_048_576),
    ("bytes=1048575-9999999", 206, 1_048_575, 1_048_576),
    ("Bytes = 0 - 0", 206, 0, 1),
    ("bytes=1048576-", 416, 0, 0),
    ("bytes=9999999-99999999", 416, 0, 0),
    ("bytes=-0", 416, 0, 0),
    ("bytes=", 200, 0, 1_048_576),
    ("bytes=-", 200, 0, 1_048_576),
    ("bytes=5-2", 200, 0, 1_048_576),
    ("bytes=a-b", 200, 0, 1_048_576),
    ("bytes=--5", 200, 0, 1_048_576),
    ("bytes=0-1,5-9", 200, 0, 1_048_576),
    ("items=0-1", 200, 0, 1_048_576),
    ("bytes=" + "9" * 5000 + "-", 200, 0, 1_048_576),
]


async def test_parts_of_a_file(layer: MongoDataLayer, browser: httpx.AsyncClient) -> None:
    url = (await stored(layer, content=CONTENT, mime="text/csv"))["url"]
    for (asked, status, first, end), method in itertools.product(RANGES, ("GET", "HEAD")):
        served = await browser.request(method, url, headers={"Range": asked, "Accept-Encoding": "gzip"})
        assert served.status_code == status, asked
        assert served.headers["accept-ranges"] == "bytes"
        assert served.headers.get("content-encoding", "identity") == "identity"
        if status == 416:
            assert served.headers["content-range"] == "bytes */1048576"
            continue
        assert served.headers["content-length"] == str(end - first)
        assert served.content == (CONTENT[first:end] if method == "GET" else b"")
        if status == 206:
            assert served.headers["content-range"] == f"bytes {first}-{end - 1}/1048576"


@pytest.mark.usefixtures("layer")
async def test_an_empty_file_has_no_parts(store: AsyncMongoStore, browser: httpx.AsyncClient) -> None:
    storage = GridFSStorageClient(store=store)
    await storage.upload_file("empty", b"", "text/plain")
    url = await storage.get_read_url("empty")
    assert (await browser.get(url)).content == b""
    assert (await browser.get(url, headers={"Range": "bytes=0-"})).status_code == 416


MIMES = [
    ("image/png", "inline"),
    ("application/pdf", "inline"),
    ("text/plain", "inline"),
    ("text/html", "attachment"),
    ("TEXT/HTML; charset=utf-8", "attachment"),
    ("image/svg+xml", "attachment"),
    ("application/xhtml+xml", "attachment"),
    ("text/javascript", "attachment"),
    ("text/ü-🙂", "inline"),
]


async def test_no_file_acts_as_a_page_of_the_application(
    layer: MongoDataLayer, browser: httpx.AsyncClient
) -> None:
    for mime, kind in MIMES:
        url = (await stored(layer, name="a.x", content=b"<script>alert(1)</script>", mime=mime))["url"]
        headers = (await browser.get(url)).headers
        assert headers["content-type"] == mime.encode("latin-1", errors="replace").decode("latin-1")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("sandbox;")
        assert headers["content-disposition"] == f"{kind}; filename*=UTF-8''a.x"


async def test_a_file_of_any_name_is_offered_by_it(layer: MongoDataLayer, browser: httpx.AsyncClient) -> None:
    for name in ("", "a/b.png", "../x", "ü" * 400, "half \ud83d", "\0", 'a"b\r\nc: d'):
        headers = (await browser.get((await stored(layer, name=name, content=b"x"))["url"])).headers
        assert headers["content-disposition"].startswith("inline; filename*=UTF-8''")
        assert "c" not in headers


async def test_an_address_is_fresh_at_each_reading_and_opens_its_file_alone_for_a_while(
    layer: MongoDataLayer, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = (await stored(layer, content=b"x"))["url"]
    prefix, _, token = url.rpartition("/")
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="mongostore.files")
    hour = datetime.fromtimestamp(claims["exp"], UTC) - datetime.now(UTC)
    assert timedelta(minutes=50) < hour <= timedelta(hours=1)
    past = datetime.now(UTC) - timedelta(minutes=1)
    without = {name: claims[name] for name in ("aud", "key")}
    header, body, signature = token.split(".")
    wrong = [
        jwt.encode({**claims, "exp": past}, SECRET),
        jwt.encode(without, SECRET),
        jwt.encode({**claims, "key": 5}, SECRET),
        jwt.encode({**claims, "aud": "chainlit"}, SECRET),
        jwt.encode({"key": claims["key"], "exp": claims["exp"]}, SECRET),
        jwt.encode(claims, "t" * 64),
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode({**claims, "key": "threads/other"}, SECRET),
        f"{header}.{body}.{signature[::-1]}",
        f"{header}.{body}.",
        "junk",
        "%00",
        "x" * 5000,
    ]
    assert (await browser.get(url)).content == b"x"
    for other in wrong:
        assert (await browser.get(f"{prefix}/{other}")).status_code == 404, other
    assert (await browser.post(url)).status_code in (404, 405)
    monkeypatch.setenv("CHAINLIT_AUTH_SECRET", "u" * 64)
    assert (await browser.get(url)).status_code == 404


async def test_a_login_is_no_address_and_an_address_no_login(
    layer: MongoDataLayer, browser: httpx.AsyncClient
) -> None:
    from chainlit.auth.jwt import create_jwt, decode_jwt

    url = (await stored(layer, content=b"x"))["url"]
    prefix, _, token = url.rpartition("/")
    with pytest.raises(jwt.InvalidTokenError):
        decode_jwt(token)
    login = create_jwt(chainlit.User(identifier="ada"))
    assert (await browser.get(f"{prefix}/{login}")).status_code == 404


async def test_nobody_replaces_or_deletes_the_feedback_of_others_by_a_request(
    layer: MongoDataLayer, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chainlit.auth.jwt import create_jwt
    from chainlit.config import config
    from chainlit.context import ChainlitContext, context_var

    monkeypatch.setattr(config.code, "password_auth_callback", lambda name, password: None)
    for module in ("chainlit.server", "chainlit.auth"):
        monkeypatch.setattr(f"{module}.get_data_layer", lambda: layer)
    ada = await layer.create_user(chainlit.User(identifier="ada"))
    assert ada is not None
    await layer.create_step(message("m", "text"))

    async def ask(who: str, method: str, within: Any = None, **body: Any) -> int:
        headers = {"Cookie": f"access_token={create_jwt(chainlit.User(identifier=who))}"}
        # A request of a browser has no context of Chainlit, or the one that an earlier request has left.
        context = copy_context()
        context.run(context_var.set, within)
        asking = browser.request(method, "/feedback", json=body, headers=headers)
        return (await asyncio.get_running_loop().create_task(asking, context=context)).status_code

    own = {"forId": "m", "value": 1, "threadId": THREAD, "comment": "mine"}
    # Nobody has claimed the thread yet, but one user is in it.
    here = socket_session()
    here.thread_id, here.user = THREAD, ada
    assert await ask("eve", "PUT", feedback=own, sessionId="s") == 500
    assert await ask("ada", "PUT", feedback=own, sessionId="s") == 200
    await layer.delete_feedback((await steps_of(layer))["m"]["feedback"]["id"])
    here.thread_id = "another"
    assert await ask("ada", "PUT", feedback=own, sessionId="s") == 500
    await layer.update_thread(THREAD, user_id=ada.id)
    assert await ask("eve", "PUT", feedback=own, sessionId="s") == 500
    assert await ask("ada", "PUT", feedback=own, sessionId="s") == 200
    seen = (await steps_of(layer))["m"]["feedback"]
    assert seen["comment"] == "mine"
    for thread_id in (THREAD, None, "another"):
        theirs = {"forId": "m", "value": 0, "threadId": thread_id, "comment": "theirs"}
        assert await ask("eve", "PUT", feedback=theirs, sessionId="s") == 500
    left = ChainlitContext(here)
    assert await ask("eve", "PUT", left, feedback={**own, "comment": "theirs"}, sessionId="s") == 500
    here.user = chainlit.User(identifier="eve")
    assert await ask("ada", "PUT", left, feedback=own, sessionId="s") == 200
    await ask("eve", "DELETE", feedbackId=seen["id"])
    assert (await steps_of(layer))["m"]["feedback"] == seen
    assert await ask("ada", "PUT", feedback={**own, "comment": None}, sessionId="s") == 200
    assert (await steps_of(layer))["m"]["feedback"]["comment"] is None
    assert await ask("ada", "DELETE", feedbackId=seen["id"]) == 200
    assert "feedback" not in (await steps_of(layer))["m"]


async def test_an_address_lies_below_the_root_of_the_application(
    layer: MongoDataLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for parent, root, begin in (
        ("", "", ""),
        ("", "/chat", "/chat"),
        ("/apps", "/chat/", "/apps/chat"),
        ("", "/", ""),
    ):
        monkeypatch.setenv("CHAINLIT_PARENT_ROOT_PATH", parent)
        monkeypatch.setenv("CHAINLIT_ROOT_PATH", root)
        url = (await stored(layer, content=b"x"))["url"]
        assert url.startswith(f"{begin}/mongostore/files/")


async def test_an_application_below_a_root_serves_its_files_there(
    store: AsyncMongoStore, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chainlit.config import config

    monkeypatch.setenv("CHAINLIT_AUTH_SECRET", SECRET)
    monkeypatch.setenv("CHAINLIT_ROOT_PATH", "/chat")
    monkeypatch.setattr(config.run, "root_path", "/chat")
    storage = GridFSStorageClient(store=store)
    url = (await storage.upload_file("k", "text", "text/plain"))["url"]
    assert (await browser.get(url)).text == "text"


async def test_addresses_for_pages_of_other_origins(
    store: AsyncMongoStore, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAINLIT_AUTH_SECRET", SECRET)
    storage = GridFSStorageClient(store=store, base_url="http://chat.example/")
    url = (await storage.upload_file("k", b"x", content_disposition="attachment; filename=y"))["url"]
    assert url.startswith("http://chat.example/mongostore/files/")
    served = await browser.get(url, headers={"Origin": "https://shop.example"})
    assert served.headers["cross-origin-resource-policy"] == "cross-origin"
    assert served.headers["content-disposition"] == "attachment; filename=y"
    assert await storage.delete_file("k") is True
    assert await storage.delete_file("k") is False
    await storage.close()
    await storage.close()


async def test_without_a_secret_the_process_has_one_of_its_own(
    layer: MongoDataLayer, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHAINLIT_AUTH_SECRET")
    url = (await stored(layer, content=b"x"))["url"]
    assert (await browser.get(url)).content == b"x"
    claims = {"aud": "mongostore.files", "exp": 4_000_000_000, "key": "k"}
    forged = jwt.encode(claims, "x" * 64)
    assert (await browser.get(f"/mongostore/files/{forged}")).status_code == 404


@pytest.mark.parametrize("size", [3, 900_000], ids=["smaller", "larger"])
@pytest.mark.parametrize("asked", ["", "bytes=0-4"])
async def test_a_file_that_is_replaced_meanwhile_is_served_whole(
    layer: MongoDataLayer,
    store: AsyncMongoStore,
    browser: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    asked: str,
) -> None:
    found = await stored(layer, content=b"old" * 100_000, mime="text/old")
    files, new = store.threads.files, b"n" * size
    get = files.get

    async def get_and_lag(key: str) -> Any:
        monkeypatch.setattr(files, "get", get)
        file = await get(key)
        await files.upload(key, new, content_type="text/new")
        return file

    monkeypatch.setattr(files, "get", get_and_lag)
    served = await browser.get(found["url"], headers={"Range": asked})
    assert served.headers["content-type"] == "text/new"
    assert served.content == (new[:5] if asked else new)
    assert served.headers["content-length"] == str(len(served.content))


async def test_a_file_that_is_deleted_meanwhile_is_not_found(
    layer: MongoDataLayer,
    store: AsyncMongoStore,
    browser: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = await stored(layer, content=b"x")
    files = store.threads.files
    get = files.get

    async def get_and_lag(key: str) -> Any:
        file = await get(key)
        await files.delete(key)
        return file

    monkeypatch.setattr(files, "get", get_and_lag)
    assert (await browser.get(found["url"])).status_code == 404
