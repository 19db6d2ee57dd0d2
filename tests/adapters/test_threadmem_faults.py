"""Servers of role threads that do not answer as they should, and addresses and keys that cannot be right."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from mongostore import (
    AccessDeniedError,
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    MongoStoreError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from mongostore.adapters.threadmem import RoleThread, V1Role, V1RoleThread

TOKEN = "hub.topsecret"
THREAD = {"id": "t1", "public": False, "messages": [], "version": "v", "created": 1.0, "updated": 1.0}


class Answering:
    """A server that answers everything alike, and notes what it was asked."""

    def __init__(self) -> None:
        self.status, self.content, self.location = 200, b"{}", ""
        self.asked: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        answering = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                answering.asked.append((self.command, self.path))
                answering.tokens.add(self.headers["Authorization"])
                self.send_response(answering.status)
                if answering.location:
                    self.send_header("Location", answering.location)
                self.send_header("Content-Length", str(len(answering.content)))
                self.end_headers()
                self.wfile.write(answering.content)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def answering() -> Iterator[Answering]:
    made = Answering()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTSEA_HUB_API_KEY", TOKEN)


def remote_thread(address: str, **members: Any) -> RoleThread:
    return RoleThread.from_v1(V1RoleThread(**{**THREAD, **members}, remote=address))


# Each asks once before it fails.
CALLS: dict[str, Any] = {
    "find": lambda thread: RoleThread.find(remote=thread.remote),
    "save": lambda thread: thread.save(),
    "post": lambda thread: thread.post("user", "said"),
    "add a role": lambda thread: thread.add_role(V1Role(name="x", user_id="", user_name="", icon="")),
    "remove a role": lambda thread: thread.remove_role("x"),
    "refresh": lambda thread: thread.refresh(),
    "delete": lambda thread: thread.delete(),
    "make": lambda thread: RoleThread(remote=thread.remote),
    "save a copy": lambda thread: thread.copy().save(),
}


def fails(call: Any, thread: RoleThread, kind: type[Exception]) -> Exception:
    """The call fails in this way, and says nothing of the token."""
    with pytest.raises(kind) as raised:
        CALLS[call](thread)
    error: BaseException | None = raised.value
    while error is not None:
        assert "topsecret" not in f"{error!r} {vars(error)}"
        error = None if error.__suppress_context__ else error.__context__
    return raised.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, ConfigurationError),
        (302, ConfigurationError),
        (307, ConfigurationError),
        (400, InvalidValueError),
        (401, AccessDeniedError),
        (403, AccessDeniedError),
        (413, InvalidValueError),
        (418, UnavailableError),
        (422, InvalidValueError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
        (304, UnavailableError),
    ],
)
@pytest.mark.parametrize("call", CALLS)
def test_each_refusal_has_its_error(
    answering: Answering, call: str, status: int, kind: type[MongoStoreError]
) -> None:
    answering.status, answering.content = status, b'{"detail": "topsecret"}'
    answering.location = f"{answering.url}/elsewhere"
    error = fails(call, remote_thread(answering.url), kind)
    if isinstance(error, UnavailableError):
        assert error.retryable is (status in (429, 503))
    # Nothing is sent to where it was not told to go, nor twice.
    assert len(answering.asked) == 1
    assert answering.tokens == {f"Bearer {TOKEN}"}


def test_what_is_not_there_and_what_is_already_have_errors_of_their_own(answering: Answering) -> None:
    answering.status = 404
    for call in ("post", "add a role", "remove a role", "refresh", "delete"):
        fails(call, remote_thread(answering.url), NotFoundError)
    for call in ("find", "make", "save"):
        fails(call, remote_thread(answering.url), UnavailableError)
    answering.status = 409
    for call in ("post", "save", "make", "save a copy"):
        fails(call, remote_thread(answering.url), ConflictError)
    assert "already exists" in str(fails("add a role", remote_thread(answering.url), ValueError))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"<html>topsecret", b"null", b"[]", b'"topsecret"', b"5", b"{}", b'{"threads": 5}'),
        *(b'{"threads": [{"id": "topsecret"}]}', b'{"id": "topsecret"}', b"\xff\xfe", b"[" * 100_000),
        json.dumps({**THREAD, "messages": [{"text": "topsecret"}]}).encode(),
        json.dumps({**THREAD, "role_mapping": {"topsecret": 5}}).encode(),
    ],
    ids=range(14),
)
@pytest.mark.parametrize("call", ["find", "save", "refresh", "make", "post", "save a copy"])
def test_an_answer_that_is_none_is_an_error(answering: Answering, call: str, content: bytes) -> None:
    answering.content = content
    error = fails(call, remote_thread(answering.url), UnavailableError)
    assert isinstance(error, UnavailableError)
    assert not error.retryable


def test_a_deletion_needs_no_answer(answering: Answering) -> None:
    answering.status, answering.content = 204, b""
    remote_thread(answering.url).delete()
    assert answering.asked == [("DELETE", "/v1/rolethreads/t1")]


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_never_answers_is_waited_for_no_longer(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = requests.request

    def impatiently(method: str, url: str, *, timeout: tuple[float, float], **options: Any) -> Any:
        # A minute for an answer becomes a fifth of a second.
        connecting, answering = timeout
        return send(method, url, timeout=(connecting, answering / 300), **options)

    monkeypatch.setattr(requests, "request", impatiently)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = fails(call, remote_thread(f"http://127.0.0.1:{silent.getsockname()[1]}"), UnavailableError)
    assert "not answered in time" in str(error)
    assert isinstance(error, UnavailableError)
    assert error.retryable


@pytest.mark.parametrize("call", CALLS)
def test_where_nobody_listens_nothing_is_said_of_the_password(call: str) -> None:
    fails(call, remote_thread("http://ada:topsecret@127.0.0.1:9/?key=topsecret#topsecret"), UnavailableError)


@pytest.mark.parametrize(
    "address",
    [
        *("nowhere", "127.0.0.1:8090", "ada:topsecret@127.0.0.1:8090", "ftp://ada:topsecret@host"),
        *("http://", "https://:80", "http://[topsecret", "http://host:topsecret", "http://host:99999", " "),
        *("http://.topsecret.example", "http://*.topsecret.example", "file:///etc/topsecret"),
    ],
)
@pytest.mark.parametrize("call", ["find", "save", "post", "make"])
def test_what_is_no_address_is_refused(address: str, call: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises((ConfigurationError, UnavailableError)) as raised:
        CALLS[call](remote_thread(address))
    if ".example" not in address:
        assert "topsecret" not in repr(raised.value)
        assert isinstance(raised.value, ConfigurationError)
        assert "topsecret" not in caplog.text


@pytest.mark.parametrize(
    "token", ["", " ", "a b", "topsecret\n", "topsecret\r\nX: y", "topsecret€", "\0topsecret"]
)
@pytest.mark.parametrize("call", CALLS)
def test_what_is_no_key_is_refused(
    answering: Answering, call: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "\0" in token:
        monkeypatch.setattr("os.environ", {"AGENTSEA_HUB_API_KEY": token})
    else:
        monkeypatch.setenv("AGENTSEA_HUB_API_KEY", token)
    error = fails(call, remote_thread(answering.url), ConfigurationError)
    assert "AGENTSEA_HUB_API_KEY" in str(error)
    assert answering.asked == []


def test_no_password_of_this_machine_is_sent_instead_of_the_key(
    answering: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ada password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    answering.content = b'{"threads": []}'
    assert RoleThread.find(remote=answering.url) == []
    assert RoleThread.find(remote=answering.url.replace("//", "//ada:secret@")) == []
    assert answering.tokens == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("id", "path"), [("../../admin", "..%2F..%2Fadmin"), ("a?b#c", "a%3Fb%23c"), ("é", "%C3%A9")]
)
def test_an_id_stays_in_its_place_in_the_path(answering: Answering, id: str, path: str) -> None:
    answering.content = json.dumps(THREAD).encode()
    remote_thread(answering.url, id=id).refresh()
    assert answering.asked == [("GET", f"/v1/rolethreads/{path}")]


def test_a_slash_behind_the_address_does_no_harm(answering: Answering) -> None:
    answering.content = json.dumps(THREAD).encode()
    remote_thread(f"{answering.url}/api/").refresh()
    assert answering.asked == [("GET", "/api/v1/rolethreads/t1")]


@pytest.mark.parametrize("member", [{"private": True}, {"metadata": {"k": "topsecret"}}])
def test_what_a_server_would_drop_is_not_sent(answering: Answering, member: dict[str, Any]) -> None:
    contents = (b"{}", b"<html>", b"[]", b'{"components": {"schemas": {"PostMessageModel": 5}}}')
    for n, content in enumerate(contents):
        answering.content = content
        # Each at an address of its own, since an address is asked but once.
        with pytest.raises(UnsupportedError, match=r"mongostore\.servers\.threadmem") as raised:
            remote_thread(f"{answering.url}/{n}").post("user", "said", **member)
        assert "topsecret" not in str(raised.value)
    texts = {"id": "m", "role": "user", "text": "said", "created": 1.0, **member}
    with pytest.raises(UnsupportedError):
        remote_thread(answering.url, messages=[texts]).copy().save()
    asked = [path for _, path in answering.asked]
    assert asked == [*(f"/{n}/openapi.json" for n in range(len(contents))), "/openapi.json"]
    assert answering.tokens == {None}


def test_a_server_that_fails_once_is_asked_again_what_it_keeps(answering: Answering) -> None:
    answering.status = 503
    with pytest.raises(UnavailableError):
        remote_thread(answering.url).post("user", "said", private=True)
    texts = {"components": {"schemas": {"PostMessageModel": {"properties": {"private": {}}}}}}
    answering.status, answering.content = 200, json.dumps({**THREAD, **texts}).encode()
    remote_thread(answering.url).post("user", "said", private=True)
    assert ("POST", "/v1/rolethreads/t1/msgs") in answering.asked
