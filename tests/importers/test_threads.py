"""Samples of sources whose conversations become threads."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mongostore import AsyncMongoStore, MongoStore
from mongostore.importers import Importer, Options, Report
from tests.importers.expected import DATA, load, matches, named, numbers, time_of

SAMPLES = [
    pytest.param("chainlit", "chainlit", "chainlit.db", id="chainlit"),
    pytest.param("chainlit", "chainlit-postgres", "chainlit.pg.sql", id="chainlit-postgres"),
    pytest.param("threadmem", "threadmem", "threads.db", id="threadmem"),
]
ID = "c0ffee00-0000-4000-8000-0000000000"


async def run(
    store: AsyncMongoStore, source: str, folder: str, file: str, *, dry_run: bool = False
) -> Report:
    options = Options(files=DATA / folder / "files")
    report = Report(has_digests=True)
    return await Importer(store, dry_run=dry_run).run(
        source, str(DATA / folder / file), options, report=report
    )


@pytest.mark.parametrize(("source", "folder", "file"), SAMPLES)
async def test_a_second_import_finds_all_there(
    store: AsyncMongoStore, source: str, folder: str, file: str
) -> None:
    dry = await run(store, source, folder, file, dry_run=True)
    assert [one async for one in store.threads.iter()] == []
    assert await store.threads.users.count() == 0
    first, second = [await run(store, source, folder, file) for _ in range(2)]

    assert (dry.counts, dry.digests) == (first.counts, first.digests)
    assert first.verified == first.of("threads").read
    for noun in first.counts:
        read, *_ = numbers(first, noun)
        assert numbers(first, noun) == (read, read, 0, 0, 0)
        assert numbers(second, noun) == (read, 0, read, 0, 0)
    assert second.digests == first.digests
    assert not first.refused.count


async def check_thread(store: AsyncMongoStore, expected: dict[str, Any]) -> None:
    """Check a thread of Chainlit with all its parts."""
    thread = await store.threads.get(expected["id"])
    assert thread.created_at == time_of(expected["createdAt"])
    for name in ("name", "user_id", "tags", "metadata"):
        assert matches(expected[name], getattr(thread, name))
    messages = [message async for message in store.threads.messages.iter(thread.id)]
    assert [message.id for message in messages] == [step["id"] for step in expected["steps"]]
    for step, message in zip(expected["steps"], messages, strict=True):
        rest = dict(step)
        assert message.id == rest.pop("id")
        assert message.parent_id == rest.pop("parentId", None)
        assert matches(rest.pop("output", None), message.content)
        if (feedback := rest.pop("feedback", None)) and feedback["value"] != 0.5:
            assert message.feedback is not None
            for name in ("id", "value", "comment"):
                assert getattr(message.feedback, name) == feedback[name]
        else:
            assert message.feedback is None
        assert message.pinned is (step.get("metadata", {}).get("favorite") is True)
        stored = {name: value for name, value in message.data.items() if name != "feedbacks"}
        for name in ("createdAt", "start", "end"):
            assert time_of(stored.pop(name, None)) == time_of(rest.pop(name, None))
        assert matches(rest, stored)
    elements = [element async for element in store.threads.elements.iter(thread.id)]
    assert [element.id for element in elements] == [one["id"] for one in expected["elements"]]
    for one, element in zip(expected["elements"], elements, strict=True):
        rest = dict(one)
        assert element.message_id == rest.pop("forId", None) or rest.pop("stepId")
        rest.pop("id")
        rest.pop("stepId", None)
        if file := rest.pop("file", None):
            assert element.file_key is not None
            content = await store.threads.files.read(element.file_key)
            assert len(content) == file["$bytes"]["size"]
            assert hashlib.sha256(content).hexdigest() == file["$bytes"]["sha256"]
            rest.pop("objectKey")
        assert matches(rest, element.data, whole=False)


@pytest.mark.parametrize(("source", "folder", "file"), SAMPLES[:2])
async def test_threads_of_chainlit_are_what_they_were(
    store: AsyncMongoStore, source: str, folder: str, file: str
) -> None:
    expected = load(folder)
    report = await run(store, source, folder, file)
    for user in expected["users"]:
        stored = await store.threads.users.get(user["id"])
        assert (stored.identifier, stored.metadata) == (user["identifier"], user["metadata"])
        assert stored.created_at == time_of(user["createdAt"])
    threads = [thread for thread in expected["threads"] if not thread.get("deletedAt")]
    for thread in threads:
        await check_thread(store, thread)
    assert {one.id async for one in store.threads.iter()} == {thread["id"] for thread in threads}
    for noun in ("users", "threads", "elements"):
        assert report.of(noun).read == expected["counts"][noun]
    assert report.of("messages").read == expected["counts"]["steps"]
    left_out = {key for _, key in named(report, "left_out")}
    assert {one["key"] for one in expected["orphans"]} <= left_out
    assert {one["key"] for one in expected.get("replaced", [])} <= left_out
    warned = {key for _, key in named(report, "warnings")}
    assert {one["element"] for one in expected.get("files_missing", [])} <= warned
    assert {one["key"] for one in expected.get("refused_or_rounded", [])} <= warned


async def test_a_vote_that_is_no_integer_stays_with_its_message(store: AsyncMongoStore) -> None:
    await run(store, "chainlit", "chainlit-postgres", "chainlit.pg.sql")
    message = await store.threads.messages.find_by_id(f"{ID}10")
    assert message is not None
    assert [(one["value"], one["name"]) for one in message.data["feedbacks"]] == [(0.5, "relevance")]


async def test_a_vote_that_is_no_integer_stays_with_the_message_of_any_layer(
    store: AsyncMongoStore, tmp_path: Path
) -> None:
    source = tmp_path / "chainlit.db"
    shutil.copy(DATA / "chainlit" / "chainlit.db", source)
    with sqlite3.connect(source) as database:
        database.execute("UPDATE feedbacks SET value = 0.5 WHERE id = ?", (f"{ID}5d",))
    database.close()
    report = await Importer(store).run("chainlit", str(source))
    message = await store.threads.messages.find_by_id(f"{ID}10")
    assert message is not None
    assert message.feedback is None
    assert [one["value"] for one in message.data["feedbacks"]] == [0.5]
    assert ("feedbacks", f"{ID}5d") in named(report, "warnings")


@pytest.mark.parametrize("value", [-1, 1])
async def test_feedback_that_was_changed_meanwhile_is_taken_by_a_second_import(
    store: AsyncMongoStore, tmp_path: Path, value: int
) -> None:
    source = tmp_path / "chainlit.db"
    shutil.copy(DATA / "chainlit" / "chainlit.db", source)
    first = await Importer(store).run("chainlit", str(source))
    assert first.of("feedback").new == first.of("feedback").read > 0
    with sqlite3.connect(source) as database:
        database.execute("UPDATE feedbacks SET value = ? WHERE id = ?", (value, f"{ID}5d"))
    database.close()
    second = await Importer(store).run("chainlit", str(source))
    assert second.is_complete
    message = await store.threads.messages.find_by_id(f"{ID}10")
    assert message is not None
    assert message.feedback is not None
    assert (message.feedback.id, message.feedback.value) == (f"{ID}5d", value)


async def test_an_element_of_no_step_is_left_out_of_the_official_layer(
    store: AsyncMongoStore, tmp_path: Path
) -> None:
    dump = (DATA / "chainlit-postgres" / "chainlit.pg.sql").read_text()
    element, step = f"'{ID}1e'", f"'{ID}0a'"
    line = next(
        one for one in dump.splitlines() if one.startswith(f'INSERT INTO public."Element" VALUES ({element}')
    )
    source = tmp_path / "chainlit.sql"
    source.write_text(dump.replace(line, line.replace(step, "NULL", 1)))
    report = await Importer(store).run("chainlit", str(source))
    assert ("Element", f"{ID}1e") in named(report, "left_out")
    elements = [one.id async for one in store.threads.elements.iter(f"{ID}01")]
    assert f"{ID}1f" in elements
    assert f"{ID}1e" not in elements


async def test_a_softly_deleted_thread_is_left_out_unless_it_is_asked_for(store: AsyncMongoStore) -> None:
    location = str(DATA / "chainlit-postgres" / "chainlit.pg.sql")
    report = await Importer(store).run("chainlit", location)
    assert ("Thread", f"{ID}06") in named(report, "left_out")
    await Importer(store).run("chainlit", location, Options(with_deleted=True))
    thread = next(one for one in load("chainlit-postgres")["threads"] if one["id"] == f"{ID}06")
    await check_thread(store, {**thread, "elements": []})


async def test_times_of_the_official_layer_are_in_the_zone_of_its_server(store: AsyncMongoStore) -> None:
    location = str(DATA / "chainlit-postgres" / "chainlit.pg.sql")
    await Importer(store).run("chainlit", location, Options(source_timezone="Asia/Tokyo"))
    for expected in load("chainlit-postgres")["threads"][:2]:
        thread = await store.threads.get(expected["id"])
        created_at = time_of(expected["createdAt"])
        assert created_at is not None
        assert thread.created_at == created_at - timedelta(hours=9)


async def test_a_user_that_is_known_by_another_id_gets_the_threads(store: AsyncMongoStore) -> None:
    user = await store.threads.users.create("ada@example.com")
    report = await run(store, "chainlit", "chainlit", "chainlit.db")
    assert ("users", "ada@example.com") in named(report, "warnings")
    assert {one.id async for one in store.threads.iter(user_id=user.id)} == {f"{ID}01", f"{ID}04"}


async def test_object_keys_never_leave_the_folder(store: AsyncMongoStore) -> None:
    location = str(DATA / "chainlit" / "chainlit.db")
    # The folder beside it holds all files, one level up.
    options = Options(files=DATA / "chainlit-postgres" / "files" / "threads")
    report = await Importer(store).run("chainlit", location, options)
    assert report.of("files").read == 0
    assert len([key for table, key in named(report, "warnings") if table == "elements"]) == 7


async def test_threads_of_threadmem_are_what_they_were(store: AsyncMongoStore) -> None:
    expected = load("threadmem")
    report = await run(store, "threadmem", "threadmem", "threads.db")
    for one in [*expected["threads"], *expected["legacy"]]:
        thread = await store.threads.get(one["id"])
        assert (thread.owner_id, thread.name) == (one["owner_id"], one["name"])
        for name in ("created", "updated"):
            assert thread.data[name] == one[name]
        if "kind" in one:
            metadata = {f"metadata:{key}": [value] for key, value in (one["metadata"] or {}).items()}
            roles = {f"role:{key}": value for key, value in one["roles"].items()}
            stored = {name: value for name, value in thread.data.items() if ":" in name}
            assert stored == {**metadata, **roles}
            assert (thread.kind, thread.data["public"]) == (one["kind"], one["public"])
        messages = [message async for message in store.threads.messages.iter(one["id"])]
        assert [message.id for message in messages] == [message["id"] for message in one["messages"]]
        for message, stored_message in zip(one["messages"], messages, strict=True):
            assert matches(message["content"], stored_message.content)
            assert matches(message["data"], stored_message.data, whole="kind" in one)
            assert stored_message.created_at is not None
            late = stored_message.created_at - (time_of(message["created_at"]) or stored_message.created_at)
            assert timedelta() <= late <= timedelta(microseconds=2)
    loose = expected["loose_messages"][0]
    found = await store.threads.messages.find_by_id(loose["id"])
    assert found is not None
    assert (found.content, found.thread_id) == (loose["content"], None)
    assert named(report, "left_out") == [("role_messages", expected["loose_messages"][1]["id"])]
    assert named(report, "warnings") == [("role_threads", expected["warned"][0]["key"])]


async def test_threadmem_shows_what_was_imported(
    server_store: AsyncMongoStore, server_uri: str, database: str
) -> None:
    pytest.importorskip("PIL", reason="threadmem's adapter needs pillow")
    from mongostore.adapters.threadmem import RoleThread, configure

    expected = load("threadmem")
    await run(server_store, "threadmem", "threadmem", "threads.db")
    with MongoStore(server_uri, database) as twin:
        configure(store=twin)
        try:
            for owner_id, ids in expected["shown_by_find"].items():
                assert [thread.id for thread in RoleThread.find(owner_id=owner_id)] == ids
            for one in expected["threads"]:
                (thread,) = RoleThread.find(id=one["id"])
                assert thread.metadata == one["metadata"]
                for message, output in zip(one["messages"], thread.messages(), strict=True):
                    data = message["data"]
                    assert (output.id, output.role, output.created) == (
                        message["id"],
                        data["role"],
                        data["created"],
                    )
                    assert matches(data["images"], output.images)
        finally:
            configure()
    assert "threadmem" not in sys.modules
