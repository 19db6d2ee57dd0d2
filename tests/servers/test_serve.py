"""`mongostore serve sessions` as a process: how it starts, ends, waits for its store and keeps to itself."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import uvicorn
from typer.testing import CliRunner

from mongostore import MongoStore
from mongostore.cli import app
from mongostore.engines.mongod_process import MongodProcess
from mongostore.servers import runner
from tests.servers.endpoint import Endpoint
from tests.servers.serving import Serving

Serve = Callable[..., Serving]
PATH = "/v1/namespaces/acme/sessions"
SECRET = "topsecret"
PATIENCE = 60


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what the command says that refuses options; it does so before it serves anything."""
    # This process keeps the handlers of its logs.
    monkeypatch.setattr(importlib.import_module("mongostore.cli.serve"), "log_requests", lambda: None)

    def refuse(*options: str) -> str:
        ran = CliRunner().invoke(app, ["serve", "sessions", *options])
        assert (ran.exit_code, ran.stdout) == (1, "")
        return ran.stderr

    return refuse


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_says_where_it_listens_and_that_nothing_lasts(serve: Serve) -> None:
    serving = serve()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", serving.url)
    # Lines of the start come one by one.
    eventually(lambda: "when the server ends\n" in serving.log)
    assert f"shown at {serving.url}/docs\n" in serving.log
    assert (
        "data is stored in mongomock://\nthis is the embedded engine: all data is lost when the server ends\n"
        in (serving.log)
    )
    assert httpx.get(f"{serving.url}/docs").status_code == 200
    elsewhere = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert httpx.post(f"{serving.url}{PATH}/s1/truncate", headers=elsewhere).status_code == 403
    assert httpx.get(f"{serving.url}{PATH}", headers={"Host": "evil.example"}).status_code == 403
    assert httpx.get(f"{serving.url}{PATH}").status_code == 200
    listening = psutil.Process(serving.process.pid).net_connections("tcp")
    assert {one.laddr.ip for one in listening if one.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_the_requests_under_way_are_answered(
    serve: Serve, endpoint: Endpoint, how: signal.Signals
) -> None:
    environment = {"MONGOSTORE_OPENAI_MODEL": "m", "MONGOSTORE_OPENAI_BASE_URL": endpoint.url}
    serving = serve("--integrator", "openai", **environment)
    with httpx.Client(base_url=serving.url, timeout=PATIENCE) as client:
        client.post(PATH, json={"id": "s1", "participants": ["ada"]})
        turns = {"turns": [{"role": "user", "content": "hello"}]}
        client.post(f"{PATH}/s1/participants/ada/chat_turns", json=turns)
    endpoint.content = '{"insights": ["said hello"]}'
    endpoint.go_on.clear()

    async def integrate() -> httpx.Response:
        async with httpx.AsyncClient(base_url=serving.url, timeout=PATIENCE) as client:
            asked = asyncio.create_task(client.post(f"{PATH}/s1/integrate"))
            while not endpoint.asked:
                await asyncio.sleep(0.02)
            serving.process.send_signal(how)
            # Nobody new is let in, and who was in before is still waited for.
            while await asyncio.to_thread(is_open, serving.url):
                await asyncio.sleep(0.02)
            assert serving.process.poll() is None
            endpoint.go_on.set()
            return await asked

    answer = asyncio.run(integrate())
    assert answer.status_code == 200
    assert answer.json()["results"][0]["insights_added"] == 1
    assert serving.process.wait(PATIENCE) == 0
    assert "Traceback" not in serving.log


def test_it_ends_while_an_integrator_works_on_a_hostile_text(serve: Serve) -> None:
    serving = serve()
    turns = {"turns": [{"role": "user", "content": ",, " * 6600}] * 52}

    async def integrate_and_end() -> None:
        async with httpx.AsyncClient(base_url=serving.url, timeout=PATIENCE) as client:
            await client.post(PATH, json={"id": "s1", "participants": ["ada"]})
            await client.post(f"{PATH}/s1/participants/ada/chat_turns", json=turns)
            asked = asyncio.create_task(client.post(f"{PATH}/s1/integrate"))
            server = psutil.Process(serving.process.pid)
            while not server.children():
                await asyncio.sleep(0.02)
            [child] = server.children()
            serving.process.send_signal(signal.SIGTERM)
            await asyncio.wait([asked])
            assert await asyncio.to_thread(serving.process.wait, PATIENCE) == 0
            assert not child.is_running()

    asyncio.run(integrate_and_end())


def test_request_behind_two_lengths_is_not_answered(serve: Serve) -> None:
    address = httpx.URL(serve().url)
    hidden = b"0\r\n\r\nGET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    head = b"POST /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n" % len(hidden)
    with socket.create_connection(("127.0.0.1", address.port or 0), timeout=PATIENCE) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + hidden)
        answered = b""
        while part := connection.recv(65536):
            answered += part
    assert re.findall(rb"HTTP/1.1 (\d+)", answered) == [b"400"]


def is_open(url: str) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", httpx.URL(url).port)) == 0


def test_a_public_address_is_refused_to_a_store_without_keys(refusal: Callable[..., str]) -> None:
    for host in ("0.0.0.0", "::"):
        texts = refusal("--host", host, "--port", "0")
        assert texts.startswith(f"error: {host} can be reached from elsewhere and the store has no keys")
        assert len(texts.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--rate", "often"), "error: a rate limit is a number and a time"),
        (("--integrator", "openai"), "error: the integrator openai needs MONGOSTORE_OPENAI_MODEL"),
        (("--host", "192.0.2.1.5"), "error: 192.0.2.1.5 can be reached"),
        (("--uri", "mongodb://user:secret@127.0.0.1:9/"), "error: mongodb://127.0.0.1:9"),
    ],
)
def test_what_cannot_be_is_one_line(
    refusal: Callable[..., str], options: tuple[str, ...], reason: str
) -> None:
    texts = refusal(*options)
    assert texts.startswith(reason)
    assert len(texts.splitlines()) == 1
    assert "secret" not in texts


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "mongostore", "serve", "sessions", "--port", port]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert (
        ran.stderr
        == f"error: 127.0.0.1:{port} cannot be bound: Address already in use: name another port with --port\n"
    )


@pytest.mark.server
def test_a_public_server_has_keys_and_no_docs(serve: Serve, server_uri: str, database: str) -> None:
    with MongoStore(server_uri, database) as store:
        token = store.keys.create(name="k", namespaces=["acme"]).token
    serving = serve("--host", "0.0.0.0", "--uri", server_uri, "--database", database)
    assert "/docs" not in serving.log
    url = serving.url.replace("0.0.0.0", "127.0.0.1")
    assert [httpx.get(f"{url}{path}").status_code for path in ("/docs", "/openapi.json", "/health")] == [
        404,
        404,
        200,
    ]
    assert httpx.get(f"{url}{PATH}").status_code == 401
    answer = httpx.get(f"{url}{PATH}", headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == {"items": [], "next_cursor": None}


@pytest.mark.server
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_server_that_began_with_keys_needs_one_when_all_are_revoked(
    serve: Serve, server_uri: str, database: str, host: str
) -> None:
    with MongoStore(server_uri, database) as store:
        key = store.keys.create(name="k", namespaces=["acme"])
        serving = serve("--host", host, "--uri", server_uri, "--database", database)
        store.keys.delete(key.id)
    url = serving.url.replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{url}{PATH}").status_code == 401


@pytest.mark.server
def test_it_is_ready_only_while_its_store_answers(serve: Serve, mongod_binary: Path, tmp_path: Path) -> None:
    server = MongodProcess(tmp_path / "mongod", mongod_binary)
    uri = server.start()
    try:
        serving = serve("--uri", uri, "--database", "test", MONGOSTORE_TIMEOUT="2")
        with httpx.Client(base_url=serving.url, timeout=PATIENCE) as client:
            assert client.get("/ready").json() == {"status": "ready"}
            assert client.post(PATH, json={"id": "s1"}).status_code == 201
            server.stop()
            for path in ("/ready", PATH):
                answer = client.get(path)
                assert answer.status_code == 503
                assert answer.headers["content-type"] == "application/problem+json"
                assert int(answer.headers["retry-after"]) > 0
                assert str(httpx.URL(uri.split("?")[0].replace("mongodb", "http")).port) not in answer.text
            assert client.get("/health").json() == {"status": "ok"}
            assert server.start() == uri
            eventually(lambda: client.get("/ready").status_code == 200)
            assert client.get(f"{PATH}/s1").json()["id"] == "s1"
    finally:
        server.stop()


@pytest.mark.server
def test_a_server_in_a_folder_ends_with_it_and_what_it_kept_lasts(
    serve: Serve, mongod_binary: Path, tmp_path: Path
) -> None:
    uri = f"mongod://{tmp_path}/data"
    for expected in (201, 409):
        serving = serve("--uri", uri, MONGOSTORE_MONGOD=str(mongod_binary))
        assert httpx.post(f"{serving.url}{PATH}", json={"id": "s1"}).status_code == expected
        assert any(belongs(process, tmp_path) for process in psutil.process_iter(["cmdline"]))
        assert serving.stop() == 0
        eventually(
            lambda: not any(belongs(process, tmp_path) for process in psutil.process_iter(["cmdline"]))
        )


def belongs(process: psutil.Process, folder: Path) -> bool:
    return f"{folder}/data/data" in " ".join(process.info["cmdline"] or ())


def test_the_log_has_a_line_a_request_and_no_words_of_anybody(serve: Serve) -> None:
    serving = serve()
    with httpx.Client(base_url=serving.url) as client:
        asked: list[dict[str, Any]] = [
            {"method": "POST", "url": PATH, "json": {"id": "s1", "name": SECRET, "data": {SECRET: SECRET}}},
            {"method": "GET", "url": f"{PATH}?cursor={SECRET}"},
            {"method": "GET", "url": f"{PATH}/s1", "headers": {"Authorization": f"Bearer {SECRET}"}},
            {"method": "GET", "url": f"{PATH}/s1", "headers": {"Cookie": SECRET, "Referer": SECRET}},
            {"method": "POST", "url": PATH, "content": SECRET},
            {"method": "GET", "url": f"{PATH}/{SECRET}"},
            {"method": "GET", "url": f"{PATH}/s1/messages?before=1"},
        ]
        statuses = [client.request(**one).status_code for one in asked]
    assert statuses == [201, 400, 401, 200, 422, 404, 200]
    serving.stop()
    lines = [json.loads(line) for line in serving.log.splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines] == statuses
    template = "/v1/namespaces/{namespace}/sessions"
    session = f"{template}/{{activity_session}}"
    assert {line["path"] for line in lines} == {template, session, f"{session}/messages"}
    assert SECRET not in serving.log


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_no_part_of_an_answer_is_held_back(host: str) -> None:
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listening = runner.bind_socket(host, 0)
    async with await asyncio.start_server(accept, sock=listening):
        _, writer = await asyncio.open_connection(*listening.getsockname()[:2])
        assert await accepted
        writer.close()
        await writer.wait_closed()


def test_headers_without_an_end_are_cut_short(serve: Serve) -> None:
    address = httpx.URL(serve().url)
    with socket.create_connection(("127.0.0.1", address.port or 0), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        sent = 0
        # Whoever goes on sending meets a closed connection.
        with suppress(ConnectionError):
            while sent < 50_000_000:
                sent += connection.send(b"X-Long: " + b"x" * 10_000 + b"\r\n")
    assert sent < 50_000_000


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request when its body is there."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX: "])
@pytest.mark.parametrize("asked_before", [False, True])
async def test_headers_that_do_not_come_end_their_connection(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, asked_before: bool
) -> None:
    monkeypatch.setattr(runner, "_HEADER_SECONDS", 0.5)
    config = uvicorn.Config(answer, http=runner.TimedProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with runner.bind_socket(runner.LOOPBACK, 0) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname()[:2])
        if asked_before:
            request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
            writer.write(request + b"x")
            # A body has a time of its own.
            await asyncio.sleep(0.8)
            writer.write(b"x")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        writer.write(sent)
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        writer.close()
        server.should_exit = True
        await serving


async def test_client_that_reads_nothing_is_cut_off_and_a_slow_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "READING_SECONDS", 1.5)
    size, protocols = 32 * 1024 * 1024, set()

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * size})

    class Seen(runner.TimedProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            protocols.add(self)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            protocols.discard(self)

    config = uvicorn.Config(large, http=Seen, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with runner.bind_socket(runner.LOOPBACK, 0) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        address = listening.getsockname()[:2]
        request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        with socket.create_connection(address) as deaf:
            deaf.sendall(request)
            async with asyncio.timeout(PATIENCE):
                while not protocols:
                    await asyncio.sleep(0.05)
                while protocols:
                    await asyncio.sleep(0.05)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(request)
        read, waits = 0, 0
        while part := await reader.read(2 * 1024 * 1024):
            read += len(part)
            # In all it takes longer than nothing may be read.
            if read > waits * 8 * 1024 * 1024:
                waits += 1
                await asyncio.sleep(0.5)
        assert read > size
        assert waits >= 4
        writer.close()
        server.should_exit = True
        await serving


@pytest.mark.long
def test_a_server_waits_for_headers_for_a_while(serve: Serve) -> None:
    address = httpx.URL(serve().url)
    with socket.create_connection(("127.0.0.1", address.port or 0), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert connection.recv(1) == b""


@pytest.mark.server
async def test_of_callers_of_several_processes_each_thing_is_done_once(
    serve: Serve, server_uri: str, database: str
) -> None:
    servers = [serve("--uri", server_uri, "--database", database) for _ in range(3)]
    clients = [httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) for server in servers] * 4
    s1 = f"{PATH}/s1"

    async def all_at_once(method: str, path: str, **sent: Any) -> list[httpx.Response]:
        return await asyncio.gather(*(client.request(method, path, **sent) for client in clients))

    def statuses(answers: list[httpx.Response]) -> list[int]:
        return sorted(answer.status_code for answer in answers)

    assert statuses(await all_at_once("POST", PATH, json={"id": "s1"})) == [201] + [409] * 11
    assert statuses(await all_at_once("PUT", f"{s1}/participants/ada")) == [200] * 11 + [201]
    for _ in range(3):
        assert statuses(await all_at_once("DELETE", s1)) == [204] + [404] * 11
        assert statuses(await all_at_once("POST", f"{s1}/undelete")) == [200] + [409] * 11
    counted = 0
    turns = {"turns": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Hi."}]}
    for _ in range(5):
        appended, integrated = await asyncio.gather(
            all_at_once("POST", f"{s1}/participants/ada/chat_turns", json=turns),
            all_at_once("POST", f"{s1}/integrate"),
        )
        assert statuses(appended) == [201] * 12
        counted += sum(answer.json()["results"][0]["turns_integrated"] for answer in integrated)
    last = await clients[0].post(f"{s1}/integrate")
    counted += last.json()["results"][0]["turns_integrated"]
    assert counted == 5 * 12 * 2
    [ada] = last.json()["session"]["participants"]
    assert (ada["chat_turn_count"], ada["last_integration_turn"]) == (120, 120)
    covered = [n for one in ada["insights"] for n in range(one["first_turn"], one["last_turn"] + 1)]
    assert covered == [*range(1, 121)]
    # The first key that anybody makes closes the doors of all of them.
    made = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "mongostore", "keys", "create", "k", "--namespace", "acme"],
        env=os.environ | {"MONGOSTORE_URI": server_uri, "MONGOSTORE_DATABASE": database},
        capture_output=True,
        text=True,
        check=True,
    )
    assert statuses(await all_at_once("GET", s1)) == [401] * 12
    key = {"Authorization": f"Bearer {made.stdout.strip()}"}
    assert statuses(await all_at_once("GET", s1, headers=key)) == [200] * 12
    await asyncio.gather(*(client.aclose() for client in clients[:3]))
