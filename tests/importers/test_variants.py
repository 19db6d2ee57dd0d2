"""What sources hold in real life beside their samples: nothing of it is lost without a word."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mongostore import AsyncMongoStore, Message
from mongostore.importers import Importer, Options, Report
from tests.importers.expected import DATA, named

MILLISECONDS = 1_700_000_000_000


async def run(store: AsyncMongoStore, source: str, path: Path, **options: Any) -> Report:
    report = await Importer(store).run(source, str(path), Options(**options))
    again = await Importer(store).run(source, str(path), Options(**options))
    assert {noun: counts.new for noun, counts in again.counts.items() if counts.new} == {}
    return report


async def messages(store: AsyncMongoStore, session_id: str) -> list[Message]:
    return [message async for message in store.sessions.messages.iter(session_id)]


def zipped(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def in_chatgpt(id: str, *contents: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A conversation of ChatGPT, one message behind the other."""
    mapping: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": ["n0"]}}
    for number, content in enumerate(contents):
        mapping[f"n{number}"] = {
            "id": f"n{number}",
            "parent": f"n{number - 1}" if number else "root",
            "children": [],
            "message": {
                "id": f"n{number}",
                "author": {"role": "assistant", "name": None, "metadata": {}},
                "create_time": None,
                "content": content,
                "metadata": {"is_visually_hidden_from_conversation": True},
                "recipient": "all",
            },
        }
    last = f"n{len(contents) - 1}"
    return {"conversation_id": id, "title": None, "mapping": mapping, "current_node": last, **members}


CONTENTS: list[dict[str, Any]] = [
    {"content_type": "user_editable_context", "user_profile": "p", "user_instructions": "i"},
    {"content_type": "model_editable_context", "model_set_context": "m"},
    {
        "content_type": "multimodal_text",
        "parts": [{"content_type": "audio_transcription", "text": "said"}, "x"],
    },
    {"content_type": "code", "language": "python", "text": "1+1"},
    {"content_type": "execution_output", "text": "2"},
    {"content_type": "tether_browsing_display", "result": "r", "summary": None},
    {"content_type": "tether_quote", "url": "u", "domain": "d", "text": "t", "title": "i"},
    {
        "content_type": "thoughts",
        "thoughts": [{"summary": "s", "content": "c"}],
        "source_analysis_msg_id": "m",
    },
    {"content_type": "reasoning_recap", "content": "Thought for 3 s"},
    {"content_type": "system_error", "name": "n", "text": "t"},
]


async def test_each_kind_of_content_of_chatgpt_is_kept_whole(store: AsyncMongoStore, tmp_path: Path) -> None:
    whole = in_chatgpt("c", *CONTENTS, create_time="2024-05-01T10:00:00Z", update_time=None, x={"y": [1]})
    (tmp_path / "a.json").write_text(json.dumps([whole]))
    report = await run(store, "chatgpt", tmp_path / "a.json")
    assert (report.refused.count, report.warnings.count) == (0, 0)
    stored = await messages(store, "c")
    assert [message.content for message in stored] == CONTENTS
    session = await store.sessions.get("c")
    assert session.data["x"] == {"y": [1]}
    assert session.created_at is not None
    assert session.created_at.isoformat() == "2024-05-01T10:00:00+00:00"


async def test_a_time_that_is_none_stays_as_it_is(store: AsyncMongoStore, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([in_chatgpt("c", create_time="yesterday")]))
    await run(store, "chatgpt", tmp_path / "a.json")
    assert (await store.sessions.get("c")).data["create_time"] == "yesterday"


async def test_zips_in_a_zip_are_read_and_one_that_a_user_sent_is_a_file(
    store: AsyncMongoStore, tmp_path: Path
) -> None:
    pointer = {"content_type": "multimodal_text", "parts": [{"asset_pointer": "file-service://file-Z1"}]}
    parts = [
        zipped(
            {
                f"conversations-00{number}.json": json.dumps([in_chatgpt(f"c{number}", pointer)]).encode(),
                "file-Z1-sent.zip": zipped({"conversations.json": b"[]"}),
                "sora.json": b"{}",
            }
        )
        for number in range(2)
    ]
    source = tmp_path / "export.zip"
    source.write_bytes(zipped({f"User Online Activity/part-{n}.zip": part for n, part in enumerate(parts)}))
    report = await run(store, "chatgpt", source)
    assert (report.of("sessions").new, report.of("files").new, report.refused.count) == (2, 2, 0)
    assert {key.rpartition("/")[2] for _, key in named(report, "left_out")} >= {"sora.json"}


async def test_all_files_of_conversations_of_claude_are_read(store: AsyncMongoStore, tmp_path: Path) -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "tool_use", "name": "artifacts", "input": {"id": "a"}},
        {"type": "tool_result", "content": [{"type": "text", "text": "done"}], "is_error": False},
        {"type": "token_budget"},
        {"type": "text", "text": 7},
    ]
    for number in range(2):
        listed = [
            {
                "uuid": f"m{number}",
                "sender": "human",
                "text": "",
                "content": [],
                "attachments": [{"file_name": "f"}],
            },
            {
                "uuid": f"n{number}",
                "sender": "assistant",
                "text": "hm",
                "files": "none",
                "content": blocks,
                "created_at": "soon",
            },
        ]
        folder = tmp_path / f"data-00{number}"
        folder.mkdir()
        (folder / "conversations.json").write_text(
            json.dumps([{"uuid": f"c{number}", "chat_messages": listed}])
        )
        (folder / "memories.json").write_text('[{"memory": "x"}]')
    report = await run(store, "claude", tmp_path)
    assert (report.of("sessions").new, report.of("messages").new, report.refused.count) == (2, 4, 0)
    assert [*named(report, "left_out")] == [(f"data-00{number}/memories.json", "") for number in range(2)]
    first, second = await messages(store, "c1")
    assert first.data["attachments"] == [{"file_name": "f"}]
    assert (second.content, second.data["created_at"]) == (blocks, "soon")


async def test_all_that_openwebui_knows_of_a_chat_is_kept(store: AsyncMongoStore, tmp_path: Path) -> None:
    history = {
        "currentId": "b",
        "messages": {
            "a": {"id": "a", "parentId": None, "role": "user", "content": "q", "timestamp": MILLISECONDS},
            "b": {
                "id": "b",
                "parentId": "a",
                "role": "assistant",
                "content": "r",
                "models": ["m"],
                "output": [1],
            },
            "c": {"id": "c", "parentId": "a", "role": "assistant", "content": "s", "modelIdx": 1},
        },
        "version": 2,
    }
    chat = {"title": "t", "system": "be kind", "history": history, "tags": ["x"], "options": {"n": 1}}
    row = {"id": "w", "chat": chat, "meta": {"tags": ["y"], "pinned_at": 1}, "folder_id": "f", "summary": "s"}
    (tmp_path / "chats.json").write_text(json.dumps([row]))
    await run(store, "openwebui", tmp_path / "chats.json")
    assert (await store.sessions.get("w")).data == {
        "system": "be kind",
        "options": {"n": 1},
        "history": {"version": 2},
        "meta": {"pinned_at": 1},
        "tags": ["y"],
        "folder_id": "f",
        "summary": "s",
    }
    stored = await messages(store, "w")
    assert [(one.id, one.conversation_id) for one in stored] == [
        ("a", "default"),
        ("b", "default"),
        ("c", "c"),
    ]


async def test_an_export_of_librechat_without_speakers_is_read(
    store: AsyncMongoStore, tmp_path: Path
) -> None:
    answer = {"messageId": "b", "parentMessageId": "a", "sender": "GPT", "text": "r", "children": []}
    question = {
        "messageId": "a",
        "parentMessageId": None,
        "sender": "User",
        "text": "q",
        "children": [answer],
    }
    export = {"conversationId": "l", "endpoint": "openAI", "recursive": True, "messagesTree": [question]}
    (tmp_path / "talk.json").write_text(json.dumps({**export, "createdAt": "never"}))
    await run(store, "librechat", tmp_path / "talk.json")
    assert [(one.role, one.content) for one in await messages(store, "l")] == [
        ("user", "q"),
        ("assistant", "r"),
    ]
    assert (await store.sessions.get("l")).data["createdAt"] == "never"


async def test_members_of_sharegpt_that_are_of_no_use_are_kept(
    store: AsyncMongoStore, tmp_path: Path
) -> None:
    value = {
        "id": "s",
        "system": {"text": "not a text"},
        "tools": "[]",
        "messages": [{"role": "user", "content": "elsewhere"}],
        "conversations": [{"gpt": "r", "weight": 0}, {"user": "q", "assistant": "r", "loss": True}],
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(value))
    await run(store, "sharegpt", tmp_path / "a.jsonl")
    session = await store.sessions.get("s")
    assert session.data == {name: value[name] for name in ("system", "tools", "messages")}
    stored = await messages(store, "s")
    assert [(one.role, one.content) for one in stored] == [
        ("assistant", "r"),
        ("user", "q"),
        ("assistant", "r"),
    ]
    assert [one.data for one in stored] == [
        {"weight": 0, "from": "gpt"},
        {"loss": True, "from": "user"},
        {"from": "assistant"},
    ]


CALL = {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "1", "output": "ok"}


async def test_responses_of_openai_are_conversations(store: AsyncMongoStore, tmp_path: Path) -> None:
    answer = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
    lines = [
        {
            "custom_id": "r",
            "url": "/v1/responses",
            "body": {"model": "m", "input": "hello", "instructions": "i"},
        },
        {
            "id": "a",
            "custom_id": "r",
            "response": {"status_code": 200, "body": {"id": "resp", "output": [answer]}},
        },
        {"custom_id": "e", "url": "/v1/embeddings", "body": {"input": [[1, 2]]}},
        {"id": "b", "custom_id": "e", "response": {"body": {"data": [{"embedding": [0.5]}]}}, "error": None},
        {
            "id": "one",
            "object": "response",
            "input": [{"role": "user", "content": "q"}, CALL],
            "output": [answer],
        },
        {"session_id": "items", **CALL},
        {"session_id": "items", **OUTPUT},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    report = await run(store, "openai", tmp_path / "a.jsonl")
    assert (report.refused.count, report.of("sessions").new) == (0, 4)
    roles = {id: [one.role for one in await messages(store, id)] for id in ("r", "e", "one", "items")}
    assert roles == {
        "r": ["user", "assistant"],
        "e": [],
        "one": ["user", "assistant", "assistant"],
        "items": ["assistant", "tool"],
    }
    response = (await store.sessions.get("r")).data["responses"]
    assert response == [{"id": "a", "response": {"status_code": 200, "body": {"id": "resp"}}}]
    embedded = (await store.sessions.get("e")).data
    assert embedded["responses"][0]["response"]["body"] == {"data": [{"embedding": [0.5]}]}
    assert embedded["request"] == {"input": [[1, 2]]}


async def test_other_members_of_langchain_documents_are_kept(store: AsyncMongoStore, tmp_path: Path) -> None:
    document = {
        "_id": {"$oid": "65f000000000000000000001"},
        "chat": 7,
        "turn": json.dumps({"type": "AIMessageChunk", "data": {"content": [{"type": "text", "text": "r"}]}}),
        "tenant": "acme",
    }
    (tmp_path / "history.jsonl").write_text(json.dumps(document))
    keys = {"SessionId": "chat", "History": "turn"}
    await run(store, "langchain", tmp_path / "history.jsonl", keys=keys)
    (message,) = await messages(store, "7")
    assert (message.role, message.data) == ("assistant", {"tenant": "acme", "type": "AIMessageChunk"})


@pytest.mark.parametrize(
    "left", [(), ("defaultOpen", "modes", "command", "start", "end", "generation", "tags")]
)
async def test_tables_of_chainlit_of_other_releases_are_read(
    store: AsyncMongoStore, tmp_path: Path, left: tuple[str, ...]
) -> None:
    columns = ["id", "threadId", "type", "output", "defaultOpen", "modes", "command", "start", "end"]
    columns = [name for name in (*columns, "generation", "tags", "createdAt") if name not in left]
    with sqlite3.connect(tmp_path / "chainlit.db") as database:
        database.execute('CREATE TABLE users (id TEXT, identifier TEXT, "metadata" TEXT, email TEXT)')
        database.execute('CREATE TABLE threads (id TEXT, "userId" TEXT, name TEXT)')
        database.execute(f"CREATE TABLE steps ({', '.join(map(json.dumps, columns))})")
        database.execute('CREATE TABLE elements (id TEXT, "threadId" TEXT, "forId" TEXT)')
        database.execute('CREATE TABLE feedbacks (id TEXT, "forId" TEXT, value INT, strategy TEXT)')
        database.execute("INSERT INTO users VALUES ('u', 'ada', '{}', 'ada@x')")
        database.execute("INSERT INTO threads VALUES ('t', 'u', 'n')")
        values = {
            "id": "s",
            "threadId": "t",
            "type": "run",
            "output": "o",
            "createdAt": "2024-05-01T10:00:00Z",
        }
        row = [values.get(name) for name in columns]
        database.execute(f"INSERT INTO steps VALUES ({', '.join('?' * len(row))})", row)
        database.execute("INSERT INTO feedbacks VALUES ('f', 's', 1, 'BINARY')")
    database.close()
    report = await run(store, "chainlit", tmp_path / "chainlit.db")
    assert report.refused.count == 0
    assert {*named(report, "left_out")} == {("users", "email"), ("feedbacks", "strategy")}
    message = await store.threads.messages.get("t", "s")
    assert (message.content, message.data["type"]) == ("o", "run")
    assert message.feedback is not None


async def test_tables_of_agents_that_are_not_read_are_named(store: AsyncMongoStore) -> None:
    report = await run(store, "agents", DATA / "openai-agents" / "agents.db")
    assert ("my_messages", "") in [*named(report, "warnings")]
    tables = {"agent_sessions": "my_sessions", "agent_messages": "my_messages"}
    report = await run(store, "agents", DATA / "openai-agents" / "agents.db", tables=tables)
    assert ("agent_messages", "") in [*named(report, "warnings")]


@pytest.mark.parametrize(
    ("source", "good", "bad"),
    [
        ("sharegpt", {"id": "g", "conversations": []}, {"id": "\ud83d", "conversations": []}),
        ("openai", {"id": "g", "messages": []}, {"custom_id": "\ud83d", "body": {"messages": []}}),
        ("openai", {"id": "g", "messages": []}, {"custom_id": "\ud83d", "response": {}}),
        (
            "claude",
            {"uuid": "g", "chat_messages": []},
            {"uuid": "b", "chat_messages": [{"uuid": "m", "sender": "human", "parent_message_uuid": ["x"]}]},
        ),
    ],
)
async def test_a_conversation_that_cannot_be_read_is_named_and_the_next_is_read(
    store: AsyncMongoStore, tmp_path: Path, source: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    path = tmp_path / ("a.json" if source == "claude" else "a.jsonl")
    lines = [json.dumps([bad, good])] if source == "claude" else map(json.dumps, (bad, good))
    path.write_text("\n".join(lines))
    report = await run(store, source, path)
    assert report.refused.count == 1
    assert [one.id async for one in store.sessions.iter()] == ["g"]


async def test_a_context_that_is_refused_leaves_the_rest_of_its_session(
    store: AsyncMongoStore, tmp_path: Path
) -> None:
    value = {"id": "s", "messages": [{"role": "user", "content": "q"}], "context": "x" * 17_000_000}
    (tmp_path / "a.jsonl").write_text(json.dumps(value))
    for _ in range(2):
        report = await Importer(store).run("openai", str(tmp_path / "a.jsonl"))
        assert [*named(report, "refused")] == [("contexts", "s")]
        assert [one.content for one in await messages(store, "s")] == ["q"]
    assert report.of("sessions").known == 1


async def test_a_context_of_bytes_in_a_table_is_read(store: AsyncMongoStore, tmp_path: Path) -> None:
    source = tmp_path / "director.db"
    shutil.copyfile(DATA / "director" / "director.db", source)
    with sqlite3.connect(source) as database:
        database.execute("UPDATE context_messages SET context_data = CAST(context_data AS BLOB)")
    database.close()
    report = await run(store, "director", source)
    assert not any("context" in table for table, _ in named(report, "refused"))


def change(path: Path, target: Path, statement: str, *values: Any) -> Path:
    """Copy an SQLite file with a statement run on it."""
    shutil.copyfile(path, target)
    with sqlite3.connect(target) as database:
        assert database.execute(statement, values).rowcount
    database.close()
    return target


async def test_a_thread_of_chainlit_that_cannot_be_read_is_named(
    store: AsyncMongoStore, tmp_path: Path
) -> None:
    statement = "UPDATE feedbacks SET id = ? WHERE rowid = 1"
    source = change(DATA / "chainlit" / "chainlit.db", tmp_path / "a.db", statement, b"\xed\xa0\xbd")
    report = await Importer(store).run("chainlit", str(source))
    assert [table for table, _ in named(report, "refused")] == ["threads"]
    assert report.of("threads").new > 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="RoomKit needs Python 3.12")
@pytest.mark.parametrize(("value", "refused"), [("{", 1), ("null", 0)])
async def test_a_private_value_of_roomkit_that_is_none_is_named(
    store: AsyncMongoStore, tmp_path: Path, value: str, refused: int
) -> None:
    statement = "UPDATE private_state SET value = ? WHERE rowid = (SELECT min(rowid) FROM private_state)"
    before = await Importer(store, dry_run=True).run("roomkit", str(DATA / "roomkit" / "roomkit.db"))
    source = change(DATA / "roomkit" / "roomkit.db", tmp_path / "a.db", statement, value)
    report = await Importer(store).run("roomkit", str(source))
    assert report.refused.count - before.refused.count == refused
    assert report.of("rooms").new == before.of("rooms").new


async def test_a_message_that_is_nested_too_deep_is_refused_alone(
    store: AsyncMongoStore, tmp_path: Path
) -> None:
    deep = "[" * 3000 + "]" * 3000
    lines = [f'{{"messages": [{{"role": "user", "content": {content}}}]}}' for content in (deep, '"hi"')]
    (tmp_path / "chat.jsonl").write_text("\n".join(lines))
    report = await run(store, "openai", tmp_path / "chat.jsonl")
    assert [row.reason.rpartition(": ")[2] for row in report.refused.first] == [
        "is nested deeper than 400 levels"
    ]
    assert (report.of("sessions").new, report.of("messages").new) == (2, 1)
