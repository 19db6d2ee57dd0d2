"""The programs of this folder run, in a process of their own store, and print what they promise."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from mongostore import AsyncMongoStore, ConflictError, Message, MongoStore
from tests.conftest import absent

FOLDER = Path(__file__).parent
ENGINES = ["embedded", pytest.param("server", marks=[pytest.mark.server, pytest.mark.long])]


@pytest.fixture(params=ENGINES)
def uri(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, databases: list[str]) -> str:
    """The address that the programs read from their environment."""
    databases.append(name := f"programs_{uuid4().hex}")
    is_embedded = request.param == "embedded"
    address = f"mongomock://{name}" if is_embedded else request.getfixturevalue("server_uri")
    monkeypatch.setenv("MONGOSTORE_URI", address)
    monkeypatch.setenv("MONGOSTORE_DATABASE", name)
    return str(address)


@pytest.fixture
def store(uri: str) -> Iterator[MongoStore]:
    """A store on the same conversations as the program's."""
    with MongoStore() as store:
        yield store


def load(name: str) -> ModuleType:
    """Return a program anew: some open a store when they are imported."""
    spec = spec_from_file_location(f"program_{uuid4().hex}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


async def test_agent_memory_keeps_items_and_refuses_a_second_writer(uri: str) -> None:
    items = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]},
    ]
    memory_of = load("agent_memory").AgentMemory
    async with AsyncMongoStore() as store:
        memory, other = memory_of(store, "a1"), memory_of(store, "a1")
        await memory.add_items(items, {"step": 1})
        await other.add_items([{"role": "tool", "content": "42"}], {"step": 2})
        with pytest.raises(ConflictError):
            await memory.add_items(items, {"step": 3})
        assert await memory.pop_item() == {"role": "tool", "content": "42"}
        assert await memory.get_items() == items
        await memory.compact(keep=2)
        assert await memory.get_items() == [{"role": "system", "content": "A summary of 2 messages"}]
        assert (await store.sessions.in_namespace("agents").get("a1")).metadata == {"step": 2}
        await memory.clear()
        await memory.add_items(items, {})
        assert await memory.get_items() == items


async def test_chat_thread_keeps_steps_votes_and_files(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "map.png").write_bytes(bytes(1500))
    await load("chat_thread").main(tmp_path / "map.png")
    assert capsys.readouterr().out.splitlines() == [
        "t1 Parcels",
        "answer question 1",
        "question None None",
        "476 bytes",
        "no thread has the id 't1'",
    ]


@pytest.mark.server
async def test_existing_app_shares_its_client(
    server_uri: str, monkeypatch: pytest.MonkeyPatch, databases: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    databases.append(name := f"programs_{uuid4().hex}")
    monkeypatch.setenv("MONGOSTORE_URI", server_uri)
    monkeypatch.setenv("MONGOSTORE_DATABASE", name)
    await load("existing_app").main()
    found, calls = capsys.readouterr().out.splitlines()
    assert found == "Where is it? 17"
    assert calls.endswith("'AsyncSessions.create', 'AsyncSessionMessages.append']")


async def test_insights_count_each_turn_once(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    await load("insights").main()
    assert capsys.readouterr().out.splitlines() == [
        "[1, 2]",
        "['ada, 2 turns: My bill?']",
        "['My bill?']",
        "{'system': 'Be brief.'}",
    ]


def test_migration_run_twice_stores_once(
    store: MongoStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = {"id": "d1", "created": 1_700_000_000, "user": "ada", "title": "Bills"}
    good = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "Yes"}]},
    ]
    (tmp_path / "good.json").write_text(json.dumps({**dump, "messages": good}))
    (tmp_path / "wrong.json").write_text(
        json.dumps({**dump, "id": "d2", "messages": [{"content": "nobody"}]})
    )
    migrate = load("migrate_json").migrate
    assert [migrate(tmp_path), migrate(tmp_path)] == [1, 1]
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["2 sessions, 1 files refused"] * 2
    assert printed.err.startswith("wrong.json: role")
    messages = store.sessions.messages.list("d1")
    assert [message.to_openai() for message in messages] == good
    assert messages[0].created_at == datetime.fromtimestamp(1_700_000_000, UTC)


async def test_notebook_cells_run_inside_an_event_loop(
    store: MongoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.sessions.messages.append("s1", Message(role="user", content="Hi"), create={"user_id": "ada"})
    load("notebook_cells")
    assert capsys.readouterr().out.splitlines() == ["0 user Hi", "{'default': 1}", "['sessions']"]


async def test_privacy_exports_and_erases_a_person(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main = load("privacy").main
    async with AsyncMongoStore() as store:
        await store.sessions.messages.append(
            "s1", Message(role="user", content="Hi"), create={"user_id": "ada"}
        )
        await main("export", "ada")
        assert '"Hi"' in (tmp_path / "ada.jsonl").read_text()
        await main("erase", "ada")
        assert await store.sessions.exists("s1")
        await main("erase", "ada", "--sure")
        assert not await store.sessions.exists("s1")
    printed = capsys.readouterr().out
    assert "nothing was changed: repeat it with --sure" in printed
    assert "sessions                  1 deleted      0 anonymized\ndone" in printed


async def test_tail_resumes_behind_the_last_event(uri: str) -> None:
    module = load("resume_tail")
    async with AsyncMongoStore() as store:
        messages = store.sessions.messages
        for text in ("One", "Two"):
            await messages.append("s1", Message(role="user", content=text), create=True)
        first = module.tail(store, "s1", None)
        events = [await anext(first), await anext(first)]
        await first.aclose()
        assert ["One" in events[0], "Two" in events[1]] == [True, True]

        await messages.append("s1", Message(role="user", content="Three"))
        await store.sessions.soft_delete("s1")
        token = events[1].splitlines()[0].removeprefix("id: ")
        resumed = [event async for event in module.tail(store, "s1", token)]
    kinds = [re.search("^event: (.*)$", event, re.MULTILINE) for event in resumed]
    assert [kind and kind[1] for kind in kinds] == ["append", "close"]
    assert "Three" in resumed[0]


def test_retention_plans_and_deletes_idle_sessions(
    store: MongoStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.sessions.create("old", created_at=datetime.now(UTC) - timedelta(days=91))
    store.sessions.create("new")
    module = load("retention_cron")
    module.plan(store)
    assert store.sessions.count() == 2
    with store.leases.hold("retention"):
        module.prune(store)
    module.prune(store)
    planned, *lines = capsys.readouterr().out.splitlines()
    assert planned.startswith(f"default: 1 sessions idle since {datetime.now(UTC) - module.IDLE:%Y-%m-%d}")
    assert lines == [
        "another machine is doing it",
        "deleted 1 sessions and 0 threads",
    ]
    assert [session.id for session in store.sessions.list()] == ["new"]


async def test_sidebar_pages_searches_renames_and_deletes(uri: str) -> None:
    module = load("sidebar")
    async with AsyncMongoStore() as store:
        for number in range(31):
            session = await store.sessions.create(
                f"s{number}", user_id="ada", name=f"Parcel {number}", metadata={"archived": False}
            )
        page = await module.load(store, "ada")
        rest = await module.load(store, "ada", page.next_cursor)
        assert [len(page), len(rest), rest.next_cursor] == [30, 1, None]
        assert await module.search(store, "ada", "parcel 30") == ["Parcel 30: "]
        assert await module.badge(store, "ada") == "31"
        assert (await module.rename(store, session, "Bills")).name == "Bills"
        assert (await module.rename(store, session, "Late")).name == "Bills"
        assert await module.delete_and_restore(store, "s30") == ["s30"]
        assert await module.list_all(store, "ada") == ([f"s{number}" for number in range(30)], [])


def test_streaming_endpoint_keeps_the_answer(store: MongoStore) -> None:
    with TestClient(load("streaming_fastapi").app) as client:
        streamed = client.post(
            "/chats/c1", params={"question": "Hi?", "user": "ada"}, headers={"x-tenant": "acme"}
        )
        assert streamed.text == "You sent 1 messages. "
        page = client.get("/chats/c1/messages", headers={"x-tenant": "acme"}).json()
        assert client.get("/chats/c1/messages").status_code == 404
    assert [message["content"] for message in page["items"]] == ["Hi?", "You sent 1 messages. "]
    assert [message["status"] for message in page["items"]] == ["complete", "complete"]
    assert store.sessions.in_namespace("acme").get("c1").user_id == "ada"


async def test_support_room_has_one_timeline(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    await load("support_room").main()
    assert capsys.readouterr().out.splitlines() == [
        "again: None",
        "[(0, 'My parcel 17 is lost.')]",
        "unread at the desk: 2",
        "live 0 message",
        "live 1 edit",
    ]


def test_webhook_stores_a_repeated_delivery_once(store: MongoStore) -> None:
    delivery = {"message_id": "m1", "from": "+4930123", "text": "Hello"}
    with TestClient(load("webhook").app) as client:
        answers = [
            client.post("/hooks/whatsapp", json=body)
            for body in (delivery, delivery, {**delivery, "text": "?"})
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 422]
    assert answers[1].text == "stored at 0"
    assert store.sessions.in_namespace("whatsapp").messages.count("+4930123") == 1


def test_flask_answers_a_repeated_message_once(store: MongoStore) -> None:
    if find_spec("flask") is None:
        absent("Flask is not installed")
    module = load("flask_app")
    client = module.app.test_client()
    path, body = "/sessions/s1/messages", {"id": "m1", "text": "Hello"}
    assert client.get(path).status_code == 404
    answers = [client.post(path, json=each) for each in (body, body, {**body, "text": "?"})]
    assert [answer.status_code for answer in answers] == [201, 201, 409]
    page = client.get(path).json
    assert ([message["content"] for message in page["messages"]], page["cursor"]) == (["Hello"], None)
    module.store.close()


def test_a_task_of_celery_that_runs_twice_stores_one_summary(store: MongoStore) -> None:
    if find_spec("celery") is None:
        absent("Celery is not installed")
    store.sessions.messages.append("s1", Message(role="user", content="Hello"), create=True)
    module = load("celery_worker")
    module.connect()
    results = [module.summarize.apply(args=("s1", "t1")).get() for _ in range(2)]
    assert results == [1, 1]
    assert [message.content for message in store.sessions.messages.list("s1")] == ["Hello", "Hello"]
    assert store.sessions.get("s1").metadata == {"summarized": True}
    module.store.close()


@pytest.mark.server
@pytest.mark.long
def test_forked_workers_of_celery_open_the_store_for_themselves(
    server_uri: str, monkeypatch: pytest.MonkeyPatch, databases: list[str], tmp_path: Path
) -> None:
    if find_spec("celery") is None:
        absent("Celery is not installed")
    databases.append(name := f"programs_{uuid4().hex}")
    monkeypatch.setenv("MONGOSTORE_URI", server_uri)
    monkeypatch.setenv("MONGOSTORE_DATABASE", name)
    (tmp_path / "tasks.py").write_text(
        (FOLDER / "celery_worker.py").read_text()
        + "app.conf.broker_url = 'filesystem://'\n"
        + f"folders = dict.fromkeys(('data_folder_in', 'data_folder_out'), {str(tmp_path / 'queue')!r})\n"
        + f"folders['control_folder'] = {str(tmp_path / 'control')!r}\n"
        + "app.conf.broker_transport_options = folders\n"
    )
    (tmp_path / "queue").mkdir()
    send = "from tasks import summarize; [summarize.delay('s1', t) for t in ('t1', 't2', 't1')]"
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, check=True, timeout=60)
    command = [sys.executable, "-m", *["celery", "--app", "tasks", "worker", "--concurrency", "2"]]
    with MongoStore() as store, subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as worker:
        try:
            store.sessions.messages.append("s1", Message(role="user", content="Hello"), create=True)
            deadline = time.monotonic() + 60
            while store.sessions.messages.count("s1") < 3:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            worker.terminate()
        worker.wait(60)
        assert {message.id for message in store.sessions.messages.list("s1")} >= {"summary-t1", "summary-t2"}
        assert store.sessions.messages.count("s1") == 3
