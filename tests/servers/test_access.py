"""Who is let in: keys, their absence, and how often they may ask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mongostore import AsyncMongoStore, ConfigurationError
from mongostore.servers.access import Access
from mongostore.servers.rate_limits import RateLimit
from tests.servers.parts import client, small_app


async def test_without_keys_anybody_may_ask_but_no_false_token(store: AsyncMongoStore) -> None:
    app = small_app(store)
    async with client(app) as anybody, client(app, "mgs_false") as false:
        assert (await anybody.get("/whoami")).json() is None
        assert (await false.get("/whoami")).status_code == 401


async def test_the_first_key_closes_the_door_at_once(store: AsyncMongoStore) -> None:
    app = small_app(store)
    async with client(app) as anybody:
        assert (await anybody.get("/whoami")).status_code == 200
        key = await store.keys.create(name="billing")
        token = key.token
        answer = await anybody.get("/whoami")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        async with client(app, token) as known:
            assert (await known.get("/whoami")).json() == "billing"
            await store.keys.delete(key.id)
            answer = await known.get("/whoami")
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        # The last key is gone, and the door stays closed.
        assert (await anybody.get("/whoami")).status_code == 401


async def test_whoever_revokes_the_last_key_does_not_open_the_door(store: AsyncMongoStore) -> None:
    app = small_app(store)
    key = await store.keys.create(name="k")
    token = key.token
    async with client(app, token) as known, client(app) as anybody:
        assert (await known.get("/whoami")).status_code == 200
        await store.keys.delete(key.id)
        assert (await anybody.get("/whoami")).status_code == 401


async def test_a_server_may_need_keys_before_there_are_any(store: AsyncMongoStore) -> None:
    app = small_app(store)
    app.state.access = Access(store, required=True)
    async with client(app) as anybody:
        assert (await anybody.get("/whoami")).status_code == 401


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer  x", "bearer x y", "Bearer é".encode("latin-1")]
)
async def test_no_other_header_opens(store: AsyncMongoStore, header: str | bytes) -> None:
    await store.keys.create(name="k")
    async with client(small_app(store)) as asking:
        answer = await asking.get("/whoami", headers={"Authorization": header})  # type: ignore[dict-item]
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"


OWN = "127.0.0.1:8000"
PAGES = [
    ({}, 200),
    ({"Host": "localhost"}, 200),
    ({"Host": "[::1]:8000"}, 200),
    ({"Host": "evil.example:8000"}, 403),
    ({"Host": "127.0.0.1.evil.example"}, 403),
    ({"Host": "["}, 403),
    ({"Host": ""}, 403),
    ({"Origin": f"http://{OWN}", "Sec-Fetch-Site": "same-origin"}, 200),
    ({"Sec-Fetch-Site": "none"}, 200),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "http://127.0.0.1:9"}, 403),
    ({"Origin": "null"}, 403),
    ({"Forwarded": "for=192.0.2.7"}, 403),
    ({"X-Forwarded-For": "192.0.2.7"}, 403),
    ({"Via": "1.1 proxy"}, 403),
    ({"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 403),
]


@pytest.mark.parametrize(("headers", "status"), PAGES, ids=lambda value: str(value)[:60])
async def test_without_keys_no_page_from_elsewhere_asks_through_a_browser_here(
    headers: dict[str, str], status: int
) -> None:
    async with AsyncMongoStore("mongomock://") as store:
        await try_page(store, headers, status)


async def try_page(store: AsyncMongoStore, headers: dict[str, str], status: int) -> None:
    app = small_app(store)
    app.state.access = Access(store, local=True)
    async with client(app) as asking:
        answer = await asking.get("/whoami", headers={"Host": OWN, **headers})
        assert answer.status_code == status, answer.text
    # A page shows no key of itself, so whoever has one may be anywhere.
    token = (await store.keys.create(name="k")).token
    async with client(app, token) as asking:
        assert (await asking.get("/whoami", headers={"Host": OWN, **headers})).status_code == 200


async def test_an_expired_key_opens_nothing(store: AsyncMongoStore) -> None:
    token = (await store.keys.create(name="k", expires_at=datetime.now(UTC) - timedelta(seconds=1))).token
    async with client(small_app(store), token) as asking:
        assert (await asking.get("/whoami")).status_code == 401


async def test_a_rate_is_kept_for_each_key(store: AsyncMongoStore) -> None:
    app = small_app(store)
    app.state.access = Access(store, rate=RateLimit("3/hour"))
    tokens = [(await store.keys.create(name=name)).token for name in ("a", "b")]
    for token in tokens:
        async with client(app, token) as asking:
            answers = [await asking.get("/whoami") for _ in range(5)]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
            assert answers[-1].headers["content-type"] == "application/problem+json"
            assert 0 < int(answers[-1].headers["retry-after"]) <= 3600


def test_what_is_no_rate_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        RateLimit("often")
