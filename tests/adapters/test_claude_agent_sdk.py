"""Our session store of the Claude Agent SDK: its conformance suite, and what that leaves out."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import trio
from claude_agent_sdk import fold_session_summary, project_key_for_directory
from claude_agent_sdk.testing import run_session_store_conformance

from mongostore import AsyncMongoStore, MongoStore
from mongostore.adapters.claude_agent_sdk import MongoSessionStore
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.sessions.messages import AsyncSessionMessages
from tests.contract.command_log import CommandLog, logged_store
from tests.examples import claude_agent as example

KEY: Any = {"project_key": "-home-ada-shop", "session_id": "s"}
SUB: Any = {**KEY, "subpath": "subagents/agent-1"}
MiB = 1024 * 1024


@pytest.fixture
def transcripts(store: AsyncMongoStore) -> MongoSessionStore:
    return MongoSessionStore(store=store)


def new_entry(uuid: str, text: str = "hello", **more: Any) -> Any:
    return {
        "type": "user",
        "uuid": uuid,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "message": {"role": "user", "content": [{"type": "text", "text": text}]},
        **more,
    }


async def summary_of(transcripts: MongoSessionStore, key: Any = KEY) -> Any:
    found = await transcripts.list_session_summaries(key["project_key"])
    return next(each for each in found if each["session_id"] == key["session_id"])


async def folded(transcripts: MongoSessionStore, key: Any = KEY) -> Any:
    return fold_session_summary(None, key, await transcripts.load(key) or [])["data"]


@pytest.mark.smoke
async def test_the_sdks_conformance_suite_passes(store: AsyncMongoStore) -> None:
    await run_session_store_conformance(lambda: MongoSessionStore(store=store, namespace=uuid4().hex))


@pytest.mark.smoke
async def test_any_entry_comes_back(transcripts: MongoSessionStore) -> None:
    entries = [
        *(
            new_entry("a"),
            new_entry("b", message={"role": "assistant", "content": "text", "id": "m", "usage": {"n": 1}}),
        ),
        *({"type": "summary", "summary": "x"}, {"type": "summary", "summary": "x"}, {"n": 1}, {}),
        *(
            new_entry("c", message={"role": "user", "content": None}),
            new_entry("d", message="text"),
            new_entry("", message=[]),
        ),
        *(
            {"uuid": 5, "type": None},
            {"uuid": "\ud800", "entry": {"entry": 1}},
            {"a.b": {"$x": 2**80, "\0": "\udfff"}},
        ),
    ]
    before = copy.deepcopy(entries)
    await transcripts.append(KEY, entries)
    assert entries == before
    entries[0]["message"]["content"].clear()
    assert await transcripts.load(KEY) == before


async def test_what_is_stored_has_the_common_form(store: AsyncMongoStore) -> None:
    transcripts = MongoSessionStore(store=store, user_of=lambda key: "ada")
    title = {"type": "custom-title", "customTitle": "Shop"}
    await transcripts.append(KEY, [new_entry("a"), title, new_entry("b", aiTitle="Other")])
    await transcripts.append(SUB, [new_entry("c")])
    sessions = await transcripts.sessions(KEY["project_key"])
    [session] = await sessions.list(user_id="ada")
    assert (session.name, session.count, session.last and session.last.text) == ("Shop", 3, "hello")
    [message, *_] = await sessions.messages.list("s")
    assert (message.id, message.role) == ("a", "user")
    assert message.content == [{"type": "text", "text": "hello"}]
    assert message.created_at is not None
    assert message.created_at.isoformat() == "2026-01-02T03:04:05.678000+00:00"
    assert len(await store.sessions.in_namespace("claude-subagents:-home-ada-shop").list(user_id="ada")) == 1


async def test_a_uuid_is_stored_once_and_as_it_was_first(transcripts: MongoSessionStore) -> None:
    first, second, third = new_entry("a"), new_entry("b", customTitle="B"), new_entry("c", customTitle="C")
    for key in (KEY, SUB):
        await transcripts.append(key, [first, second, new_entry("a", "other")])
        await transcripts.append(key, [first, second])
        await transcripts.append(key, [second, third])
        await transcripts.append(key, [new_entry("b", "other", customTitle="D"), third])
        assert await transcripts.load(key) == [first, second, third]
    found = await summary_of(transcripts)
    assert found["data"] == await folded(transcripts)
    assert found["data"]["custom_title"] == "C"


async def test_what_has_no_uuid_is_stored_each_time(transcripts: MongoSessionStore) -> None:
    titles = [{"type": "custom-title", "customTitle": title} for title in "ABA"]
    for title in titles:
        await transcripts.append(KEY, [title])
    assert await transcripts.load(KEY) == titles
    assert (await summary_of(transcripts))["data"]["custom_title"] == "A"


async def test_keys_of_any_text_are_apart(transcripts: MongoSessionStore) -> None:
    texts = ["a", "a/b", "a/", "", "x" * 600, "\ud800", "sha256=", '["a"]', "ä"]
    keys: list[Any] = [{"project_key": one, "session_id": other} for one in texts for other in texts]
    for number, key in enumerate(keys):
        await transcripts.append(key, [{"n": number}])
    assert [await transcripts.load(key) for key in keys] == [[{"n": number}] for number in range(len(keys))]
    for project in texts:
        listed = [each["session_id"] for each in await transcripts.list_sessions(project)]
        assert sorted(listed) == sorted(texts)
        summaries = [each["session_id"] for each in await transcripts.list_session_summaries(project)]
        assert sorted(summaries) == sorted(texts)
    subpaths = ["a/b", "b", "x" * 600]
    for subpath in subpaths:
        await transcripts.append({**keys[0], "subpath": subpath}, [{"sub": subpath}])
    assert sorted(await transcripts.list_subkeys(keys[0])) == sorted(subpaths)
    await transcripts.delete(keys[0])
    assert await transcripts.load(keys[0]) is None
    assert await transcripts.load({**keys[0], "subpath": "b"}) is None
    assert await transcripts.load(keys[1]) == [{"n": 1}]


async def test_nothing_is_made_of_nothing(transcripts: MongoSessionStore) -> None:
    await transcripts.append(KEY, [])
    await transcripts.append({**SUB, "session_id": "sub alone"}, [new_entry("a")])
    assert await transcripts.list_sessions(KEY["project_key"]) == []
    assert await transcripts.load(KEY) is None
    await transcripts.append({**KEY, "subpath": ""}, [new_entry("a")])
    assert await transcripts.load(KEY) == [new_entry("a")]
    assert (await summary_of(transcripts))["data"] == await folded(transcripts)


async def test_a_batch_of_more_than_a_write_holds_is_stored(transcripts: MongoSessionStore) -> None:
    entries = [new_entry(str(number), "x" * (MiB // 2)) for number in range(20)]
    await transcripts.append(KEY, entries)
    assert await transcripts.load(KEY) == entries
    await transcripts.append(KEY, [new_entry(f"small{number}") for number in range(1500)])
    assert len(await transcripts.load(KEY) or []) == 1520
    assert (await summary_of(transcripts))["data"] == await folded(transcripts)


async def test_the_summary_tells_of_all_after_a_race(transcripts: MongoSessionStore) -> None:
    """Writers with overlapping batches: every uuid once, each writer's order, and the summary of it all."""

    async def write(writer: int) -> None:
        for turn in range(6):
            shared = new_entry(f"shared{turn}", customTitle=f"shared{turn}")
            await transcripts.append(
                KEY, [new_entry(f"{writer}/{turn}", customTitle=f"{writer}/{turn}"), shared]
            )

    await asyncio.gather(*(write(writer) for writer in range(8)))
    loaded = await transcripts.load(KEY) or []
    uuids = [entry["uuid"] for entry in loaded]
    assert len(uuids) == len(set(uuids)) == 8 * 6 + 6
    for writer in range(8):
        own = [uuid for uuid in uuids if uuid.startswith(f"{writer}/")]
        assert own == [f"{writer}/{turn}" for turn in range(6)]
    # Who was last may have found the others half done; the next append tells of all.
    await transcripts.append(KEY, [new_entry("last")])
    found, [listed] = await summary_of(transcripts), await transcripts.list_sessions(KEY["project_key"])
    assert found["data"] == await folded(transcripts)
    assert found["mtime"] >= listed["mtime"]


async def test_a_summary_that_is_behind_is_older_than_its_session(transcripts: MongoSessionStore) -> None:
    await transcripts.append(KEY, [new_entry("a")])
    sessions = await transcripts.sessions(KEY["project_key"])
    # As others write who know nothing of summaries.
    [message] = await sessions.messages.list("s")
    await sessions.messages.append("s", message.model_copy(update={"id": "foreign"}))
    found, [listed] = await summary_of(transcripts), await transcripts.list_sessions(KEY["project_key"])
    assert found["mtime"] < listed["mtime"]
    await transcripts.append(KEY, [new_entry("b", customTitle="B")])
    assert (await summary_of(transcripts))["data"] == await folded(transcripts)


async def test_no_subagent_is_left_by_a_deletion_beside_it(
    transcripts: MongoSessionStore, store: AsyncMongoStore
) -> None:
    """What lives has a main transcript that names it, whichever comes first."""
    subs = store.sessions.in_namespace("claude-subagents:-home-ada-shop")
    for number in range(20):
        keys: list[Any] = [{**KEY, "subpath": f"subagents/{name}"} for name in "abc"]
        await asyncio.gather(
            *(transcripts.append(key, [new_entry(f"{number}")]) for key in keys),
            transcripts.delete(KEY),
            transcripts.delete(keys[0]),
        )
        named = {*await transcripts.list_subkeys(KEY)}
        living = [key["subpath"] for key in keys if await transcripts.load(key)]
        assert {*living} <= named
        await transcripts.delete(KEY)
        assert [session async for session in subs.iter()] == []


@pytest.mark.parametrize("subpath", [None, "subagents/a"], ids=["all", "one"])
async def test_a_subagent_that_a_deletion_overtakes_is_named(
    transcripts: MongoSessionStore, monkeypatch: pytest.MonkeyPatch, subpath: str | None
) -> None:
    append, sub = AsyncSessionMessages.append_many, {**KEY, "subpath": "subagents/a"}

    async def append_late(
        messages: AsyncSessionMessages, *args: Any, create: Any = False, **options: Any
    ) -> Any:
        if create:
            # Behind its name, and before its beginning.
            await transcripts.delete({**KEY, "subpath": subpath} if subpath else KEY)
        return await append(messages, *args, create=create, **options)

    monkeypatch.setattr(AsyncSessionMessages, "append_many", append_late)
    await transcripts.append(sub, [new_entry("a")])
    assert await transcripts.load(sub) == [new_entry("a")]
    assert await transcripts.list_subkeys(KEY) == ["subagents/a"]
    await transcripts.delete(KEY)
    assert await transcripts.load(sub) is None


@pytest.mark.parametrize("subpath", [None, "subagents/a"], ids=["all", "one"])
async def test_a_subagent_that_begins_within_a_deletion_goes_or_is_named(
    transcripts: MongoSessionStore, monkeypatch: pytest.MonkeyPatch, subpath: str | None
) -> None:
    sub, key = {**KEY, "subpath": "subagents/a"}, {**KEY, "subpath": subpath} if subpath else KEY
    await transcripts.append(sub, [new_entry("a")])
    delete = AsyncSessions.delete

    async def delete_and_append(sessions: AsyncSessions, *args: Any, **options: Any) -> bool:
        done = await delete(sessions, *args, **options)
        if sessions.namespace.startswith("claude-subagents:"):
            # Behind the deletion of the subagents, and before that of their names.
            monkeypatch.setattr(AsyncSessions, "delete", delete)
            await transcripts.append(sub, [new_entry("b")])
        return done

    monkeypatch.setattr(AsyncSessions, "delete", delete_and_append)
    await transcripts.delete(key)
    living = await transcripts.load(sub)
    assert await transcripts.list_subkeys(KEY) == (["subagents/a"] if living else [])
    await transcripts.delete(KEY)
    assert await transcripts.load(sub) is None


async def test_a_summary_tells_nothing_of_a_transcript_that_was_deleted(
    transcripts: MongoSessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await transcripts.append(KEY, [new_entry("a", "secret", customTitle="Secret")])
    find = AsyncSessions.find

    async def find_and_renew(sessions: AsyncSessions, *args: Any, **options: Any) -> Any:
        found = await find(sessions, *args, **options)
        monkeypatch.setattr(AsyncSessions, "find", find)
        await transcripts.delete(KEY)
        await transcripts.append(KEY, [new_entry("b", "new")])
        return found

    monkeypatch.setattr(AsyncSessions, "find", find_and_renew)
    await transcripts.append(KEY, [new_entry("c", "late")])
    assert await transcripts.load(KEY) == [new_entry("b", "new"), new_entry("c", "late")]
    summary = (await summary_of(transcripts))["data"]
    assert summary == await folded(transcripts)
    assert "ecret" not in repr(summary)


async def test_a_batch_beside_a_deletion_is_whole_or_gone(transcripts: MongoSessionStore) -> None:
    for number in range(20):
        batch = [new_entry(f"{number}/{n}", customTitle=f"{number}") for n in range(3)]
        await asyncio.gather(transcripts.append(KEY, batch), transcripts.delete(KEY))
        assert await transcripts.load(KEY) in (None, batch)
        if await transcripts.load(KEY):
            assert (await summary_of(transcripts))["data"] == await folded(transcripts)
        await transcripts.delete(KEY)


async def test_it_works_in_the_event_loop_of_trio() -> None:
    with MongoStore("mongomock://") as store:
        transcripts = MongoSessionStore(store=store)

        async def live() -> None:
            await transcripts.append(KEY, [new_entry("a")])
            assert await transcripts.load(KEY) == [new_entry("a")]
            await transcripts.close()

        await asyncio.to_thread(trio.run, live)
        assert await transcripts.load(KEY) == [new_entry("a")]


@pytest.mark.server
async def test_calls_send_few_commands(server_uri: str, database: str) -> None:
    wire = CommandLog()
    async with logged_store(server_uri, database, wire) as store:
        transcripts = MongoSessionStore(store=store)

        async def sent(call: Any) -> int:
            wire.sent.clear()
            await call
            return len(wire.sent)

        await transcripts.append(KEY, [new_entry("a")])
        await transcripts.append(SUB, [new_entry("a")])
        for number in range(200):
            await transcripts.append({**KEY, "session_id": f"s{number}"}, [new_entry("a")])
        assert await sent(transcripts.append(KEY, [new_entry("b"), new_entry("c")])) <= 2
        assert await sent(transcripts.append(SUB, [new_entry("b"), new_entry("c")])) <= 1
        assert await sent(transcripts.load(KEY)) <= 1
        assert await sent(transcripts.list_sessions(KEY["project_key"])) <= 1
        assert await sent(transcripts.list_session_summaries(KEY["project_key"])) <= 1
        assert await sent(transcripts.list_subkeys(KEY)) <= 1


@pytest.mark.smoke
async def test_the_example_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGOSTORE_URI", f"mongomock://{uuid4().hex}")

    async def answer(*, prompt: str, options: Any) -> AsyncIterator[Any]:
        session = {"project_key": project_key_for_directory(options.cwd), "session_id": str(uuid4())}
        answered = {"role": "assistant", "content": [{"type": "text", "text": "None."}]}
        entries = [new_entry("q", prompt), new_entry("a", parentUuid="q", type="assistant", message=answered)]
        await options.session_store.append(session, entries)
        yield answered

    await example.main(answer)
    assert capsys.readouterr().out.splitlines() == ["dict", "Which tests fail? 2"]
