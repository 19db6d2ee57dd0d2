"""Role threads that a server of ours keeps."""

from __future__ import annotations

import base64
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from PIL import Image

from mongostore import (
    AccessDeniedError,
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    MongoStore,
    NotFoundError,
    UnavailableError,
)
from mongostore.adapters.threadmem import RoleMessage, RoleThread, V1Role, V1RoleMessage, configure
from tests.servers.rolehub import RoleServer

URL = "https://example.com/a.png"


@pytest.fixture(scope="module")
def server() -> Iterator[RoleServer]:
    with MongoStore("mongomock://") as store, RoleServer(store) as running:
        yield running


@pytest.fixture
def owner(server: RoleServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who asks the server."""
    name = f"{uuid4().hex}@x"
    monkeypatch.setenv("AGENTSEA_HUB_API_KEY", server.token(name))
    return name


@pytest.fixture
def thread(server: RoleServer, owner: str) -> RoleThread:
    return RoleThread(remote=server.url, name="name", public=True, metadata={"k": 1})


@pytest.fixture(autouse=True)
def _nothing_here() -> Iterator[None]:
    # What is to be remote must not be kept here: there is no such server.
    configure("mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=100")
    yield
    configure()


def inside(server: RoleServer, thread: RoleThread) -> RoleThread:
    [found] = server.threads.find(id=thread.id)
    return found


def role(name: str = "boss") -> V1Role:
    return V1Role(name=name, user_id="u1", user_name="Ada", icon="icon.png")


def message(**members: Any) -> RoleMessage:
    return RoleMessage.from_v1(
        V1RoleMessage(**{"id": "x", "role": "u", "text": "hi", "created": 1.0, **members})
    )


def test_a_thread_is_made_on_its_server(server: RoleServer, owner: str) -> None:
    thread = RoleThread("ignored", True, "name", {"k": None}, server.url, role_mapping={"boss": role()})
    found = inside(server, thread)
    assert (thread.owner_id, thread.remote) == (owner, server.url)
    assert thread.to_v1() == found.to_v1()
    assert (found.public, found.name, found.metadata) == (True, "name", {"k": None})
    assert found.role_mapping == {"boss": role()}


def test_what_is_saved_is_saved_there(server: RoleServer, thread: RoleThread) -> None:
    thread.name, thread.metadata = "new", {"l": [2]}
    thread.save()
    found = inside(server, thread)
    assert (found.name, found.metadata, found.public) == ("new", {"l": [2]}, True)
    assert thread.to_v1() == found.to_v1()


def test_posts_arrive_whole(server: RoleServer, thread: RoleThread, tmp_path: Path) -> None:
    Image.new("RGB", (2, 1)).save(path := tmp_path / "a.png")
    large = "data:image/png;base64," + base64.b64encode(bytes(2 * 1024 * 1024)).decode()
    thread.post("user", "hi", [Image.new("CMYK", (3, 2)), str(path), URL, large], True, {"k": [None, 1]})
    thread.post("assistant", "plain")
    found = inside(server, thread).messages()
    assert [one.to_v1() for one in thread.messages()] == [one.to_v1() for one in found]
    assert [image[:22] for image in found[0].images[:2]] == ["data:image/png;base64,"] * 2
    assert found[0].images[2:] == [URL, large]
    assert (found[0].private, found[0].metadata) == (True, {"k": [None, 1]})
    assert [one.text for one in thread.messages(include_private=False)] == ["plain"]


def test_messages_that_are_there_are_added(server: RoleServer, thread: RoleThread) -> None:
    thread.add_msg(message(images=[URL], private=True, metadata={"k": 1}))
    [found] = inside(server, thread).messages()
    assert (found.role, found.text, found.images, found.private) == ("u", "hi", [URL], True)
    assert found.metadata == {"k": 1}
    assert thread.messages()[0].to_v1() == found.to_v1()


def test_roles_come_and_go(server: RoleServer, thread: RoleThread) -> None:
    thread.add_role(role())
    assert thread.role_mapping == inside(server, thread).role_mapping == {"boss": role()}
    with pytest.raises(ValueError, match="Role boss already exists"):
        thread.add_role(role())
    [stale] = RoleThread.find(remote=server.url, id=thread.id)
    inside(server, thread).add_role(role("new"))
    with pytest.raises(ValueError, match="Role new already exists"):
        stale.add_role(role("new"))
    stale.remove_role("new")
    with pytest.raises(ValueError, match="Role new does not exist"):
        thread.remove_role("new")
    stale.remove_role("boss")
    thread.add_role(role())
    thread.remove_role("boss")
    assert thread.role_mapping == inside(server, thread).role_mapping == {}


def test_threads_are_found_by_their_columns(server: RoleServer, thread: RoleThread, owner: str) -> None:
    other = RoleThread(remote=server.url)
    thread.post("user", "hi")
    server.threads("somebody else")
    assert [one.id for one in RoleThread.find(server.url)] == [thread.id, other.id]
    for columns in ({"name": "name"}, {"public": True}, {"meta_data": '{"k": 1}'}, {"id": thread.id}):
        [found] = RoleThread.find(remote=server.url, **columns)
        assert (found.id, found.remote) == (thread.id, server.url)
        assert found.to_v1() == thread.to_v1()
    assert len(RoleThread.find(remote=server.url, owner_id=owner)) == 2
    assert RoleThread.find(remote=server.url, name="other") == []
    with pytest.raises(InvalidValueError):
        RoleThread.find(remote=server.url, nothing=1)


def test_threads_are_found_on_all_pages_of_a_server(
    server: RoleServer, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mongostore.adapters.threadmem.http_backend.PAGE", 2)
    made = [RoleThread(remote=server.url, name=str(n)) for n in range(5)]
    found = RoleThread.find(remote=server.url)
    assert [one.id for one in found] == [one.id for one in made]
    assert [one.name for one in found] == ["0", "1", "2", "3", "4"]


def test_refresh_reads_all_that_others_have_changed(server: RoleServer, thread: RoleThread) -> None:
    theirs = inside(server, thread)
    theirs.name, theirs.metadata = "theirs", {"new": 1}
    theirs.add_role(role())
    theirs.post("user", "hi")
    thread.refresh()
    assert thread.to_v1() == theirs.to_v1()


def test_refresh_may_be_asked_for_by_another_token(
    server: RoleServer, thread: RoleThread, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGENTSEA_HUB_API_KEY")
    thread.refresh(server.token(owner))
    with pytest.raises(NotFoundError):
        thread.refresh(server.token("somebody else"))
    with pytest.raises(AccessDeniedError):
        thread.refresh("mgs_forged")
    with pytest.raises(ConfigurationError, match=r"Hub API key not found, set \$AGENTSEA_HUB_API_KEY"):
        thread.refresh()


def test_a_save_says_when_others_have_changed_the_thread(
    server: RoleServer, thread: RoleThread, caplog: pytest.LogCaptureFixture
) -> None:
    thread.save()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    inside(server, thread).post("user", "hi")
    thread.save()
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert thread.id in record.getMessage()


def test_a_copy_is_sent_when_it_is_saved(server: RoleServer, thread: RoleThread) -> None:
    thread.post("user", "hi", [URL], True, {"k": 1})
    thread.add_role(role())
    made = thread.copy()
    assert server.threads.find(id=made.id) == []
    made.save()
    found = inside(server, made)
    assert [(one.text, one.private, one.metadata) for one in found.messages()] == [("hi", True, {"k": 1})]
    assert found.role_mapping == {"boss": role()}
    assert len(inside(server, thread).messages()) == 1


def test_a_copy_whose_sending_breaks_off_is_sent_on_by_the_next_save(
    server: RoleServer, thread: RoleThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        thread.post("user", str(number))
    thread.add_role(role())
    made, asked, send = thread.copy(), [], requests.request

    def fail_once(method: str, url: str, **options: Any) -> requests.Response:
        asked.append(url)
        if len(asked) == 5:
            raise requests.ConnectionError("lost")
        return send(method, url, **options)

    monkeypatch.setattr(requests, "request", fail_once)
    with pytest.raises(UnavailableError):
        made.save()
    assert [one.text for one in inside(server, made).messages()] == ["0", "1"]
    made.save()
    found = inside(server, made)
    assert [one.text for one in found.messages()] == ["0", "1", "2", "3"]
    assert (made.to_v1(), found.role_mapping) == (found.to_v1(), {"boss": role()})


@pytest.mark.parametrize("number", range(1, 6))
def test_a_copy_is_sent_once_whatever_answer_is_lost(
    server: RoleServer, thread: RoleThread, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    thread.add_role(role())
    for text in ("one", "two", "two"):
        thread.post("user", text)
    sent, send = 0, requests.request

    def lose(method: str, *arguments: Any, **options: Any) -> Any:
        nonlocal sent
        answer = send(method, *arguments, **options)
        sent += method == "POST"
        if method == "POST" and sent == number:
            raise requests.ConnectionError("the answer was lost")
        return answer

    copy = thread.copy()
    monkeypatch.setattr(requests, "request", lose)
    with pytest.raises(UnavailableError):
        copy.save()
    copy.save()
    found = inside(server, copy)
    assert [one.text for one in found.messages()] == ["one", "two", "two"]
    assert found.role_mapping == {"boss": role()}
    assert copy.to_v1() == found.to_v1()


def test_images_are_taken_away_in_memory_alone(server: RoleServer, thread: RoleThread) -> None:
    thread.post("user", "hi", [URL])
    thread.remove_images()
    thread.save()
    assert thread.messages()[0].images == []
    assert inside(server, thread).messages()[0].images == [URL]


def test_a_deleted_thread_is_gone_for_good(server: RoleServer, thread: RoleThread) -> None:
    [stale] = RoleThread.find(remote=server.url, id=thread.id)
    thread.delete()
    for one in (thread, stale):
        for call in (one.save, one.refresh, one.delete, lambda one=one: one.post("user", "late")):
            with pytest.raises(NotFoundError):
                call()
    assert server.threads.find(id=thread.id) == []
    unseen = RoleThread.from_v1(stale.to_v1().model_copy(update={"remote": server.url}))
    with pytest.raises(ConflictError):
        unseen.save()


@pytest.mark.parametrize(
    "members",
    [
        {"role": 5},
        {"text": None},
        {"text": "\ud800"},
        {"metadata": {"k": {1}}},
        {"metadata": {"k": float("nan")}},
        {"private": "yes"},
        {"images": ["data:\ud800"]},
    ],
    ids=str,
)
def test_what_cannot_be_sent_is_refused_here(
    server: RoleServer, thread: RoleThread, members: dict[str, Any]
) -> None:
    bad = message()
    for name, value in members.items():
        setattr(bad, name, value)
    with pytest.raises(InvalidValueError):
        thread.add_msg(bad)
    made = thread.copy()
    made.messages().append(bad)
    with pytest.raises(InvalidValueError):
        made.save()
    assert inside(server, thread).messages() == []


@pytest.mark.parametrize("metadata", [{"k": {1}}, {1: object()}, {"k": float("inf")}, {"k": 10**4250}])
def test_metadata_that_no_server_takes_are_refused(
    server: RoleServer, thread: RoleThread, metadata: Any
) -> None:
    thread.metadata = metadata
    with pytest.raises(InvalidValueError):
        thread.save()
    with pytest.raises(InvalidValueError):
        RoleThread(remote=server.url, metadata=metadata)
    assert inside(server, thread).metadata == {"k": 1}


def test_a_server_that_does_not_describe_itself_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with MongoStore("mongomock://") as store, RoleServer(store, docs=False) as server:
        monkeypatch.setenv("AGENTSEA_HUB_API_KEY", server.token("ada"))
        thread = RoleThread(remote=server.url)
        thread.post("user", "hi", private=True)
        assert inside(server, thread).messages()[0].private is True


def test_errors_of_a_server_are_those_of_requests_too(thread: RoleThread) -> None:
    thread.delete()
    with pytest.raises(requests.HTTPError) as caught:
        thread.refresh()
    error = caught.value
    assert isinstance(error, NotFoundError)
    assert (error.kind, error.id, str(error)) == (
        "thread",
        thread.id,
        str(NotFoundError("thread", thread.id)),
    )
    assert error.response.status_code == 404
    assert error.response.json()["status"] == 404
    again = pickle.loads(pickle.dumps(error))
    assert (type(again).__mro__[1:], str(again), again.id) == (type(error).__mro__[1:], str(error), thread.id)
    with pytest.raises(requests.RequestException) as failed:
        RoleThread(remote="http://127.0.0.1:9")
    assert isinstance(failed.value, UnavailableError)
    assert isinstance(failed.value, requests.ConnectionError)
    assert failed.value.response is None
    with pytest.raises(requests.exceptions.InvalidURL) as unknown:
        RoleThread(remote="http://*.example.com")
    assert isinstance(unknown.value, ConfigurationError)
