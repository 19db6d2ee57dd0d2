"""Who may open the studio, and from where."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from mongostore import AsyncMongoStore
from mongostore.servers.studio import create_app
from tests.servers.studio.conftest import open_client
from tests.servers.studio.seed import NAMESPACE, ROOM, SESSION, THREAD
from tests.servers.studio.serving import TOKEN

S = f"/s/{NAMESPACE}/{SESSION}"
ALL = [
    "/",
    "/list",
    "/deleted",
    S,
    f"{S}/live",
    f"{S}/at/0/images/0",
    f"/t/{THREAD}",
    f"/r/{ROOM}",
    f"/r/{ROOM}/live",
    "/files/x",
]


async def test_nothing_opens_without_the_token(seeded: AsyncMongoStore) -> None:
    async with open_client(seeded) as stranger:
        for path in ALL:
            assert (await stranger.get(path)).status_code == 401
            assert (await stranger.get(path, headers={"Cookie": "mongostore_studio=x"})).status_code == 401
        assert 'role="alert"' not in (await stranger.get("/")).text
        wrong = await stranger.get("/open", params={"token": "x"})
        assert wrong.status_code == 401
        assert 'role="alert">The token is that of another studio' in wrong.text


async def test_the_token_does_not_stay_in_the_address_nor_in_the_cookie(seeded: AsyncMongoStore) -> None:
    async with open_client(seeded) as opened:
        answer = await opened.get("/open", params={"token": TOKEN})
        assert answer.headers["refresh"] == "0; url=/"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie


ELSEWHERE = [
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


async def test_pages_from_elsewhere_get_nothing(asking: httpx.AsyncClient) -> None:
    for headers in ELSEWHERE:
        for path in ALL:
            assert (await asking.get(path, headers=headers)).status_code == 403, headers


@pytest.fixture
async def mounted(seeded: AsyncMongoStore) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application in which the studio is mounted."""
    app = FastAPI()
    app.mount("/studio", create_app(seeded))
    transport = httpx.ASGITransport(app)
    headers = {"Accept": "text/html"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://app.example", headers=headers
    ) as opened:
        yield opened


async def test_mounted_it_needs_a_key(seeded: AsyncMongoStore, mounted: httpx.AsyncClient) -> None:
    closed = await mounted.get("/studio/")
    assert closed.status_code == 401
    assert 'action="/studio/open"' in closed.text
    wrong = await mounted.post("/studio/open", data={"key": "mgs_x"})
    assert wrong.status_code == 401
    assert 'role="alert">The key is not valid.' in wrong.text
    key = await seeded.keys.create(name="admin", namespaces=["*"])
    opened = await mounted.post("/studio/open", data={"key": key.token})
    assert (opened.status_code, opened.headers["location"]) == (303, "/studio/")
    assert "Path=/studio" in opened.headers["set-cookie"]
    page = await mounted.get(f"/studio{S}")
    assert page.status_code == 200
    assert 'href="/studio/list' in page.text or 'href="/studio/"' in page.text
    await seeded.keys.delete(key.id)
    assert (await mounted.get("/studio/")).status_code == 401


async def test_studios_of_one_host_do_not_close_each_other(seeded: AsyncMongoStore) -> None:
    tokens, stored = ("one", "two"), httpx.Cookies()
    apps = [create_app(seeded, token=token) for token in tokens]
    for turn in range(2):
        for port, (app, token) in enumerate(zip(apps, tokens, strict=True), start=8000):
            # Browsers keep cookies by hosts, whatever the port.
            base = f"http://127.0.0.1:{port}"
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url=base, cookies=stored) as browser:
                if turn == 0:
                    await browser.get("/open", params={"token": token})
                    stored.update(browser.cookies)
                else:
                    assert (await browser.get("/")).status_code == 200


async def test_a_key_sees_its_namespaces_alone(seeded: AsyncMongoStore, mounted: httpx.AsyncClient) -> None:
    key = await seeded.keys.create(name="tea", namespaces=["tea-party"])
    mounted.headers["Authorization"] = f"Bearer {key.token}"
    listed = (await mounted.get("/studio/list?fragment=true")).text
    assert "A Mad Tea-Party" in listed
    assert "White gloves" not in listed
    assert "Jabberwock" not in listed
    assert (await mounted.get("/studio/s/tea-party/s0")).status_code == 200
    for path in (
        S,
        f"{S}/live",
        f"/t/{THREAD}",
        f"/r/{ROOM}",
        f"/r/{ROOM}/live",
        "/files/x",
        "/list?namespace=demo",
    ):
        assert (await mounted.get(f"/studio{path}")).status_code == 404, path
