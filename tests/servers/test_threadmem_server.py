"""What the server of role threads does, on every engine, and what it never does."""

from __future__ import annotations

import builtins
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from PIL import Image

from mongostore import MongoStore
from mongostore.adapters.threadmem import RoleThread, V1Role
from mongostore.servers.threadmem import MAX_BODY_BYTES, MAX_METADATA, PageQuery, get_role_threads
from tests.servers.rolehub import RoleServer

ROOT = "/v1/rolethreads"
SECRET = "topsecret"
BOSS = {"name": "boss", "user_id": "u", "user_name": "U", "icon": "i", "description": None}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(
    scope="module", params=[pytest.param("embedded"), pytest.param("server", marks=pytest.mark.server)]
)
def server(request: pytest.FixtureRequest, databases: list[str]) -> Iterator[RoleServer]:
    uri = "mongomock://" if request.param == "embedded" else request.getfixturevalue("server_uri")
    databases.append(database := f"test_{uuid4().hex[:16]}")
    with MongoStore(uri, database) as store, RoleServer(store) as running:
        yield running


@pytest.fixture
def owner() -> str:
    return f"{uuid4().hex}@x"


@pytest.fixture
def ada(server: RoleServer, owner: str) -> Iterator[httpx.Client]:
    """A client of somebody who has nothing yet."""
    with server.client(server.token(owner)) as client:
        yield client


@pytest.fixture
def thread(server: RoleServer, owner: str) -> RoleThread:
    return server.threads(owner, name="name", metadata={"k": 1})


def path(thread: RoleThread, part: str = "") -> str:
    return f"{ROOT}/{thread.id}{part}"


def inside(server: RoleServer, thread: RoleThread) -> RoleThread:
    [found] = server.threads.find(id=thread.id)
    return found


def is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    return found


def test_a_thread_is_made(server: RoleServer, ada: httpx.Client, owner: str) -> None:
    made = ada.post(ROOT, json={"public": True, "name": "n", "metadata": {"k": None}}).json()
    assert str(UUID(made["id"], version=4)) == made["id"]
    assert (made["public"], made["name"], made["metadata"]) == (True, "n", {"k": None})
    assert (made["owner_id"], made["messages"], made["role_mapping"]) == (owner, [], {})
    [found] = server.threads.find(id=made["id"])
    assert json.loads(found.to_v1().model_dump_json()) == made
    assert ada.post(ROOT, json={}).json()["public"] is False


def test_an_id_may_be_given_once(server: RoleServer, ada: httpx.Client, thread: RoleThread) -> None:
    own = uuid4().hex
    assert ada.post(ROOT, json={"id": own}).json()["id"] == own
    assert ada.get(f"{ROOT}/{own}").json()["id"] == own
    is_problem(ada.post(ROOT, json={"id": own, "name": "other"}), 409)
    theirs = server.threads("somebody else", name="theirs")
    is_problem(ada.post(ROOT, json={"id": theirs.id}), 409)
    assert inside(server, theirs).name == "theirs"
    thread.delete()
    is_problem(ada.post(ROOT, json={"id": thread.id}), 409)


@pytest.mark.parametrize("id", ["", "a/b", "..", ".", "a b", "a?b", "é", "a\n", "x" * 129, 5, ["x"]])
def test_an_id_fits_into_a_path(ada: httpx.Client, id: Any) -> None:
    is_problem(ada.post(ROOT, json={"id": id}), 422)


def test_threads_are_listed_in_the_order_of_their_creation(
    server: RoleServer, ada: httpx.Client, owner: str
) -> None:
    made = [server.threads(owner) for _ in range(4)]
    server.threads("somebody else")
    made[0].post("user", "hi", ["https://x/y"], True, {"k": 1})
    [*output] = ada.get(ROOT).json()["threads"]
    assert [one["id"] for one in output] == [one.id for one in made]
    assert [message["text"] for message in output[0]["messages"]] == ["hi"]


def test_threads_are_listed_by_pages_that_end_at_their_limit_or_their_size(
    server: RoleServer, ada: httpx.Client, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [server.threads(owner, name=str(n)) for n in range(5)]
    made[1].post("user", "x" * 2000)

    def pages(limit: int) -> list[list[str]]:
        found, query = [], {"limit": str(limit)}
        while True:
            page = ada.get(ROOT, params=query).json()
            found.append([one["id"] for one in page["threads"]])
            if "next_cursor" not in page:
                return found
            query["cursor"] = page["next_cursor"]

    ids = [one.id for one in made]
    assert pages(2) == [ids[:2], ids[2:4], ids[4:]]
    assert pages(5) == [ids]
    monkeypatch.setattr("mongostore.servers.threadmem.PAGE_BYTES", 2000)
    assert pages(5) == [ids[:2], ids[2:]]
    # Threadmem's own client knows no pages.
    assert [one["id"] for one in ada.get(ROOT).json()["threads"]] == ids
    is_problem(ada.get(ROOT, params={"cursor": "none"}), 400)
    for limit in ("0", "101", "x"):
        is_problem(ada.get(ROOT, params={"limit": limit}), 422)


def test_a_long_list_is_sent_while_it_is_read(
    server: RoleServer, ada: httpx.Client, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mongostore.servers.threadmem.PIECE_BYTES", 1000)
    ids = [server.threads(owner).id for _ in range(4)]
    for id in ids:
        for found in server.threads.find(id=id):
            found.post("user", "x" * 1500)
    read, stored_messages = list[str](), RoleThread.stored_messages

    def reading(thread: RoleThread) -> Iterator[Any]:
        read.append(thread.id)
        return stored_messages(thread)

    monkeypatch.setattr(RoleThread, "stored_messages", reading)
    answer: Any = get_role_threads(server.threads, owner, PageQuery())
    assert read == ids[:2]
    assert not hasattr(answer, "content")
    output = ada.get(ROOT)
    assert [one["id"] for one in output.json()["threads"]] == ids
    assert output.headers["transfer-encoding"] == "chunked"


def test_a_put_changes_what_it_says(server: RoleServer, ada: httpx.Client, thread: RoleThread) -> None:
    for public in (True, False, True):
        answer = ada.put(path(thread), json={"public": public})
        assert answer.json()["public"] is public
        assert inside(server, thread).public is public
    answer = ada.put(path(thread), json={"public": False, "name": "new", "metadata": {"l": [2]}})
    assert answer.json() == ada.get(path(thread)).json()
    found = inside(server, thread)
    assert (found.name, found.metadata, found.public) == ("new", {"l": [2]}, False)
    for name, metadata in ((None, None), ("", {})):
        ada.put(path(thread), json={"public": False, "name": name, "metadata": metadata})
        found = inside(server, thread)
        assert (found.name, found.metadata) == ("new", {"l": [2]})
    is_problem(ada.put(path(thread), json={"name": "x"}), 422)


def test_a_deleted_thread_is_gone(server: RoleServer, ada: httpx.Client, thread: RoleThread) -> None:
    thread.post("user", "hi")
    assert ada.delete(path(thread)).json() == {"message": "Thread deleted successfully"}
    is_problem(ada.delete(path(thread)), 404)
    assert is_problem(ada.get(path(thread)), 404)["detail"] == "Thread not found"
    is_problem(ada.post(path(thread, "/msgs"), json={"role": "user", "msg": "late"}), 404)
    assert server.store.threads.messages.count(thread.id) == 0


def test_messages_are_posted(server: RoleServer, ada: httpx.Client, thread: RoleThread) -> None:
    images = ["data:image/png;base64,AAAA", "http://x/y", "https://x/y"]
    for body in (
        {"role": "user", "msg": "plain"},
        {"role": "user", "msg": "all", "images": images, "private": True, "metadata": {"k": [None]}},
        {"id": "x", "role": "user", "text": "by its text", "images": [], "private": None, "created": 1.5},
        {"role": "user", "msg": "msg wins", "text": "other"},
        {"role": "", "msg": ""},
    ):
        answer = ada.post(path(thread, "/msgs"), json=body)
        assert (answer.status_code, answer.json()) == (200, None)
    found = inside(server, thread).messages()
    assert [message.text for message in found] == ["plain", "all", "by its text", "msg wins", ""]
    assert (found[1].images, found[1].private, found[1].metadata) == (images, True, {"k": [None]})
    assert found[2].private is False
    assert found[2].id != "x"
    assert [message["text"] for message in ada.get(path(thread)).json()["messages"]][1] == "all"


def test_roles_come_and_go(server: RoleServer, ada: httpx.Client, thread: RoleThread) -> None:
    roles = path(thread, "/roles")
    answer = ada.post(roles, json=BOSS)
    assert (answer.status_code, answer.json()) == (200, None)
    assert ada.get(path(thread)).json()["role_mapping"] == {"boss": BOSS}
    is_problem(ada.post(roles, json={**BOSS, "icon": "new"}), 409)
    is_problem(ada.request("DELETE", roles, json={"name": "other"}), 404)
    is_problem(ada.request("DELETE", roles), 422)
    assert inside(server, thread).role_mapping == {"boss": V1Role(**BOSS)}
    assert ada.request("DELETE", roles, json={"name": "boss"}).status_code == 200
    assert inside(server, thread).role_mapping == {}


def test_of_many_who_add_one_role_at_once_one_is_told_yes(
    server: RoleServer, ada: httpx.Client, thread: RoleThread
) -> None:
    def add(number: int) -> int:
        return ada.post(path(thread, "/roles"), json={**BOSS, "user_id": str(number)}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = [*pool.map(add, range(8))]
    assert sorted(statuses) == [200] + [409] * 7
    assert inside(server, thread).role_mapping["boss"].user_id == str(statuses.index(200))


def test_many_post_at_once(server: RoleServer, ada: httpx.Client, thread: RoleThread) -> None:
    def post(number: int) -> int:
        return ada.post(path(thread, "/msgs"), json={"role": "user", "msg": str(number)}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert {*pool.map(post, range(40))} == {200}
    assert sorted(int(message.text) for message in inside(server, thread).messages()) == [*range(40)]


@pytest.mark.parametrize(
    "image",
    [
        *("/etc/passwd", "file:///etc/passwd", "etc/passwd", "../../etc/passwd", "\\\\host\\share\\a.png"),
        *("C:\\a.png", "", " data:,", "DATA:,", "ftp://x/y", "iVBORw0KGgo=", "~/a.png", "//host/a.png"),
    ],
)
def test_no_file_of_the_server_is_opened(
    server: RoleServer, ada: httpx.Client, thread: RoleThread, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    def record_call(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, *arguments: Any, **options: Any) -> Any:
            opened.append(file)
            return real(file, *arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", record_call(open))
        patch.setattr(Image, "open", record_call(Image.open))
        for images in ([image], ["data:,", image]):
            is_problem(ada.post(path(thread, "/msgs"), json={"role": "u", "msg": "x", "images": images}), 422)
    assert image not in opened
    assert inside(server, thread).messages() == []


BAD_BODIES: list[bytes] = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{",
    b"\xff\xfe",
    b'{"role": "u"}',
    b'{"role": null, "msg": "x"}',
    b'{"role": "u", "msg": 5}',
    b'{"role": "u", "msg": "\\ud800"}',
    b'{"role": "\\udfff", "msg": "x"}',
    b'{"role": "u", "msg": "x", "images": "data:,"}',
    b'{"role": "u", "msg": "x", "images": ["data:\\ud800"]}',
    b'{"role": "u", "msg": "x", "images": [5]}',
    b'{"role": "u", "msg": "x", "images": [%s"data:,"]}' % (b'"data:,",' * 1000),
    b'{"role": "u", "msg": "x", "private": "maybe"}',
    b'{"role": "u", "msg": "x", "private": "true"}',
    b'{"role": "u", "msg": "x", "private": 0.0}',
    b'{"role": "u", "msg": "x", "metadata": [1]}',
    b'{"role": "u", "msg": "x", "metadata": {"k": "\\ud800"}}',
    b'{"role": "u", "msg": "x", "metadata": {"\\udfff": 1}}',
    b'{"role": "u", "msg": "x", "metadata": {"k": NaN}}',
    b'{"role": "u", "msg": "x", "metadata": {"k": [-Infinity]}}',
    b'{"role": "u", "msg": "x", "metadata": {"k": 1e999}}',
    b'{"role": "u", "msg": "x", "metadata": {"k": %s}}' % (b"[" * 70 + b"]" * 70),
    b'{"role": "u", "msg": "x", "metadata": {"k": %s}}' % (b"[" * 100_000),
    b'{"role": "u", "msg": "x", "metadata": {"k": %s}}' % (b"9" * 4299),
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_what_does_not_fit_is_refused_whole(
    server: RoleServer, ada: httpx.Client, thread: RoleThread, body: bytes
) -> None:
    answer = ada.post(path(thread, "/msgs"), content=body, headers=JSON)
    assert answer.status_code in (400, 422), answer.text
    is_problem(answer, answer.status_code)
    assert inside(server, thread).messages() == []


def test_a_number_of_5000_digits_is_refused(ada: httpx.Client, thread: RoleThread) -> None:
    body = b'{"role": "u", "msg": "x", "metadata": {"k": 1%s}}' % (b"0" * 5000)
    is_problem(ada.post(path(thread, "/msgs"), content=body, headers=JSON), 400)


@pytest.mark.parametrize(
    "members",
    [
        *({"metadata": {"k": {"l": [value]}}} for value in (float("nan"), float("-inf"), "\ud800")),
        {"metadata": {str(number): 0 for number in range(MAX_METADATA + 1)}},
        {"name": "\udfff"},
        {"public": 1.0},
    ],
    ids=["NaN", "infinity", "half a pair", "too many", "a name", "a number"],
)
def test_what_no_thread_can_have_is_refused_whole(
    ada: httpx.Client, thread: RoleThread, members: dict[str, Any]
) -> None:
    body = json.dumps({"public": True, **members})
    is_problem(ada.post(ROOT, content=body, headers=JSON), 422)
    is_problem(ada.put(path(thread), content=body, headers=JSON), 422)
    assert len(ada.get(ROOT).json()["threads"]) == 1
    assert ada.get(path(thread)).json()["public"] is False


def test_what_is_no_number_is_shown_as_null(ada: httpx.Client, thread: RoleThread) -> None:
    thread.metadata = {"k": [float("nan"), {"l": float("inf")}, 1.5]}
    thread.save()
    answer = ada.get(path(thread))
    assert json.loads(answer.text, parse_constant=pytest.fail)["metadata"] == {"k": [None, {"l": None}, 1.5]}


def test_what_no_request_can_say_is_shown_all_the_same(ada: httpx.Client, thread: RoleThread) -> None:
    thread.metadata = {"\ud800": ["\udc00\ud800", {"\udfff": "\ud83d"}]}
    thread.post("u", "x", metadata=thread.metadata)
    assert json.loads(ada.get(path(thread)).text)["messages"][0]["metadata"] == thread.metadata
    assert json.loads(ada.get(ROOT).text)["threads"][0]["metadata"] == thread.metadata


@pytest.mark.parametrize("member", ["name", "user_id", "user_name", "icon", "description"])
def test_what_no_role_can_have_is_refused_whole(
    server: RoleServer, ada: httpx.Client, thread: RoleThread, member: str
) -> None:
    body = json.dumps({**BOSS, member: "\ud800"})
    is_problem(ada.post(path(thread, "/roles"), content=body, headers=JSON), 422)
    assert inside(server, thread).role_mapping == {}


def pieces(size: int) -> Iterator[bytes]:
    yield b'{"role": "u", "msg": "'
    for _ in range(size // 65536):
        yield b"x" * 65536
    yield b'"}'


@pytest.mark.parametrize("chunked", [False, True], ids=["said", "chunked"])
def test_a_body_that_is_too_large_is_not_read(
    server: RoleServer, ada: httpx.Client, thread: RoleThread, chunked: bool
) -> None:
    content: Any = pieces(50_000_000)
    if not chunked:
        content = b"".join(content)
    try:
        answer = ada.post(path(thread, "/msgs"), content=content, headers=JSON)
    except (httpx.WriteError, httpx.RemoteProtocolError):
        # The server has answered and closed the connection before all was sent.
        assert chunked
    else:
        is_problem(answer, 413)
    assert inside(server, thread).messages() == []


def test_images_of_many_megabytes_are_taken(
    server: RoleServer, ada: httpx.Client, thread: RoleThread
) -> None:
    image = "data:image/png;base64," + "A" * (MAX_BODY_BYTES - 1000)
    answer = ada.post(path(thread, "/msgs"), json={"role": "u", "msg": "", "images": [image]})
    assert answer.status_code == 200
    assert ada.get(path(thread)).json()["messages"][0]["images"] == [image]
    ada.delete(path(thread))


def test_a_text_that_no_document_can_hold_is_refused(ada: httpx.Client, thread: RoleThread) -> None:
    answer = ada.post(path(thread, "/msgs"), json={"role": "u", "msg": "x" * (17 * 1024 * 1024)})
    is_problem(answer, 413)


def test_no_log_says_what_was_said_or_by_whom(
    server: RoleServer,
    owner: str,
    thread: RoleThread,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    token = server.token(owner)
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    with server.client(token) as client:
        for method, where, body in (
            ("POST", ROOT, {"name": SECRET, "metadata": {SECRET: SECRET}}),
            ("POST", path(thread, "/msgs"), {"role": SECRET, "msg": SECRET, "images": [f"data:,{SECRET}"]}),
            ("POST", path(thread, "/msgs"), {"role": SECRET, "msg": [SECRET]}),
            ("POST", path(thread, "/msgs"), {"role": SECRET, "msg": SECRET, "images": [SECRET]}),
            ("POST", path(thread, "/roles"), {**BOSS, "name": SECRET}),
            ("POST", path(thread, "/roles"), {**BOSS, "name": SECRET}),
            ("DELETE", path(thread, "/roles"), {"name": SECRET}),
            ("PUT", path(thread), {"public": True, "name": SECRET}),
            ("GET", path(thread) + f"?q={SECRET}", None),
        ):
            answer = client.request(method, where, json=body)
            if answer.status_code >= 400:
                assert SECRET not in answer.text
        # A line is written behind its answer, but before the connection is answered again.
        client.get("/health")
    ours = [
        record.getMessage()
        for record in caplog.records
        # What the client here says of its own requests, and the driver of its own; uvicorn is told to say
        # nothing of them, but pytest hears it.
        if not record.name.startswith(("httpx", "httpcore", "pymongo", "uvicorn.access"))
    ]
    assert len([line for line in ours if '"path": "/v1' in line]) == 9
    assert not [line for line in ours if SECRET in line or token in line]
    texts = "".join(capsys.readouterr())
    assert SECRET not in texts
    assert token not in texts


def test_pages_from_anywhere_may_ask(server: RoleServer) -> None:
    with server.client(None) as client:
        headers = {"Origin": "https://x", "Access-Control-Request-Method": "PUT"}
        answer = client.options(f"{ROOT}/x", headers=headers)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
        assert "access-control-allow-credentials" not in answer.headers


def test_origins_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "https://a,https://b")
    with MongoStore("mongomock://") as store, RoleServer(store) as server, server.client(None) as client:
        for origin, allowed in (("https://b", "https://b"), ("https://c", None)):
            answer = client.get("/health", headers={"Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == allowed


def test_who_only_asks_whether_it_runs_needs_no_token(server: RoleServer) -> None:
    with server.client(None) as client:
        assert client.get("/").json() == {"message": "Agent in the shell"}
        assert client.get("/health").json() == {"status": "ok"}
