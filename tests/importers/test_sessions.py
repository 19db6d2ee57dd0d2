"""Samples of sources whose conversations become sessions."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mongostore import AsyncMongoStore
from mongostore.importers import Importer, Options, Report
from tests.importers.expected import DATA, check_session, load, named, numbers, to_item


@dataclass(frozen=True)
class Sample:
    """A file of a source with what it has to become."""

    source: str
    folder: str
    file: str
    expected: str = "expected.json"
    namespace: str = "default"
    refused: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    only: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.source}-{self.file}"


TORN_AGENT = ("agent_messages", "s-legacy/2")
TORN_LANGCHAIN = ("message_store", "6b0b92b2b591dfb2c11a5394")
OTHER_KEYS = ("message_store", "SessionId")
LIBRECHAT_LEFT_OUT = (("conversations", "lc-temp"), ("messages", "x1"))
SAMPLES = [
    Sample("director", "director", "director.db", "expected.json", "director", (("conversations", "torn"),)),
    Sample("director", "director", "director.pg.sql", "expected.pg.json", "director"),
    Sample("agents", "openai-agents", "agents.db", refused=(("agent_messages", "17"),)),
    Sample("agents", "openai-agents-mongodb", "agent_messages.bson", refused=(TORN_AGENT,)),
    Sample("agents", "openai-agents-mongodb", "agent_messages.jsonl", refused=(TORN_AGENT,)),
    Sample(
        "langchain",
        "langchain-mongodb",
        "message_store.bson",
        refused=(TORN_LANGCHAIN,),
        left_out=(OTHER_KEYS,),
    ),
    Sample(
        "langchain",
        "langchain-mongodb",
        "message_store.jsonl",
        refused=(TORN_LANGCHAIN,),
        left_out=(OTHER_KEYS,),
    ),
    Sample("chatgpt", "chatgpt", "chatgpt.zip"),
    Sample("claude", "claude", "claude.zip", left_out=(("projects.json", ""),)),
    Sample("openwebui", "openwebui", "chat-export.json"),
    Sample("librechat", "librechat", "conversations.bson", left_out=LIBRECHAT_LEFT_OUT),
    Sample("librechat", "librechat", "messages.jsonl", left_out=LIBRECHAT_LEFT_OUT),
    Sample("librechat", "librechat", "export-flat.json", only=("lc-conv-1",)),
    Sample("librechat", "librechat", "export-recursive.json", only=("lc-conv-1",)),
]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
async def test_a_sample_becomes_what_it_has_to(store: AsyncMongoStore, sample: Sample) -> None:
    expected = load(sample.folder, sample.expected)
    report = await Importer(store).run(sample.source, str(DATA / sample.folder / sample.file))

    assert (*named(report, "refused"),) == sample.refused
    assert (*named(report, "left_out"),) == sample.left_out
    sessions = [one for one in expected["sessions"] if not sample.only or one["id"] in sample.only]
    for session in sessions:
        if sample.only:
            # An export of one conversation does not say when it began.
            session = {**session, "created_at": None}
        await check_session(store, session, sample.namespace)
    stored = [one.id async for one in store.sessions.in_namespace(sample.namespace).iter()]
    assert sorted(stored) == sorted(one["id"] for one in sessions)
    assert report.verified == len(sessions)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
async def test_a_second_import_finds_all_there(store: AsyncMongoStore, sample: Sample) -> None:
    location = str(DATA / sample.folder / sample.file)
    first = await Importer(store).run(sample.source, location, report=Report(has_digests=True))
    second = await Importer(store).run(sample.source, location, report=Report(has_digests=True))

    for noun in ("sessions", "messages", "files"):
        read, *_ = numbers(first, noun)
        assert numbers(first, noun) == (read, read, 0, 0, 0)
        assert numbers(second, noun) == (read, 0, read, 0, 0)
    assert second.digests == first.digests
    assert named(second, "refused") == named(first, "refused")


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
async def test_a_dry_run_gives_the_same_report_and_writes_nothing(
    store: AsyncMongoStore, sample: Sample
) -> None:
    location = str(DATA / sample.folder / sample.file)
    dry = await Importer(store, dry_run=True).run(sample.source, location, report=Report(has_digests=True))
    assert [one async for one in store.sessions.in_namespace(sample.namespace).iter()] == []
    assert [one async for one in store.threads.files.iter()] == []

    real = await Importer(store).run(sample.source, location, report=Report(has_digests=True))
    assert (dry.counts, dry.digests) == (real.counts, real.digests)
    assert named(dry, "refused") == named(real, "refused")


async def test_both_forms_of_a_librechat_conversation_are_one(store: AsyncMongoStore) -> None:
    folder = DATA / "librechat"
    for name in ("conversations.jsonl", "export-flat.json", "export-recursive.json", "conversations.bson"):
        report = await Importer(store).run("librechat", str(folder / name))
        read, new, known, changed, refused = numbers(report, "messages")
        assert (new, known) == ((read, 0) if name == "conversations.jsonl" else (0, read))
        assert changed == refused == 0


async def test_a_later_export_adds_what_is_new_and_moves_the_path(store: AsyncMongoStore) -> None:
    later = load("chatgpt")["then_later"]
    await Importer(store).run("chatgpt", str(DATA / "chatgpt" / "chatgpt.zip"))
    report = await Importer(store).run("chatgpt", str(DATA / "chatgpt" / "chatgpt-later.zip"))

    ((session_id, added),) = later["adds_messages"]
    stored = [message async for message in store.sessions.messages.iter(session_id)]
    assert [message.id for message in stored][-1] == added
    path = [message.id for message in stored if message.conversation_id == "default"]
    assert path == later["changes"][f"path of {session_id}"]
    assert numbers(report, "messages") == (4, 1, 0, 3, 0)
    assert numbers(report, "sessions") == (1, 0, 0, 1, 0)
    assert await store.sessions.count() == 3


async def test_files_of_a_chatgpt_export_are_stored_with_their_messages(store: AsyncMongoStore) -> None:
    await Importer(store).run("chatgpt", str(DATA / "chatgpt" / "chatgpt.zip"))
    for file in load("chatgpt")["files"]:
        session_id = load("chatgpt")["sessions"][0]["id"]
        message = await store.sessions.messages.get(session_id, file["message"])
        stored = await store.threads.files.get(message.data["files"][file["pointer"]])
        assert (stored.size, stored.content_type) == (file["size"], file.get("content_type", "image/webp"))


@pytest.mark.parametrize(
    ("torn", "sessions", "is_by_user"),
    [("conversations-001.json", 1, True), ("user.json", 3, False), ("message_feedback.json", 3, True)],
)
async def test_a_torn_file_of_an_export_is_named_and_the_others_are_read(
    store: AsyncMongoStore, tmp_path: Path, torn: str, sessions: int, is_by_user: bool
) -> None:
    with zipfile.ZipFile(DATA / "chatgpt" / "chatgpt.zip") as archive:
        archive.extractall(tmp_path)
    file = tmp_path / torn
    file.write_bytes(file.read_bytes()[:40])
    report = await Importer(store).run("chatgpt", str(tmp_path))
    assert named(report, "refused") == [(torn, "")]
    assert await store.sessions.count() == sessions
    assert all([bool(one.user_id) is is_by_user async for one in store.sessions.iter()])


async def test_tables_of_another_name_are_read(store: AsyncMongoStore) -> None:
    options = Options(tables={"agent_sessions": "my_sessions", "agent_messages": "my_messages"})
    await Importer(store).run("agents", str(DATA / "openai-agents" / "agents.db"), options)
    assert [(one.id, one.count) async for one in store.sessions.iter()] == [("own-tables", 1)]


async def test_keys_of_another_name_are_read(store: AsyncMongoStore) -> None:
    options = Options(keys={"SessionId": "sid", "History": "msg"})
    await Importer(store).run("langchain", str(DATA / "langchain-mongodb" / "message_store.bson"), options)
    assert [(one.id, one.count) async for one in store.sessions.iter()] == [("other-keys", 1)]


async def test_a_branch_of_agents_is_a_conversation(store: AsyncMongoStore) -> None:
    await Importer(store).run("agents", str(DATA / "openai-agents" / "agents_advanced.db"))
    expected = load("openai-agents", "expected_advanced.json")["conversations"]
    for branch, items in expected.items():
        name = "default" if branch == "main" else branch
        messages = store.sessions.messages.iter("branched", conversation_id=name)
        assert [to_item(message) async for message in messages] == items


async def test_an_sqlite_file_in_use_is_read_with_its_log_and_left_alone(store: AsyncMongoStore) -> None:
    files = sorted((DATA / "openai-agents").glob("agents_wal.db*"))
    before = [(file.name, file.read_bytes()) for file in files]
    assert len(before) == 2
    await Importer(store).run("agents", str(DATA / "openai-agents" / "agents_wal.db"))

    texts = [message.content async for message in store.sessions.messages.iter("running")]
    assert texts == load("openai-agents", "expected_wal.json")["texts"]
    files = sorted((DATA / "openai-agents").glob("agents_wal.db*"))
    assert [(file.name, file.read_bytes()) for file in files] == before


@pytest.mark.parametrize("file", ["sharegpt.jsonl", "sharegpt.json"])
async def test_sharegpt_lines_and_lists_are_conversations(store: AsyncMongoStore, file: str) -> None:
    expected = load("sharegpt")
    report = await Importer(store).run("sharegpt", str(DATA / "sharegpt" / file))
    count = expected["counts"]["sessions"] if file.endswith("l") else expected["counts"]["sessions_in_json"]
    assert numbers(report, "sessions") == (count, count, 0, 0, 0)
    sessions = {one.id: one async for one in store.sessions.iter()}
    for one in expected["sessions"]:
        if one.get("id") in sessions:
            messages = [message async for message in store.sessions.messages.iter(one["id"])]
            if "roles" in one:
                assert [message.role for message in messages] == one["roles"]
            if "texts" in one:
                assert [message.content for message in messages] == one["texts"]


async def test_the_list_of_sharegpt_adds_nothing_to_its_lines(store: AsyncMongoStore) -> None:
    for file in ("sharegpt.jsonl", "sharegpt.json"):
        report = await Importer(store).run("sharegpt", str(DATA / "sharegpt" / file))
    assert report.of("sessions").new == report.of("messages").new == 0
    assert await store.sessions.count() == 8


async def test_the_oldest_form_of_openwebui_gets_ids_of_its_content(store: AsyncMongoStore) -> None:
    expected = load("openwebui")["oldest"]
    for _ in range(2):
        await Importer(store).run("openwebui", str(DATA / "openwebui" / expected["file"]))
    (session,) = [one async for one in store.sessions.iter()]
    texts = [message.content async for message in store.sessions.messages.iter(session.id)]
    assert texts == expected["texts"]
    assert session.created_at.isoformat() == "2023-11-14T22:13:20+00:00"


async def test_lines_of_openai_are_conversations_batches_and_preferences(store: AsyncMongoStore) -> None:
    for _ in range(2):
        report = await Importer(store).run("openai", str(DATA / "openai-jsonl" / "chat.jsonl"))
    expected = load("openai-jsonl")
    counts = expected["counts"]
    assert numbers(report, "sessions") == (counts["sessions"], 0, counts["sessions"], 0, 0)
    assert numbers(report, "messages") == (counts["messages"], 0, counts["messages"], 0, 0)
    assert named(report, "refused") == [("chat.jsonl", str(one["line"])) for one in expected["refused"]]
    # In the order of their lines, since none of them has a time.
    sessions = [one async for one in store.sessions.iter()]
    for one, session in zip(expected["sessions"], sessions, strict=True):
        messages = [message async for message in store.sessions.messages.iter(session.id)]
        if "texts" in one:
            assert [message.content for message in messages] == one["texts"]
        if "roles" in one:
            assert [message.role for message in messages] == one["roles"]
        if "data_of_messages" in one:
            assert [message.data for message in messages] == one["data_of_messages"]
        if "conversations" in one:
            found: dict[str, list[object]] = {}
            for message in messages:
                found.setdefault(message.conversation_id, []).append(message.content)
            assert found == one["conversations"]
        if "content" in one:
            assert [message.content for message in messages] == [one["content"]]
        for name in ("data", "metadata"):
            if name in one:
                assert getattr(session, name) == one[name]


async def test_equal_conversations_of_a_file_are_told_apart(store: AsyncMongoStore, tmp_path: Path) -> None:
    line = '{"messages": [{"role": "user", "content": "hi"}]}\n'
    (tmp_path / "a.jsonl").write_text(line * 3)
    for _ in range(2):
        await Importer(store).run("openai", str(tmp_path / "a.jsonl"))
    assert await store.sessions.count() == 3


async def test_messages_of_one_a_line_go_to_their_sessions(store: AsyncMongoStore, tmp_path: Path) -> None:
    lines = ['{"session_id": "s", "role": "user", "content": "same"}', '{"role": "user", "content": "x"}']
    (tmp_path / "chats.jsonl").write_text("\n".join([*lines, lines[0], lines[0]]))
    for _ in range(2):
        await Importer(store).run("openai", str(tmp_path / "chats.jsonl"))
    found = {one.id: one.count async for one in store.sessions.iter()}
    assert found == {"s": 3, "chats": 1}


async def test_an_import_sorts_by_the_times_of_its_messages(store: AsyncMongoStore) -> None:
    await store.sessions.create("now")
    for source, file in (("claude", "claude.zip"), ("chatgpt", "chatgpt.zip")):
        await Importer(store).run(source, str(DATA / source / file))
    director = store.sessions.in_namespace("director")
    await Importer(store).run("director", str(DATA / "director" / "director.db"))
    for sessions in (store.sessions, director):
        async for session in sessions.iter():
            times = [m.created_at async for m in sessions.messages.iter(session.id) if m.created_at]
            if session.id != "now":
                assert session.active_at == max([*times, session.created_at])
    # Without those that have no time at all.
    listed = [one.id for one in await store.sessions.list() if one.count or one.id == "now"]
    assert listed[0] == "now"
    # A chat of 2024, and, with a context, one of 2025.
    assert listed[-1] == "0c1a0000-0000-0400-0800-000000000065"
    assert [session.id for session in await director.list()][-2:] != ["s-aurora", "s-null"]
