"""Where role threads are kept: the environment, configure(), a given store, and who forgets is warned."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from mongostore import ConfigurationError, MongoStore, NotOpenError
from mongostore.adapters.threadmem import RoleMessage, RoleThread, configure
from mongostore.adapters.threadmem.file_storage import FileStorage
from mongostore.sync import shared_store

NOWHERE = "mongodb://ada:topsecret@127.0.0.1:9/?serverSelectionTimeoutMS=200"


@pytest.fixture(autouse=True)
def _configure_anew() -> Iterator[None]:
    configure()
    yield
    configure()


def test_what_is_configured_is_where_threads_are_kept(store_uri: str, database: str) -> None:
    configure(store_uri, database)
    thread = RoleThread(name="kept")
    thread.post("user", "hi")
    with shared_store(store_uri, database) as store:
        assert store.threads.get(thread.id).name == "kept"
        assert store.threads.messages.count(thread.id) == 1


def test_what_is_configured_later_holds_for_all_from_then_on() -> None:
    one, two = f"mongomock://{uuid4().hex}", f"mongomock://{uuid4().hex}"
    configure(one)
    RoleThread(name="one")
    configure(two)
    RoleThread(name="two")
    assert [thread.name for thread in RoleThread.find()] == ["two"]
    configure(one)
    assert [thread.name for thread in RoleThread.find()] == ["one"]


def test_the_environment_says_where_else(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"mongomock://{uuid4().hex}"
    monkeypatch.setenv("MONGOSTORE_URI", uri)
    monkeypatch.setenv("MONGOSTORE_DATABASE", "threads")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thread = RoleThread()
    with MongoStore(uri, "threads") as store:
        assert store.threads.find(thread.id) is not None


def test_who_says_nothing_is_warned_once() -> None:
    with pytest.warns(UserWarning, match="MONGOSTORE_URI") as caught:
        thread = RoleThread()
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thread.post("user", "hi")
        RoleMessage("user", "hi")
        RoleThread.find()
        thread.delete()


def test_who_says_the_embedded_engine_is_not_warned() -> None:
    configure("mongomock://")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RoleThread().delete()


def test_importing_connects_to_nothing() -> None:
    code = (
        "import threading, mongostore.adapters.threadmem as tm\n"
        f"tm.configure({NOWHERE!r})\n"
        "assert threading.active_count() == 1\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr


def test_an_open_store_can_be_given() -> None:
    with MongoStore("mongomock://") as store:
        configure(store=store)
        thread = RoleThread()
        assert store.threads.find(thread.id) is not None
    with pytest.raises(NotOpenError):
        thread.save()


@pytest.mark.parametrize("sent", [{"uri": "mongomock://"}, {"database": "x"}])
def test_a_store_and_an_address_are_too_much(sent: dict[str, str]) -> None:
    store = MongoStore("mongomock://")
    with pytest.raises(ConfigurationError):
        configure(store=store, **sent)
    with pytest.raises(ConfigurationError):
        FileStorage(**sent, store=store)


def test_threads_of_another_shelf_know_nothing_of_these() -> None:
    configure("mongomock://")
    with MongoStore("mongomock://") as store:
        elsewhere = RoleThread.at(FileStorage(store=store))
        thread = elsewhere(name="there")
        thread.post("user", "hi")
        made = elsewhere.from_v1(thread.copy().to_v1())
        made.save()
        row = elsewhere.from_record(thread.copy().to_record())
        row.save()
        assert [len(one.messages()) for one in elsewhere.find()] == [1, 1, 1]
        assert RoleThread.find() == RoleMessage.find() == []


def test_one_store_is_opened_for_all_threads_of_a_process() -> None:
    configure(f"mongomock://{uuid4().hex}")
    RoleThread()
    before = threading.active_count()
    for _ in range(5):
        RoleThread().post("user", "hi")
    assert threading.active_count() == before
