"""What role threads cost on a real server: commands, documents that are looked at, and memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest
from pymongo import MongoClient

from mongostore import MongoStore
from mongostore.adapters.threadmem import RoleMessage, RoleThread, V1Role, configure
from mongostore.adapters.threadmem.file_storage import FileStorage
from tests.contract.command_log import (
    INDEXES,
    CommandLog,
    Sent,
    count_affected,
    is_union,
    nested,
    read_majority,
    stages_of,
)

pytestmark = pytest.mark.server

IMAGE = "data:image/png;base64," + "Q09TVA" * 4_000


@pytest.fixture
def wire(server_uri: str) -> Iterator[CommandLog]:
    with MongoClient[dict[str, Any]](server_uri) as explainer:
        yield CommandLog(explainer)


@pytest.fixture
def wired(server_uri: str, database: str, wire: CommandLog) -> Iterator[type[RoleThread]]:
    """Role threads whose commands go past the wire."""
    with MongoStore(server_uri, database, client_options={"event_listeners": [wire]}) as store:
        store.portal.run(read_majority(store.core))
        yield RoleThread.at(FileStorage(store=store))
        configure()


def sent_by(wire: CommandLog, call: Any) -> list[Sent]:
    wire.sent.clear()
    call()
    return [*wire.sent]


def looks_by_index(sent: Sent) -> None:
    """The server finds what is asked for by an index, and looks at nothing else."""
    assert sent.plan, f"{sent} was not explained"
    stages = [stage for plan in nested(sent.plan, "winningPlan") for stage in stages_of(plan)]
    names = {stage["stage"] for stage in stages}
    assert not names & {"COLLSCAN", "SORT"}, (sent, stages)
    assert {stage["indexName"] for stage in stages if "indexName" in stage} <= INDEXES
    # Of parts, and of their thread.
    costs = list(nested(sent.plan, "executionStats"))
    assert len(costs) == (2 if is_union(sent) else 1), sent
    for stats in costs:
        assert stats["totalDocsExamined"] <= count_affected(sent, stats) + 1, (sent.command, stats)


def test_a_post_costs_the_same_in_a_long_thread(wired: type[RoleThread], wire: CommandLog) -> None:
    thread = wired(metadata={"k": 1})
    costs = []
    for number in range(401):
        sent = sent_by(wire, lambda: thread.post("user", "x" * 200))
        if number in (10, 400):
            costs.append([(one.name, one.bytes) for one in sent])
            for one in sent:
                looks_by_index(one)
    assert [name for name, _ in costs[0]] == ["update", "update"]
    assert [name for name, _ in costs[0]] == [name for name, _ in costs[1]]
    assert abs(sum(size for _, size in costs[0]) - sum(size for _, size in costs[1])) < 50


def test_a_post_costs_no_more_once_the_messages_were_shown(wired: type[RoleThread], wire: CommandLog) -> None:
    thread = wired()
    for _ in range(5):
        thread.post("user", "hi", [IMAGE], metadata={"k": [1]})
    thread.messages()
    assert len(sent_by(wire, lambda: thread.post("user", "hi"))) == 2
    thread.messages()[0].text = "changed"
    assert len(sent_by(wire, lambda: thread.post("user", "hi"))) == 3


def test_a_thread_that_was_found_posts_without_reading_its_messages(
    wired: type[RoleThread], wire: CommandLog
) -> None:
    thread = wired("ada")
    for _ in range(50):
        thread.post("user", "hi", [IMAGE])
    others = [wired("ben") for _ in range(20)]
    sent = sent_by(wire, lambda: wired.find(id=thread.id)[0].post("user", "more"))
    assert [one.name for one in sent] == ["find", "update", "update"]
    for one in sent:
        looks_by_index(one)
    assert sent[0].command["find"] == "threads"
    sent = sent_by(wire, lambda: wired.find(owner_id="ada")[0].name)
    assert [one.name for one in sent] == ["find"]
    looks_by_index(sent[0])
    assert len(wired.find(owner_id="ben")) == len(others)


@pytest.mark.parametrize(
    ("change", "most"),
    [
        (lambda thread: thread.save(), 1),
        (lambda thread: thread.add_role(V1Role(name="x", user_id="", user_name="", icon="")), 2),
        (lambda thread: setattr(thread, "name", "new") or thread.save(), 1),
        (lambda thread: thread.find(id=thread.id)[0].messages(), 2),
        (lambda thread: thread.delete(), 4),
    ],
    ids=["save", "add a role", "rename", "read", "delete"],
)
def test_what_is_done_to_a_thread_costs_the_same_in_a_long_one(
    wired: type[RoleThread], wire: CommandLog, change: Any, most: int
) -> None:
    for length in (1, 100):
        thread = wired()
        for _ in range(length):
            thread.post("user", "hi")
        sent = sent_by(wire, lambda thread=thread: change(thread))
        assert len(sent) <= most, sent
        for one in sent:
            if one.is_query:
                looks_by_index(one)


def test_messages_are_found_by_id_and_thread_by_an_index(wired: type[RoleThread], wire: CommandLog) -> None:
    thread, other = wired(), wired()
    for _ in range(30):
        thread.post("user", "hi")
        other.post("user", "hi")
    [message, *_] = thread.messages()
    configure(store=wired.storage().store)
    for columns, count in (({"id": message.id}, 1), ({"thread_id": thread.id}, 30)):
        sent = sent_by(wire, lambda columns=columns: RoleMessage.find(**columns))
        assert [one.name for one in sent] == ["aggregate"]
        looks_by_index(sent[0])
        assert len(RoleMessage.find(**columns)) == count


def images_held(thread: RoleThread) -> int:
    """How many texts with images a thread, and whatever it refers to, holds."""
    seen: dict[int, Any] = {}
    coming: list[Any] = [thread.__dict__]
    while coming:
        one = coming.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType | FunctionType):
            seen[id(one)] = one
            coming += gc.get_referents(one)
            # From Python 3.13 on, neither a plain object nor its dict tells of its members.
            coming += one.values() if isinstance(one, dict) else getattr(one, "__dict__", {}).values()
    return sum(type(one) is str and one.startswith(IMAGE) for one in seen.values())


def test_who_has_posted_hundreds_of_messages_with_images_holds_none(server_uri: str, database: str) -> None:
    with MongoStore(server_uri, database) as store:
        thread = RoleThread.at(FileStorage(store=store))()
        for number in range(400):
            thread.post("user", f"message {number}", [f"{IMAGE}{number:06}"])
        assert images_held(thread) == 0
        assert len(thread.messages()) == 400
        assert images_held(thread) == 400
