import asyncio
import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mongostore import AsyncMongoStore, Message, MongoStore
from mongostore.cli import app
from mongostore.importers.jsonl import message_members, read_line, write_line
from mongostore.importers.lines import Importer, Line
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.sessions.bulk import SessionTransfer

TIME = datetime(2001, 2, 3, 4, 5, 6, 789012, UTC)
NASTY = {
    "a.b": {"$set": {"": 1}},
    "$ref": "x",
    "nul\0": "half \ud800 pair",
    "\udfff": [2**63, -(2**80), 0.1, None, True, [], {}],
    "__json__": "{}",
    "deep": json.loads("[" * 150 + "]" * 150),
    "ends": "line\nreturn\r\u2028\u0085",
}
TEXT = st.text(st.characters(exclude_categories=()))
NAMES = ("id", "role", "data", "messages", "session_id", "position", "name", "tool_calls")
KEYS = st.sampled_from(NAMES) | TEXT
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=10,
)


@pytest.fixture
def uri():
    return f"mongomock://{uuid4().hex}"


def run(*arguments, **options):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


def imported(uri, path, *arguments, lines=None, exit_code=0):
    if lines is not None:
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run("import", path, "--uri", uri, *arguments)
    assert result.exit_code == exit_code, result.output
    return result


def contents(uri, database=None, namespace="default"):
    """Everything that a round trip has to keep."""
    with MongoStore(uri, database) as store:
        sessions = store.sessions.in_namespace(namespace)
        return [
            (
                session.model_dump(exclude={"active_at", "namespace", "revision"}),
                sessions.context.get(session.id) if session.has_context else None,
                [message.model_dump() for message in sessions.messages.iter(session.id)],
            )
            for session in sessions.iter()
        ]


def messages(uri, session_id):
    with MongoStore(uri) as store:
        return list(store.sessions.messages.iter(session_id))


def fill(uri, database=None):
    with MongoStore(uri, database) as store:
        store.sessions.create("empty", created_at=TIME)
        store.sessions.create(
            "nasty", user_id="u", name="", description="…", data=NASTY, metadata=NASTY, created_at=TIME
        )
        store.sessions.context.set("nasty", [NASTY])
        for value in (NASTY, *NASTY.values()):
            message = Message(role="user", content=value, data=NASTY, metadata=NASTY, created_at=TIME)
            store.sessions.messages.append("nasty", message)
        store.sessions.messages.append("nasty", Message(role="tool", data={"data": {}, "id": 1}))
        store.sessions.create("long")
        store.sessions.context.set("long", None)
        for start in range(0, 300, 50):
            store.sessions.messages.append_many(
                "long",
                [
                    Message(id=f"m{i}", conversation_id=f"c{i % 3}", role="user", content=str(i))
                    for i in range(start, start + 50)
                ],
            )
        store.sessions.messages.update("long", "m1", content="changed")
        store.sessions.messages.delete("long", "m2")


@pytest.mark.parametrize("mode", [(), ("--messages",)], ids=["conversations", "messages"])
def test_what_is_exported_imports_equal(store_uri, server_database, tmp_path, mode):
    fill(store_uri, server_database)
    assert (
        run(
            "export", tmp_path / "all.jsonl", *mode, "--uri", store_uri, "--database", server_database
        ).exit_code
        == 0
    )
    other = ("--database", server_database, "--namespace", "copy")
    imported(store_uri, tmp_path / "all.jsonl", *other)
    copy = contents(store_uri, server_database, "copy")
    # Positions close up over what was deleted; everything else is equal.
    for _, _, found in copy:
        assert [message.pop("position") for message in found] == list(range(len(found)))
    expected = contents(store_uri, server_database)
    for _, _, found in expected:
        for message in found:
            del message["position"]
    assert copy == expected


@pytest.fixture
def server_database(store_uri, request):
    if store_uri.startswith("mongomock"):
        return "test"
    return request.getfixturevalue("database")


@given(st.dictionaries(KEYS, JSON), JSON)
@settings(deadline=None)
def test_any_data_and_content_pass_through_a_line(data, content):
    message = Message(role="user", content=content, data=data, metadata=data, created_at=TIME)
    line = read_line(write_line(message_members(message)))
    assert line.message == message


async def test_the_only_message_of_a_session_is_stored_though_the_file_ends_behind_it(uri):
    async def lines():
        for number in range(3):
            text = json.dumps({"session_id": f"s{number}", "role": "user", "content": "alone"})
            yield Line(f"here:{number}", text.encode(), "here")

    async with AsyncMongoStore(uri) as store:
        importer = Importer(store.sessions, pytest.fail)
        # No line lets the tasks of those before it run.
        await importer.run(lines())
        assert [session.count async for session in store.sessions.iter()] == [1, 1, 1]
    assert importer.tally.new_messages == 3


def test_foreign_members_go_into_data_and_come_back_as_members(uri, tmp_path):
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    in_file = [
        {"role": "system", "content": "You help."},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "ok"}]},
    ]
    imported(uri, tmp_path / "x.jsonl", lines=[{"id": "s", "messages": in_file, "tools": [1]}])
    assert messages(uri, "s")[1].data == {"tool_calls": [call], "refusal": None}
    line = json.loads(run("export", "--uri", uri).stdout)
    assert line["data"] == {"tools": [1]}
    for message, source in zip(line["messages"], in_file, strict=True):
        assert source.items() <= message.items()


@pytest.mark.parametrize(
    "lines",
    [
        [{"id": "s", "messages": [{"role": "user", "content": "hi"}, {"role": "user", "content": "hi"}]}],
        [{"messages": [{"role": "user", "content": "hi"}, {"role": "user", "content": "hi"}]}],
        [{"role": "user", "content": "hi"}, {"role": "user", "content": "hi"}],
        [{"id": "a", "role": "user", "content": "hi"}, {"id": "b", "role": "user", "content": "hi"}],
    ],
    ids=["with id", "without id", "message lines", "message lines with ids"],
)
def test_importing_twice_stores_once(uri, tmp_path, lines):
    first = imported(uri, tmp_path / "x.jsonl", lines=lines)
    assert "messages      2     2               0" in first.stdout
    second = imported(uri, tmp_path / "x.jsonl")
    assert "sessions      1     0               1" in second.stdout
    assert "messages      2     0               2" in second.stdout
    [[_, _, found]] = contents(uri)
    assert [message["content"] for message in found] == ["hi", "hi"]


def test_a_file_that_has_grown_adds_its_new_lines(uri, tmp_path):
    lines = [{"role": "user", "content": word} for word in ("yes", "no", "yes")]
    imported(uri, tmp_path / "log.jsonl", lines=lines)
    imported(uri, tmp_path / "log.jsonl", lines=[*lines, {"role": "user", "content": "yes"}])
    assert [message.content for message in messages(uri, "log")] == ["yes", "no", "yes", "yes"]


def test_a_message_goes_to_its_own_session_else_to_the_one_named_else_to_that_of_the_file(uri, tmp_path):
    lines = [{"role": "user", "session_id": "own"}, {"role": "user"}]
    imported(uri, tmp_path / "stem.jsonl", lines=lines)
    imported(uri, tmp_path / "stem.jsonl", "--session", "named")
    result = run("import", "-", "--uri", uri, input='{"role": "user"}\n')
    assert result.exit_code == 0
    assert {session["id"] for session, _, _ in contents(uri)} == {"own", "stem", "named", "stdin"}


def test_interleaved_sessions_keep_their_orders(uri, tmp_path):
    lines = [{"session_id": f"s{i % 40}", "role": "user", "content": i} for i in range(400)]
    imported(uri, tmp_path / "x.jsonl", lines=lines)
    assert [message.content for message in messages(uri, "s7")] == list(range(7, 400, 40))


@pytest.mark.parametrize("time", ["2024-05-01T00:00:00+00:00", None], ids=["timed", "timeless"])
def test_sessions_are_stored_at_once_unless_the_writes_give_their_order(uri, tmp_path, monkeypatch, time):
    append, under_way, most = SessionTransfer.append_many, set(), 0

    async def slow(self, session_id, batch):
        nonlocal most
        assert session_id not in under_way
        under_way.add(session_id)
        most = max(most, len(under_way))
        await asyncio.sleep(0.001)
        try:
            return await append(self, session_id, batch)
        finally:
            under_way.remove(session_id)

    monkeypatch.setattr(SessionTransfer, "append_many", slow)
    texts = [{"role": "user", "content": i, **({"created_at": time} if time else {})} for i in range(3)]
    lines = [
        {"id": f"s{i % 20:02}", "messages": [{"id": f"m{i}-{j}", **one} for j, one in enumerate(texts)]}
        for i in range(40)
    ]
    # Lines of a session, of its messages, and of it again stay in this order.
    mixed = [{"id": "mixed", "messages": texts[:1]}, {"session_id": "mixed", **texts[1]}]
    mixed += [{"id": "mixed", "messages": [{"id": "last", **texts[2]}]}, {"session_id": "mixed", **texts[0]}]
    imported(uri, tmp_path / "x.jsonl", lines=[*lines, *mixed])
    assert [message.id for message in messages(uri, "s07")] == [
        f"m{i}-{j}" for i in (7, 27) for j in range(3)
    ]
    assert [message.content for message in messages(uri, "mixed")] == [0, 1, 2, 0]
    ids = [session["id"] for session, _, _ in contents(uri)]
    every = [*(f"s{i:02}" for i in range(20)), "mixed"]
    assert most > 4 and sorted(ids) == sorted(every) if time else (most, ids) == (1, every)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"secret", "not JSON, from column 1 on"),
        (b'["secret"]', "not a JSON object"),
        (b"\xffsecret", "not UTF-8 text"),
        (b'{"role": "u", "content": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (b'{"role": "u", "content": ' + b"9" * 5000 + b"}", "a number has too many digits"),
        (b'{"content": "secret"}', "role: Field required"),
        (b'{"role": 7, "content": "secret"}', "role: Input should be a valid string"),
        (b'{"session_id": 7, "role": "u"}', "session_id: not a string"),
        (b'{"role": "u", "data": "secret", "name": "x"}', "data: Input should be a valid dictionary"),
        (b'{"role": "u", "created_at": "secret"}', "created_at: Input should be a valid datetime"),
        (b'{"messages": "secret"}', "messages: not a list"),
        (b'{"messages": ["secret"]}', "messages[0]: not a JSON object"),
        (b'{"messages": [{"role": "u"}, {"content": "secret"}]}', "messages[1].role: Field required"),
        (b'{"id": "gone", "messages": []}', "session 'gone' is deleted"),
        (b'{"id": "' + b"x" * 600 + b'", "messages": []}', "session_id: is longer than 512 bytes"),
        (b'{"role": "\\ud800"}', "role: holds half a surrogate pair"),
        (
            b'{"role": "u", "created_at": "2001-02-03T04:05:06"}',
            "created_at: Input should have timezone info",
        ),
    ],
)
def test_a_bad_line_is_named_and_the_rest_goes_on(uri, tmp_path, line, reason):
    with MongoStore(uri) as store:
        store.sessions.create("gone")
        store.sessions.soft_delete("gone")
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"role": "user", "content": 1}\n\n' + line + b'\n{"role": "user", "content": 2}')
    result = imported(uri, path, exit_code=1)
    assert f"{path}:3: {reason}" in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert "secret" not in result.output
    assert [message.content for message in messages(uri, "x")] == [1, 2]


def test_other_content_under_an_id_is_a_conflict_and_what_is_there_stays(uri, tmp_path):
    line = {
        "id": "s",
        "name": "old",
        "context": 1,
        "messages": [{"id": "m", "role": "user", "content": "old"}],
    }
    imported(uri, tmp_path / "x.jsonl", lines=[line])
    new = [{"id": "m", "role": "user", "content": "new"}, {"id": "n", "role": "user"}]
    lines = [{"id": "s", "name": "new", "context": 2, "messages": new}]
    result = imported(uri, tmp_path / "x.jsonl", lines=lines, exit_code=1)
    assert "x.jsonl:1: messages[0]: message 'm' is already there with other content" in result.stderr
    assert "messages      2     1               0         1" in result.stdout
    [[session, context, found]] = contents(uri)
    assert (session["name"], context, [message["content"] for message in found]) == ("old", 1, ["old", None])


def test_an_import_that_broke_off_before_the_context_sets_it_the_next_time(uri, tmp_path):
    imported(uri, tmp_path / "x.jsonl", lines=[{"id": "s", "messages": []}])
    imported(uri, tmp_path / "x.jsonl", lines=[{"id": "s", "messages": [], "context": None}])
    with MongoStore(uri) as store:
        assert store.sessions.context.get("s") is None


def test_an_imported_session_is_as_active_as_its_newest_message(uri, tmp_path):
    times = ["2024-05-01T00:00:00+00:00", "2024-05-03T00:00:00+00:00", "2024-05-02T00:00:00+00:00"]
    texts = [{"role": "user", "created_at": time} for time in times]
    lines = [
        {"id": "talk", "messages": texts, "context": ["c"]},
        *({"session_id": "log", **one} for one in texts),
        {"id": "empty", "created_at": times[0], "messages": [], "context": ["c"]},
    ]
    imported(uri, tmp_path / "x.jsonl", lines=lines)
    with MongoStore(uri) as store:
        found = {
            one.id: (one.created_at.isoformat(), one.active_at.isoformat()) for one in store.sessions.iter()
        }
    assert found == {
        "talk": (times[0], times[1]),
        "log": (times[0], times[1]),
        "empty": (times[0], times[0]),
    }


def test_an_import_does_not_read_the_sessions_it_creates(uri, tmp_path, monkeypatch):
    asked = []
    find = AsyncSessions.find

    async def counted(self, session_id):
        asked.append(session_id)
        return await find(self, session_id)

    monkeypatch.setattr(AsyncSessions, "find", counted)
    lines = [
        {"id": f"s{i}", "messages": [{"role": "user", "content": j} for j in range(300)]} for i in range(3)
    ]
    result = imported(uri, tmp_path / "x.jsonl", lines=[*lines, lines[0]])
    assert not asked
    assert "messages 1,200 900 300 0" in " ".join(result.stdout.split())


def test_export_can_be_of_some_sessions(uri, tmp_path):
    fill(uri)
    result = run("export", "--session", "long", "--session", "empty", "--uri", uri)
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["long", "empty"]
    assert result.stderr == "exported sessions: 2, messages: 299\n"


def test_export_of_a_session_that_is_not_there_is_an_error(uri):
    result = run("export", "--session", "none", "--uri", uri)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: no session has the id 'none'\n"


def test_export_begins_with_the_oldest_activity(uri):
    with MongoStore(uri) as store:
        for session_id in ("a", "b", "c"):
            store.sessions.create(session_id)
        store.sessions.messages.append("a", Message(role="user"))
    lines = run("export", "--uri", uri).stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["b", "c", "a"]


def test_export_is_readable_where_utf_8_can_say_it(uri, tmp_path):
    imported(uri, tmp_path / "x.jsonl", lines=[{"role": "user", "content": "Tschüß"}])
    assert '"content": "Tschüß"' in run("export", "--uri", uri).stdout


def test_a_file_that_cannot_be_written_is_an_error(uri, tmp_path):
    result = run("export", tmp_path / "none" / "x.jsonl", "--uri", uri)
    assert result.exit_code == 1
    assert result.stderr == f"error: {tmp_path / 'none' / 'x.jsonl'}: No such file or directory\n"


def test_an_export_that_fails_leaves_the_file_of_before(uri, tmp_path):
    imported(
        uri, tmp_path / "in.jsonl", lines=[{"id": "s1", "messages": [{"role": "user", "content": "hi"}]}]
    )
    backup = tmp_path / "backup.jsonl"
    assert run("export", backup, "--uri", uri).exit_code == 0
    whole = backup.read_bytes()
    assert run("export", backup, "--uri", uri, "--session", "s1", "--session", "none").exit_code == 1
    assert backup.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.jsonl", "in.jsonl"]


@pytest.mark.parametrize("form", [(), ("--messages",)])
async def test_export_names_what_it_cannot_read_and_goes_on(uri, form):
    async with AsyncMongoStore(uri) as store:
        for session_id in ("torn", "good", "whole"):
            for content in range(2):
                message = Message(role="user", content=content)
                await store.sessions.messages.append(session_id, message, create=True)
        sessions = store.engine.collection("sessions")
        await sessions.update_one({"_id": "default/torn"}, {"$set": {"name": 7}})
        await sessions.update_one({"_id": "default/good"}, {"$set": {"messages.0.role": 7}})
        result = await asyncio.to_thread(run, "export", "--uri", uri, *form)
    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["id"] for line in lines if "messages" in line] == ["good", "whole"]
    exported = [line for line in lines if "role" in line] or [
        one for line in lines for one in line["messages"]
    ]
    assert [one["content"] for one in exported] == [1, 0, 1]
    counted, *named = result.stderr.splitlines()
    assert counted == "exported sessions: 2, messages: 3"
    assert len(named) == 2
