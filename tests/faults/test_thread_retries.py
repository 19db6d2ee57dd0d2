"""A verb of threads, users, keys, leases or people whose answer is lost acts once beside another client."""

from __future__ import annotations

import asyncio
import itertools
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from mongostore import (
    AsyncMongoStore,
    Element,
    Feedback,
    Identity,
    ThreadMessage,
    Verification,
    VerificationRequest,
)
from mongostore.repositories.api_keys import AsyncKeys
from mongostore.repositories.change_feed import ChangeFeed
from mongostore.repositories.connection import Connection
from mongostore.repositories.leases import AsyncLeases
from mongostore.repositories.rooms import AsyncRooms
from mongostore.repositories.store_collection import StoreCollection
from mongostore.repositories.threads import AsyncThreads
from mongostore.repositories.threads.bulk import ThreadMessageBatches
from tests.faults.test_retries_beside_others import store_uri
from tests.faults.test_room_retries import VARYING, Verb, check_acts_once

__all__ = ["store_uri"]

VARYING_HERE = {
    *VARYING,
    "arrival",
    "life",
    "life_since",
    "delete_op",
    "create_op",
    "deleted_at",
    "revision",
    "is_begun",
}
VARYING_HERE |= {
    "files_id",
    "uploadDate",
    "file_keys",
    "merged_bytes",
    "secret_hash",
    "milliseconds",
    "token",
    "expires_at",
    "ops",
}
BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
COLLECTIONS = (
    *("threads", "messages", "elements", "users", "api_keys", "leases"),
    *(
        "files.files",
        "files.chunks",
        "identities",
        "identity_addresses",
        "verifications",
        "verification_requests",
    ),
)


class Client:
    """Another client of the same data."""

    def __init__(self, store: AsyncMongoStore) -> None:
        self.connection = Connection(store.engine, 20.0)
        self.connection.attach()
        self.threads = AsyncThreads(self.connection)
        self.rooms = AsyncRooms(self.connection, ChangeFeed(self.connection))
        self.keys, self.leases = AsyncKeys(self.connection), AsyncLeases(self.connection)


def element(name: str, data: dict[str, str], file_key: str | None = None) -> Element:
    return Element(id=name, message_id="m", data=data, file_key=file_key)


async def prepare(store: Any, id: str) -> None:
    """Make one of everything."""
    threads = store.threads
    await threads.users.create(f"{id} user", user_id=f"{id} user")
    await threads.create(id, name="first")
    for name in ("m", "voted"):
        await threads.messages.merge(id, f"{id} {name}", kind="first", content="first")
    await threads.feedback.upsert(id, Feedback(id=f"{id} f", message_id=f"{id} voted", value=1))
    await threads.elements.upsert(id, element(f"{id} e", {"by": "first"}))
    for name in ("old", "new"):
        await threads.files.upload(f"{id} {name}", f"{id} {name}".encode())
    await threads.elements.upsert(id, element(f"{id} shown", {}, f"{id} old"))
    await store.rooms.verifications.upsert(Verification(identity_id=f"{id} i", status="first"))
    await store.rooms.verifications.requests.create(VerificationRequest(id=f"{id} r", identity_id=f"{id} i"))


async def put_file(store: Any, id: str) -> Element:
    """Show another file, for which the one before goes."""
    output: Element = await store.threads.elements.upsert(
        id, element(f"{id} shown", {"by": "ours"}, f"{id} new")
    )
    return output


VERBS: dict[str, Verb] = {
    "create": lambda s, id: s.threads.create(f"{id} new", name="ours"),
    "ensure": lambda s, id: s.threads.ensure(f"{id} new", name="ours"),
    "update": lambda s, id: s.threads.update(id, name="ours", metadata={"by": "ours"}),
    "merge": lambda s, id: s.threads.merge(id, name="ours"),
    "merge-new": lambda s, id: s.threads.merge(f"{id} new", name="ours"),
    "merge-if-absent": lambda s, id: s.threads.merge(id, if_absent=True, metadata={"claim": "ours"}),
    "delete": lambda s, id: s.threads.delete(id),
    "merge-message": lambda s, id: s.threads.messages.merge(id, f"{id} m", content="ours"),
    "merge-new-message": lambda s, id: s.threads.messages.merge(id, f"{id} new", content="ours"),
    "delete-message": lambda s, id: s.threads.messages.delete(id, f"{id} m"),
    "delete-voted": lambda s, id: s.threads.messages.delete(id, f"{id} voted"),
    "vote": lambda s, id: s.threads.feedback.upsert(
        id, Feedback(id=f"{id} g", message_id=f"{id} m", value=0)
    ),
    "vote-again": lambda s, id: s.threads.feedback.upsert(
        id, Feedback(id=f"{id} f", message_id=f"{id} voted", value=0)
    ),
    "unvote": lambda s, id: s.threads.feedback.delete(id, f"{id} voted"),
    "import-messages": lambda s, id: ThreadMessageBatches.of(s.threads).create_many(
        id, [ThreadMessage(id=f"{id} new", content="ours", created_at=BEFORE)]
    ),
    "import-feedback": lambda s, id: ThreadMessageBatches.of(s.threads).add_feedback(
        id, [Feedback(id=f"{id} g", message_id=f"{id} m", value=0)]
    ),
    "put-element": lambda s, id: s.threads.elements.upsert(id, element(f"{id} new", {"by": "ours"})),
    "put-element-again": lambda s, id: s.threads.elements.upsert(id, element(f"{id} e", {"by": "ours"})),
    "put-file": put_file,
    "delete-element": lambda s, id: s.threads.elements.delete(id, f"{id} e"),
    "create-user": lambda s, id: s.threads.users.create(f"{id} new", user_id=f"{id} new"),
    "ensure-user": lambda s, id: s.threads.users.ensure(f"{id} new", metadata={"by": "ours"}),
    "upsert-user": lambda s, id: s.threads.users.upsert(f"{id} user", metadata={"by": "ours"}),
    "upsert-new-user": lambda s, id: s.threads.users.upsert(f"{id} new", metadata={"by": "ours"}),
    "delete-user": lambda s, id: s.threads.users.delete(f"{id} user"),
    "create-key": lambda s, id: s.keys.create(name=f"{id} new"),
    "acquire": lambda s, id: s.leases.acquire(f"{id} lease", "ours", 60),
    "create-identity": lambda s, id: s.rooms.identities.create(Identity(id=f"{id} new", data={"by": "ours"})),
    "verify": lambda s, id: s.rooms.verifications.upsert(Verification(identity_id=f"{id} i", status="ours")),
    "request": lambda s, id: s.rooms.verifications.requests.create(
        VerificationRequest(id=f"{id} new", identity_id="ours")
    ),
    "request-again": lambda s, id: s.rooms.verifications.requests.upsert(
        VerificationRequest(id=f"{id} r", identity_id="ours")
    ),
}


async def change(store: Any, id: str) -> None:
    """Change all that is there."""
    threads, theirs = store.threads, {"by": "theirs"}
    for thread in (id, f"{id} new"):
        if await threads.exists(thread):
            await threads.update(thread, name="theirs", metadata=theirs)
    for message in ("m", "voted", "new"):
        if await threads.messages.exists(id, f"{id} {message}"):
            await threads.messages.merge(id, f"{id} {message}", content="theirs")
            vote = Feedback(id=f"{id} {message} theirs", message_id=f"{id} {message}", value=1)
            await threads.feedback.upsert(id, vote)
    for name in ("e", "new", "shown"):
        if await threads.elements.find(id, f"{id} {name}"):
            await threads.elements.upsert(id, element(f"{id} {name}", theirs))
    for user in ("user", "new"):
        if await threads.users.find_by_identifier(f"{id} {user}"):
            await threads.users.upsert(f"{id} {user}", metadata=theirs)
    await store.rooms.verifications.upsert(Verification(identity_id=f"{id} i", status="theirs"))
    for request in ("r", "new"):
        if await store.rooms.verifications.requests.find(f"{id} {request}"):
            theirs_request = VerificationRequest(id=f"{id} {request}", identity_id="theirs")
            await store.rooms.verifications.requests.upsert(theirs_request)


async def delete(store: Any, id: str) -> None:
    """Delete what the verbs make and change."""
    threads = store.threads
    for message in ("m", "voted", "new"):
        await threads.feedback.delete(id, f"{id} {message}")
        await threads.messages.delete(id, f"{id} {message}")
    for name in ("e", "new", "shown"):
        await threads.elements.delete(id, f"{id} {name}")
    await threads.delete(f"{id} new")
    for user in ("user", "new"):
        if found := await threads.users.find_by_identifier(f"{id} {user}"):
            await threads.users.delete(found.id)
    for key in (await store.keys.list(limit=1000)).items:
        if key.name == f"{id} new":
            await store.keys.delete(key.id)


async def delete_thread(store: Any, id: str) -> None:
    await store.threads.delete(id)


async def make_anew(store: Any, id: str) -> None:
    """Delete and make again what the verbs delete."""
    threads, theirs = store.threads, {"by": "theirs"}
    await delete(store, id)
    await threads.delete(id)
    now = datetime.now(UTC)
    await threads.merge(id, name="theirs", begun_at=now)
    for message in ("m", "voted"):
        await threads.messages.merge(id, f"{id} {message}", content="theirs", begun_at=now)
    vote = Feedback(id=f"{id} theirs", message_id=f"{id} voted", value=1)
    await threads.feedback.upsert(id, vote)
    await threads.elements.upsert(id, element(f"{id} e", theirs), begun_at=now)
    for user in ("user", "new"):
        await threads.users.create(f"{id} {user}", user_id=f"{id} {user}", metadata=theirs)


async def renew(store: Any, id: str) -> None:
    """Delete the thread with all that is in it, and begin another one under its id."""
    await store.threads.delete(id)
    await store.threads.merge(id, name="theirs", begun_at=datetime.now(UTC))


OTHERS: dict[str, Verb] = {
    other.__name__: other for other in (change, delete, delete_thread, make_anew, renew)
}


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: plain(one) for name, one in sorted(value.items()) if name not in VARYING_HERE}
    return [*map(plain, value)] if isinstance(value, list) else value


async def state(store: AsyncMongoStore, id: str) -> Any:
    """Return what is stored under ids and names that begin so."""
    found = dict[str, Any]()
    for name in COLLECTIONS:
        documents = [one async for one in store.engine.database[name].find() if id in repr(one)]
        for one in documents:
            if id not in str(one["_id"]):
                del one["_id"]
        found[name] = sorted((plain(one) for one in documents if one.get("state") != "deleted"), key=repr)
    return found


@pytest.mark.parametrize(
    ("name", "other"),
    [
        pytest.param(*pair, marks=() if pair[1] == "make_anew" else pytest.mark.long)
        for pair in itertools.product(VERBS, OTHERS)
    ],
)
async def test_a_lost_answer_makes_a_verb_of_threads_act_once_beside_another_client(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, name: str, other: str
) -> None:
    await check_acts_once(store, Client(store), monkeypatch, prepare, VERBS[name], OTHERS[other], state)


@pytest.mark.parametrize("is_removed", [False, True], ids=["joined", "removed"])
async def test_feedback_whose_message_joins_a_thread_before_the_retry_is_stored(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, is_removed: bool
) -> None:
    transact = type(store.engine).transact

    async def join() -> None:
        await store.threads.messages.merge("t", "m", content="theirs")
        if is_removed:
            await store.threads.feedback.delete("t", "m")

    async def lose(engine: Any, statements: Any) -> None:
        await transact(engine, statements)
        monkeypatch.undo()
        await asyncio.create_task(join(), context=Context())
        raise AutoReconnect("the answer was lost")

    monkeypatch.setattr(type(store.engine), "transact", lose)
    feedback = Feedback(id="f", message_id="m", value=1)
    answered = await store.threads.feedback.upsert(None, feedback)
    assert (answered.id, answered.value) == ("f", 1)
    stored = await store.threads.feedback.find("t", "m")
    assert stored == (None if is_removed else answered)


def fail_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next write of documents fail before it is sent."""
    update_one, update_many = StoreCollection.update_one, StoreCollection.update_many

    async def fail(collection: Any, *arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(StoreCollection, "update_one", update_one)
        monkeypatch.setattr(StoreCollection, "update_many", update_many)
        raise AutoReconnect("nothing was sent")

    monkeypatch.setattr(StoreCollection, "update_one", fail)
    monkeypatch.setattr(StoreCollection, "update_many", fail)


async def test_a_user_of_a_later_time_is_deleted_by_the_retry_too(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As an import of a host stores it whose clock is ahead.
    user = await store.threads.users.create("ada", created_at=datetime.now(UTC) + timedelta(minutes=5))
    fail_once(monkeypatch)
    assert await store.threads.users.delete(user.id)
    assert await store.threads.users.find(user.id) is None


@pytest.mark.parametrize("of_message", [False, True], ids=["alone", "with-its-message"])
async def test_an_element_of_a_later_time_is_deleted_by_the_retry_too(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, of_message: bool
) -> None:
    threads, later = store.threads, datetime.now(UTC) + timedelta(minutes=5)
    await threads.messages.merge("t", "m", content="x", begun_at=later)
    element = Element(id="e", thread_id="t", message_id="m")
    await threads.elements.upsert("t", element, begun_at=later)
    fail_once(monkeypatch)
    assert await (threads.messages.delete("t", "m") if of_message else threads.elements.delete("t", "e"))
    assert await threads.elements.find("t", "e") is None
