"""What `store.retention.prune` deletes, and what it leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mongostore import (
    AsyncMongoStore,
    ConfigurationError,
    Element,
    Event,
    InvalidValueError,
    Message,
    MongoStore,
    PruneReport,
    RetentionPolicy,
)
from mongostore.documents import COLLECTIONS
from mongostore.repositories.heads import Heads
from tests.contract.fixtures import furnish

DAY = timedelta(days=1)
OLD, NEW = datetime.now(UTC) - 100 * DAY, datetime.now(UTC) - DAY
# What belongs to no conversation, and where conversations leave what keeps late writes away.
APART = {"identities", "identity_addresses", "verifications", "verification_requests", "leases", "users"}


async def converse(store: AsyncMongoStore, name: str, at: datetime, **members: Any) -> None:
    """Store a session, a thread and a room that were created and active at a time."""
    await store.sessions.create(name, created_at=at, participants=["p"], **members)
    await store.threads.create(name, created_at=at, **members)
    await store.rooms.create(name, created_at=at, updated_at=at, active_at=at, **members)


async def remaining(store: AsyncMongoStore) -> dict[str, list[str]]:
    """Return the ids of the conversations that are there."""
    return {
        "sessions": sorted([one.id async for one in store.sessions.iter(deleted=None)]),
        "threads": sorted([one.id async for one in store.threads.iter()]),
        "rooms": sorted([one.id async for one in store.rooms.iter()]),
    }


def everywhere(ids: list[str]) -> dict[str, list[str]]:
    return dict.fromkeys(("sessions", "threads", "rooms"), ids)


async def documents(store: AsyncMongoStore) -> dict[str, int]:
    """Return how many documents each collection has, tombstones and empty positions apart."""
    filter = {"emptied_at": None, "state": {"$ne": "deleted"}}
    counts = {name: await store.engine.collection(name).count_documents(filter) for name in COLLECTIONS}
    return {name: count for name, count in counts.items() if count}


def without_times(report: PruneReport) -> PruneReport:
    return report.model_copy(update={"idle_since": None, "created_before": None})


async def test_a_report_has_the_times_that_its_spans_reach_back_to(store: AsyncMongoStore) -> None:
    for number in range(2):
        await store.sessions.create(f"s{number}", created_at=OLD)
    # The server's clock may be another one.
    slack = timedelta(seconds=1)
    began = datetime.now(UTC) - slack
    reports = [
        await store.retention.prune(idle=90 * DAY, older=95 * DAY, dry_run=True),
        await store.retention.prune(idle=90 * DAY, older=95 * DAY, limit=1),
    ]
    for report in reports:
        assert report.idle_since
        assert report.created_before
        assert began <= report.idle_since + 90 * DAY <= datetime.now(UTC) + slack
        assert report.idle_since - report.created_before == 5 * DAY
    report = await store.retention.prune(idle=timedelta.max)
    assert (report.idle_since, report.created_before) == (datetime.min.replace(tzinfo=UTC), None)
    assert (await store.retention.prune()).idle_since is None


@pytest.mark.smoke
async def test_prune_deletes_what_is_idle_and_leaves_the_rest(store: AsyncMongoStore) -> None:
    await converse(store, "idle", OLD)
    await converse(store, "busy", OLD)
    await converse(store, "new", NEW)
    await store.sessions.messages.append("busy", Message(role="user", content="x"))
    await store.threads.messages.merge("busy", "m", content="x", created_at=datetime.now(UTC))
    await store.rooms.events.append("busy", Event(channel_id="c"))
    planned = await store.retention.prune(idle=90 * DAY, dry_run=True)
    assert without_times(planned) == PruneReport(dry_run=True, sessions=1, threads=1, rooms=1)
    pruned = await store.retention.prune(idle=90 * DAY)
    assert without_times(pruned) == PruneReport(dry_run=False, sessions=1, threads=1, rooms=1)
    assert await remaining(store) == everywhere(["busy", "new"])
    assert (await store.retention.prune(idle=90 * DAY)).total == 0


async def test_prune_deletes_what_is_older_even_if_it_is_busy(store: AsyncMongoStore) -> None:
    await converse(store, "old", OLD)
    await converse(store, "new", NEW)
    await store.rooms.events.append("old", Event(channel_id="c"))
    await store.sessions.messages.append("old", Message(role="user", content="x"))
    report = await store.retention.prune(older=90 * DAY, idle=95 * DAY)
    assert (report.sessions, report.threads, report.rooms) == (1, 1, 1)
    assert await remaining(store) == everywhere(["new"])


async def test_dry_run_counts_what_is_idle_and_old_once(store: AsyncMongoStore) -> None:
    await converse(store, "old", OLD)
    assert (await store.retention.prune(older=90 * DAY, idle=90 * DAY, dry_run=True)).total == 3
    assert (await store.retention.prune(older=90 * DAY, idle=90 * DAY)).total == 3


@pytest.mark.smoke
async def test_prune_deletes_what_has_expired_and_all_of_its_parts(
    store: AsyncMongoStore, let_pass: Callable[[timedelta], None]
) -> None:
    await store.sessions.create("s", participants=["p"], expires_in=DAY)
    await store.sessions.messages.append_many("s", [Message(role="user", content="x" * 1000)] * 1)
    await store.sessions.messages.append("s", Message(role="user", content="x" * 2_000_000))
    await store.sessions.context.set("s", ["x" * 2_000_000])
    await store.threads.create("t", expires_in=DAY)
    await store.threads.messages.merge("t", "m", content="x", pinned=True)
    await store.threads.files.upload("k", b"x" * 300_000, content_type="text/plain")
    await store.threads.elements.upsert("t", Element(id="e", message_id="m", file_key="k"))
    await furnish(store)
    await store.rooms.update("r", expires_in=DAY)
    assert (await store.retention.prune()).total == 0
    let_pass(DAY)
    assert (await store.retention.prune(dry_run=True)).total == 3
    assert (await store.retention.prune()).total == 3
    assert {*await documents(store)} <= APART


@pytest.mark.parametrize("rule", ["idle", "older"])
async def test_a_thread_that_is_pinned_after_it_was_found_stays(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    await store.threads.create("t", created_at=OLD)
    await store.threads.messages.merge("t", "m", content="x", created_at=OLD)
    delete = Heads.delete

    async def late(self: Heads, *arguments: Any) -> bool:
        pin = store.threads.messages.merge("t", "m", pinned=True)
        await asyncio.create_task(pin, context=Context())
        return await delete(self, *arguments)

    monkeypatch.setattr(Heads, "delete", late)
    assert (await store.retention.prune(**{rule: 90 * DAY})).threads == 0
    assert await store.threads.messages.exists("t", "m")
    assert (await store.retention.prune(**{rule: 90 * DAY}, keep_pinned=False)).threads == 1


async def test_expired_thread_goes_though_a_message_is_pinned(store: AsyncMongoStore) -> None:
    await store.threads.create("t", created_at=OLD)
    await store.threads.messages.merge("t", "m", content="x", pinned=True, created_at=OLD)
    assert (await store.retention.prune(idle=90 * DAY, older=90 * DAY)).threads == 0
    assert (await store.retention.prune(idle=90 * DAY, keep_pinned=False)).threads == 1


async def test_prune_of_namespaces_touches_nothing_else(store: AsyncMongoStore) -> None:
    await converse(store, "old", OLD)
    for name in ("a", "b"):
        await store.sessions.in_namespace(name).create("old", created_at=OLD)
    pruned = await store.retention.prune(idle=90 * DAY, namespaces=["a"])
    assert without_times(pruned) == PruneReport(dry_run=False, sessions=1)
    assert (await remaining(store))["threads"] == ["old"]
    assert not await store.sessions.in_namespace("a").exists("old")
    assert await store.sessions.in_namespace("b").exists("old")
    assert (await store.retention.prune(idle=90 * DAY, houses=["sessions"])).sessions == 2


async def test_softly_deleted_sessions_are_pruned(store: AsyncMongoStore) -> None:
    await store.sessions.create("s", created_at=OLD)
    await store.sessions.soft_delete("s")
    assert (await store.retention.prune(idle=90 * DAY)).sessions == 1
    assert await store.sessions.list(deleted=None) == await store.sessions.list(deleted=True)


async def test_prune_within_a_limit_goes_on_when_called_again(store: AsyncMongoStore) -> None:
    for number in range(7):
        await store.sessions.create(f"s{number}", created_at=OLD)
    reports = [await store.retention.prune(idle=90 * DAY, limit=3) for _ in range(3)]
    assert [(report.sessions, report.is_complete) for report in reports] == [
        (3, False),
        (3, False),
        (1, True),
    ]


async def test_prune_spares_what_was_active_since_it_was_found(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await converse(store, "x", OLD)
    for house, speak in (
        ("sessions", lambda: store.sessions.messages.append("x", Message(role="user", content="x"))),
        ("threads", lambda: store.threads.messages.merge("x", "m", content="x", created_at=NEW)),
        ("rooms", lambda: store.rooms.events.append("x", Event(channel_id="c"))),
    ):
        with monkeypatch.context() as patch:
            delete = Heads.delete

            async def late(self: Heads, *arguments: Any, speak: Any = speak, delete: Any = delete) -> bool:
                await speak()
                return bool(await delete(self, *arguments))

            patch.setattr(Heads, "delete", late)
            assert (await store.retention.prune(idle=90 * DAY, houses=[house])).total == 0, house
    assert await remaining(store) == everywhere(["x"])


@pytest.mark.parametrize(
    "arguments",
    [
        {"idle": 90},
        {"idle": timedelta(0)},
        {"older": "90d"},
        {"namespaces": "a"},
        {"houses": ["users"]},
        {"limit": 0},
        {"keep_pinned": 1},
        {"dry_run": 1},
    ],
    ids=str,
)
async def test_prune_refuses_what_is_no_such_argument(
    store: AsyncMongoStore, arguments: dict[str, Any]
) -> None:
    await converse(store, "old", OLD)
    with pytest.raises(InvalidValueError):
        await store.retention.prune(**{"older": DAY, **arguments})
    assert await remaining(store) == everywhere(["old"])


@pytest.mark.parametrize("span", ["idle", "older"])
async def test_nothing_is_as_old_as_the_longest_span(store: AsyncMongoStore, span: str) -> None:
    await converse(store, "old", OLD)
    assert (await store.retention.prune(**{span: timedelta.max})).total == 0


async def test_a_policy_is_applied_by_one_store_at_a_time(store: AsyncMongoStore) -> None:
    await converse(store, "old", OLD)
    policy = RetentionPolicy(idle=90 * DAY, every=timedelta(seconds=0.1))
    address, name = store.address, store.engine.database.name
    async with (
        store.leases.hold("mongostore.retention"),
        AsyncMongoStore(address, name, retention=policy),
    ):
        await asyncio.sleep(0.5)
        assert (await remaining(store))["sessions"] == ["old"]
    async with AsyncMongoStore(address, name, retention=policy), asyncio.timeout(10):
        while any((await remaining(store)).values()):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "policy", [90, RetentionPolicy(idle=timedelta(0)), RetentionPolicy(every=timedelta(0))], ids=str
)
def test_a_policy_that_is_none_is_refused(policy: Any) -> None:
    with pytest.raises(ConfigurationError, match="retention"):
        AsyncMongoStore("mongomock://", retention=policy)


def test_prune_is_the_same_in_blocking_code() -> None:
    with MongoStore("mongomock://") as store:
        store.sessions.create("old", created_at=OLD)
        pruned = store.retention.prune(idle=90 * DAY)
        assert without_times(pruned) == PruneReport(dry_run=False, sessions=1)
