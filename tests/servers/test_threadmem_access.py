"""Who gets what from each route of role threads: all routes that there are, and all who may ask."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from mongostore import MongoStore
from mongostore.adapters.threadmem import RoleThread, V1Role
from mongostore.servers.threadmem import create_app
from tests.servers.rolehub import Hub, RoleServer

BOSS = {"name": "boss", "user_id": "u", "user_name": "U", "icon": "i"}
# What each operation is asked, and what it answers to whose thread it is and to others; a new one has to be
# added here.
OPERATIONS: dict[str, tuple[Any, int]] = {
    "create_role_thread": ({"name": "new"}, 200),
    "get_role_threads": (None, 200),
    "get_role_thread": (None, 404),
    "update_role_thread": ({"public": True, "name": "stolen"}, 404),
    "delete_role_thread": (None, 404),
    "post_role_thread_msg": ({"role": "user", "msg": "forged"}, 404),
    "add_role_to_thread": ({**BOSS, "name": "new"}, 404),
    "remove_role_from_thread": ({"name": "boss"}, 404),
}
OPEN = {"root", "health"}
UNLISTED = {"/docs", "/docs/{name}", "/openapi.json"}
REFUSED = [
    *("none", "nonsense", "of another key", "expired", "revoked", "without owner", "basic", "empty", "two"),
    *("bad at hub", "half", "long", "not Latin"),
]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as running:
        monkeypatch.setenv("AGENTSEA_HUB_URL", running.url + "/")
        yield running


@pytest.fixture(
    scope="module", params=[pytest.param("embedded"), pytest.param("server", marks=pytest.mark.server)]
)
def server(request: pytest.FixtureRequest, databases: list[str]) -> Iterator[RoleServer]:
    uri = "mongomock://" if request.param == "embedded" else request.getfixturevalue("server_uri")
    databases.append(database := f"test_{uuid4().hex[:16]}")
    with MongoStore(uri, database) as store, RoleServer(store) as running:
        yield running


@pytest.fixture
def thread(server: RoleServer, hub: Hub) -> RoleThread:
    owner = f"{uuid4().hex}@hub"
    made = server.threads(owner, True, name="mine", role_mapping={"boss": V1Role(**BOSS)})
    made.post("user", "said")
    return made


def credentials(server: RoleServer, owner: str) -> dict[str, bytes | None]:
    """What somebody may show in `Authorization`."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    key = server.store.keys.create(name="own", owner_id=owner)
    own = key.token
    other_key = server.store.keys.create(name="other", owner_id="ben@hub")
    other = other_key.token
    gone = server.store.keys.create(name="revoked", owner_id=owner)
    revoked = gone.token
    server.store.keys.delete(gone.id)
    bearers = {
        "own": own,
        "own of hub": f"hub.{owner.removesuffix('@hub')}",
        "other": other,
        "other of hub": "hub.ben",
        "nonsense": "mgs_nonsense",
        # The id of the one, the secret of the other.
        "of another key": other.replace(other_key.id, key.id),
        "expired": server.token(owner, expires_at=past),
        "revoked": revoked,
        "without owner": server.token(None),
        "bad at hub": "k.forged",
        "half": own[: len(own) // 2],
        "long": "mgs_" + "x" * 20_000,
        "not Latin": "k.é",
    }
    output: dict[str, bytes | None] = {
        name: f"Bearer {token}".encode("latin-1") for name, token in bearers.items()
    }
    return {
        **output,
        "none": None,
        "basic": b"Basic YTpi",
        "empty": b"Bearer",
        "two": f"Bearer {own} {own}".encode(),
    }


def ask(server: RoleServer, name: str, thread: RoleThread, output: bytes | None) -> httpx.Response:
    method, path = {
        operation["operationId"]: (method, path)
        for path, operations in server.app.openapi()["paths"].items()
        for method, operation in operations.items()
    }[name]
    headers = {} if output is None else {"Authorization": output}
    with server.client(None) as client:
        url, body = path.format(id=thread.id), OPERATIONS.get(name, (None,))[0]
        return client.request(method, url, json=body, headers=headers)  # type: ignore[arg-type]


def is_untouched(server: RoleServer, thread: RoleThread) -> None:
    [found] = server.threads.find(id=thread.id)
    assert found.to_v1() == thread.to_v1()


def test_every_route_is_listed_here() -> None:
    app = create_app("mongomock://")
    paths = app.openapi()["paths"]
    names = {operation["operationId"] for path in paths.values() for operation in path.values()}
    assert names == OPERATIONS.keys() | OPEN
    assert {route.path for route in iter_route_contexts(app.routes)} - paths.keys() == UNLISTED


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("caller", ["own", "own of hub"])
def test_who_owns_a_thread_is_answered(
    server: RoleServer, thread: RoleThread, name: str, caller: str
) -> None:
    answer = ask(server, name, thread, credentials(server, str(thread.owner_id))[caller])
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("caller", ["other", "other of hub"])
def test_others_see_and_change_nothing_of_it_even_if_it_is_public(
    server: RoleServer, thread: RoleThread, name: str, caller: str
) -> None:
    answer = ask(server, name, thread, credentials(server, str(thread.owner_id))[caller])
    assert answer.status_code == OPERATIONS[name][1], answer.text
    assert thread.id not in answer.text.replace(f"/v1/rolethreads/{thread.id}", "")
    assert "mine" not in answer.text
    is_untouched(server, thread)


@pytest.mark.parametrize("name", OPERATIONS)
def test_nobody_else_gets_anything(server: RoleServer, thread: RoleThread, hub: Hub, name: str) -> None:
    output = credentials(server, str(thread.owner_id))
    for caller in REFUSED:
        answer = ask(server, name, thread, output[caller])
        assert answer.status_code == 401, (caller, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Bearer"), caller
        assert "said" not in answer.text
    is_untouched(server, thread)
    # Tokens of ours are nobody else's business.
    assert not [one for one in hub.output if "mgs_" in str(one)]


@pytest.mark.parametrize("output", ["Bearer mgs_nonsense", "Bearer k.forged", ""])
def test_nobody_else_has_it_read_what_they_say(server: RoleServer, hub: Hub, output: str) -> None:
    headers = {"Authorization": output, "Content-Type": "application/json"}
    with server.client(None) as client:
        for path in ("", "/t/msgs", "/t/roles"):
            answer = client.post(f"/v1/rolethreads{path}", content=b"no JSON", headers=headers)
            assert answer.status_code == 401


@pytest.mark.parametrize("name", sorted(OPEN))
def test_what_is_open_needs_no_token(server: RoleServer, thread: RoleThread, name: str) -> None:
    assert ask(server, name, thread, b"Bearer x").status_code == 200


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (200, b"<html>", 401),
        (200, b"", 401),
        (200, b"[]", 401),
        (200, b"null", 401),
        (200, b'"ada@hub"', 401),
        (200, b"{}", 401),
        (200, b'{"email": null}', 401),
        (200, b'{"email": ""}', 401),
        (200, b'{"email": 5}', 401),
        (200, b'{"email": ["ada@hub"]}', 401),
        (200, b"[" * 100_000, 401),
        (200, b"1" * 5000, 401),
        (200, b"\xff\xfe", 401),
        (204, b"", 401),
        (302, b"", 401),
        (403, b'{"email": "ada@hub"}', 401),
        (404, b'{"email": "ada@hub"}', 401),
        (500, b'{"email": "ada@hub"}', 503),
        (502, b"", 503),
    ],
    ids=str,
)
def test_a_hub_that_does_not_say_who_it_is_lets_nobody_in(
    server: RoleServer, hub: Hub, status: int, content: bytes, expected: int
) -> None:
    nobodys = server.threads(name="of nobody")
    hub.status, hub.content = status, content
    for name in ("get_role_threads", "get_role_thread", "create_role_thread"):
        answer = ask(server, name, nobodys, b"Bearer k.some")
        assert answer.status_code == expected, answer.text
        assert "of nobody" not in answer.text
    assert hub.output == ["Bearer k.some"] * 3


def test_a_hub_that_is_down_is_a_503(
    server: RoleServer, thread: RoleThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = credentials(server, str(thread.owner_id))
    for url in ("http://127.0.0.1:9", "http://", "nowhere", "http://[", "file:///etc/passwd"):
        monkeypatch.setenv("AGENTSEA_HUB_URL", url)
        answer = ask(server, "get_role_threads", thread, own["own of hub"])
        assert answer.status_code == 503, url
        assert "127.0.0.1" not in answer.json()["detail"]
        # Those with a key need no hub.
        assert ask(server, "get_role_threads", thread, own["own"]).status_code == 200


def test_without_a_hub_only_keys_are_good(
    server: RoleServer, thread: RoleThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGENTSEA_HUB_URL")
    own = credentials(server, str(thread.owner_id))
    assert ask(server, "get_role_threads", thread, own["own of hub"]).status_code == 401
    assert ask(server, "get_role_threads", thread, own["own"]).status_code == 200


def test_the_servers_own_passwords_are_not_shown_instead_of_the_callers(
    server: RoleServer, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login hub password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("AGENTSEA_HUB_URL", hub.url.replace("//", "//hub:secret@"))
    answer = ask(server, "get_role_threads", server.threads(), b"Bearer k.forged")
    assert answer.status_code == 401
    assert hub.output == ["Bearer k.forged"]


def test_a_key_whose_owner_a_store_cannot_look_for_finds_nothing(server: RoleServer, hub: Hub) -> None:
    hub.content = b'{"email": "\\ud800"}'
    assert ask(server, "get_role_threads", server.threads(), b"Bearer k.some").status_code in (401, 422)
