"""Sessions, threads and rooms read through Beanie: by a store's own documents, and in an application's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Annotated, Any
from uuid import uuid4

import pytest
from beanie import DeleteRules, Document, Link, WriteRules, init_beanie
from beanie.operators import In
from pydantic import Field

from mongostore import (
    AsyncMongoStore,
    Event,
    Feedback,
    InvalidValueError,
    Message,
    NotOpenError,
    Room,
    UnsupportedError,
    beanie,
)
from mongostore.beanie import DOCUMENTS, Projection, Session, SessionSummary, Time, to_micros
from mongostore.models import Turn
from mongostore.repositories import Repository

pytestmark = pytest.mark.smoke
ODD = {"a.b": {"$set": 2**40}, "": [2**70, "\ud800"]}


class Order(Document):
    session: Link[Session]
    others: list[Link[Session]] = Field(default_factory=list)


class Ticket(Session):
    tenant: str | None = None


class Activity(Projection):
    id: Annotated[str, Field(alias="_id")]
    active_at: Time


@pytest.fixture
async def sessions(store: AsyncMongoStore) -> list[str]:
    for number in range(4):
        await store.sessions.create(f"s{number}", user_id="ada" if number % 2 else "bob", metadata=ODD)
        for index in range(number):
            message = Message(id=f"m{index}", role="user", content=ODD, metadata={"n": index})
            await store.sessions.messages.append(f"s{number}", message)
    return [f"s{number}" for number in range(4)]


@pytest.fixture
async def application(store: AsyncMongoStore, sessions: list[str]) -> AsyncIterator[AsyncMongoStore]:
    """A store whose database has an application's documents, too."""
    await bind(store)
    yield store
    await Order.get_pymongo_collection().drop()


async def bind(store: AsyncMongoStore) -> None:
    models: list[Any] = [Order, Ticket, *DOCUMENTS]
    await init_beanie(store.engine.database, document_models=models, allow_index_dropping=True)


async def test_a_session_is_found_by_its_members_with_what_it_says(
    store: AsyncMongoStore, sessions: list[str]
) -> None:
    documents = store.documents.Session
    found = await documents.find(documents.user_id == "ada", documents.message_count > 1).to_list()
    output = await store.sessions.get("s3")
    assert [(one.id, one.session_id, one.metadata) for one in found] == [("default/s3", "s3", ODD)]
    assert (found[0].created_at, found[0].active_at, found[0].last) == (
        output.created_at,
        output.active_at,
        output.last,
    )
    assert [(one.id, one.position, one.content) for one in found[0].messages] == [
        (f"m{index}", index, ODD) for index in range(3)
    ]


async def test_positions_participants_and_context_are_those_that_the_store_shows(
    store: AsyncMongoStore, sessions: list[str]
) -> None:
    await store.sessions.participants.ensure("s2", "p.1")
    await store.sessions.turns.append_many("s2", "p.1", [Turn(role="user", content="hi")])
    await store.sessions.context.set("s2", [ODD])
    await store.sessions.messages.delete("s2", "m0")
    found = await store.documents.Session.get("default/s2")
    assert found is not None
    bound = (await store.sessions.get("s2")).participants
    assert [one.model_dump() for one in found.participants] == [
        one.model_dump(exclude={"insights"}) for one in bound
    ]
    assert found.context is not None
    assert found.context.value == [ODD]
    output = (await store.sessions.messages.list("s2")).items
    assert [(one.id, one.position) for one in found.messages] == [(one.id, one.position) for one in output]


async def test_times_are_compared_as_datetimes(store: AsyncMongoStore, sessions: list[str]) -> None:
    documents = store.documents.Session
    middle = (await store.sessions.get("s2")).active_at
    assert await documents.find(documents.active_at > middle).count() == 1
    assert await documents.find({"active_at": {"$lte": middle}}).count() == 3
    assert await documents.find(documents.active_at == middle + timedelta(microseconds=1)).count() == 0
    born = (await store.sessions.messages.get("s3", "m1")).created_at
    assert await documents.find(In(documents.messages.created_at, [born])).count() == 1  # type: ignore[attr-defined]


async def test_a_time_without_a_zone_is_refused(store: AsyncMongoStore, sessions: list[str]) -> None:
    documents = store.documents.Session
    with pytest.raises(InvalidValueError, match="time zone"):
        await documents.find(documents.active_at > datetime(2026, 1, 1)).to_list()


async def test_sessions_are_sorted_and_read_as_projections(
    store: AsyncMongoStore, sessions: list[str]
) -> None:
    newest = store.documents.Session.find_all().sort("-active_at")
    summaries = await newest.project(SessionSummary).to_list()
    assert [(one.session_id, one.message_count) for one in summaries] == [
        (f"s{number}", number) for number in (3, 2, 1, 0)
    ]
    assert not hasattr(summaries[0], "messages")
    activity = await newest.project(Activity).to_list()
    assert [(one.id, one.active_at) for one in activity] == [(one.id, one.active_at) for one in summaries]


async def test_an_aggregation_is_read_as_a_projection(store: AsyncMongoStore, sessions: list[str]) -> None:
    documents = store.documents.Session
    middle = (await store.sessions.get("s2")).active_at
    pipeline = [{"$match": {"active_at": {"$gte": to_micros(middle)}}}, {"$sort": {"active_at": 1}}]
    found = await documents.aggregate(pipeline, projection_model=Activity).to_list()
    assert [one.id for one in found] == ["default/s2", "default/s3"]
    assert found[0].active_at == middle


async def test_rooms_events_threads_and_their_messages_are_read(store: AsyncMongoStore) -> None:
    room = await store.rooms.create("r1", metadata=ODD)
    event = await store.rooms.events.append("r1", Event(channel_id="c", content=ODD, metadata=ODD))
    await store.threads.create("t1", tags=["a"], metadata=ODD)
    await store.threads.messages.merge("t1", "m1", content=ODD, data=ODD)
    await store.threads.feedback.upsert("t1", Feedback(id="f1", message_id="m1", value=1))
    documents = store.documents
    found = await documents.Room.get("r1")
    assert found is not None
    # The counters of a stored room are those with which the log of its events began.
    begun = {"event_count": 0, "latest_index": None, "active_at": None}
    members = found.model_dump(include=set(Room.model_fields))
    assert Room.model_validate(members) == (await store.rooms.get("r1")).model_copy(update=begun)
    assert found.created_at == room.created_at
    of_room = await documents.Event.find(documents.Event.room_id == "r1").to_list()
    assert [(one.id, one.index, one.content, one.metadata) for one in of_room] == [(event.id, 0, ODD, ODD)]
    threads = await documents.Thread.find(documents.Thread.tags == "a").to_list()
    assert [(one.id, one.metadata) for one in threads] == [("t1", ODD)]
    message = await documents.ThreadMessage.find_one(documents.ThreadMessage.thread_id == "t1")
    assert message is not None
    assert (message.content, message.data) == (ODD, ODD)
    assert message.feedback is not None
    assert message.feedback.value == 1


async def test_the_documents_of_two_stores_never_meet(store: AsyncMongoStore, sessions: list[str]) -> None:
    async with AsyncMongoStore(f"mongomock://{uuid4().hex}") as other:
        assert await other.documents.Session.find_all().count() == 0
        assert await store.documents.Session.find_all().count() == 4
        assert store.documents.Session is store.documents.Session is not other.documents.Session


async def test_documents_are_in_the_collections_of_their_store(store_uri: str, database: str) -> None:
    async with AsyncMongoStore(store_uri, database, prefix="chat_") as store:
        await store.sessions.create("s")
        assert [one.session_id for one in await store.documents.Session.find_all().to_list()] == ["s"]
        assert store.documents.Session.get_pymongo_collection().name == "chat_sessions"


async def test_what_is_deleted_for_good_is_not_shown(store: AsyncMongoStore, sessions: list[str]) -> None:
    await store.threads.create("t1", name="a")
    await store.threads.create("t2", name="a")
    await store.threads.delete("t1")
    documents = store.documents.Thread
    assert [one.id for one in await documents.find_all().to_list()] == ["t2"]
    assert [one.id for one in await documents.find(documents.name == "a").to_list()] == ["t2"]
    assert await documents.count() == await documents.find(documents.name == "a").count() == 1
    assert await documents.get("t1") is None
    if store.engine.is_shared:
        # The embedded engine has no such command.
        assert await documents.distinct("_id") == ["t2"]
    assert await documents.aggregate([{"$project": {"_id": 1}}]).to_list() == [{"_id": "t2"}]
    for message_id in ("m1", "m2"):
        await store.threads.messages.merge("t2", message_id, content="x")
    await store.threads.messages.delete("t2", "m1")
    messages = store.documents.ThreadMessage
    assert [one.id for one in await messages.find(messages.thread_id == "t2").to_list()] == ["m2"]


@pytest.mark.parametrize(
    ("house", "name"), [("sessions", "Session"), ("threads", "Thread"), ("rooms", "Room")]
)
async def test_what_has_expired_is_not_shown(store: AsyncMongoStore, house: str, name: str) -> None:
    verbs, documents = getattr(store, house), getattr(store.documents, name)
    await verbs.create("gone", expires_in=timedelta(microseconds=1))
    await verbs.create("there", expires_in=timedelta(hours=1))
    await verbs.create("for good")
    assert {one.id.rpartition("/")[2] for one in await documents.find_all().to_list()} == {
        "there",
        "for good",
    }
    assert await documents.count() == 2


async def test_a_session_that_is_deleted_softly_is_shown_as_such(
    store: AsyncMongoStore, sessions: list[str]
) -> None:
    await store.sessions.soft_delete("s1")
    documents = store.documents.Session
    deleted = await documents.find(documents.deleted_at != None).to_list()  # noqa: E711
    assert [one.session_id for one in deleted] == ["s1"]
    assert await documents.find(documents.deleted_at == None).count() == 3  # noqa: E711


async def test_a_closed_store_has_no_documents(store: AsyncMongoStore) -> None:
    await store.close()
    with pytest.raises(NotOpenError):
        _ = store.documents
    await store.open()
    assert await store.documents.Session.find_all().count() == 0


async def test_an_application_links_sessions_from_its_own_documents(application: AsyncMongoStore) -> None:
    session = await Session.find_one(Session.session_id == "s3")
    assert session is not None
    inserted = await Order(session=session).insert()  # type: ignore[arg-type]
    order = await Order.get(inserted.id)
    assert order is not None
    linked = await order.session.fetch()
    assert isinstance(linked, Session)
    assert (linked.session_id, linked.active_at) == ("s3", session.active_at)


# The embedded engine joins no collections.
async def test_links_are_fetched_with_their_document_and_delete_no_session(
    server_store: AsyncMongoStore,
) -> None:
    await bind(server_store)
    await server_store.sessions.create("s3", user_id="ada")
    session: Any = await Session.get("default/s3")
    await Order(session=session, others=[session]).insert()
    order: Any = await Order.find_one(Order.session.user_id == "ada", fetch_links=True)  # type: ignore[attr-defined]
    assert (type(order.session), order.session.active_at) == (Session, session.active_at)
    assert [one.session_id for one in order.others] == ["s3"]
    with pytest.raises(UnsupportedError):
        await order.delete(link_rule=DeleteRules.DELETE_LINKS)
    assert await server_store.sessions.exists("s3")


async def test_a_subclass_has_the_members_of_its_own(application: AsyncMongoStore) -> None:
    collection = application.engine.database["sessions"]
    await collection.update_one({"_id": "default/s1"}, {"$set": {"tenant": "t1"}})
    ticket = await Ticket.find_one(Ticket.tenant == "t1")
    assert ticket is not None
    assert (ticket.session_id, ticket.tenant) == ("s1", "t1")


async def test_a_subclass_must_be_declared_before_its_parent_is_bound(application: AsyncMongoStore) -> None:
    with pytest.raises(TypeError, match="Late must be declared before init_beanie"):

        class Late(Session):
            tenant: str | None = None


async def test_an_application_drops_none_of_the_stores_indexes(application: AsyncMongoStore) -> None:
    assert [r for r in await application.check_indexes() if r.state != "present"] == []


WRITES: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "save": lambda session: session.save(),
    "replace": lambda session: session.replace(),
    "delete": lambda session: session.delete(),
    "insert": lambda session: session.insert(),
    "set": lambda session: session.set({"name": "x"}),
    "update of what is found": lambda session: Session.find_all().update({"$set": {"name": "x"}}),
    "deletion of what is found": lambda session: Session.find_all().delete(),
    "delete_all": lambda session: Session.delete_all(),
    "insert_many": lambda session: Session.insert_many([session]),
    "replace_many": lambda session: Session.replace_many([session]),
    "a link that writes": lambda session: Order(session=session).insert(link_rule=WriteRules.WRITE),
    "a subclass": lambda session: Ticket.find_all().delete(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_every_way_to_write_is_refused_with_a_pointer_to_the_store(
    application: AsyncMongoStore, write: Callable[[Any], Awaitable[Any]]
) -> None:
    session = await Session.get("default/s3")
    before = await application.sessions.get("s3")
    with pytest.raises(
        UnsupportedError, match=r"^sessions are only read through Beanie .+: use store\.sessions$"
    ):
        await write(session)
    assert await application.sessions.get("s3") == before


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.__name__)
async def test_the_collection_of_each_document_is_only_read_and_points_to_a_part_of_the_store(
    store: AsyncMongoStore, document: type[Document]
) -> None:
    bound = getattr(store.documents, document.__name__)
    with pytest.raises(UnsupportedError, match=r"use store\.[\w.]+$") as refused:
        bound.get_pymongo_collection().drop()
    path = str(refused.value).rpartition("use store.")[2]
    assert isinstance(attrgetter(path)(store), Repository)


def test_the_documents_are_named_as_the_members_of_a_store() -> None:
    assert {document.__name__ for document in DOCUMENTS} == {
        name for name in vars(beanie.Documents) if name[0].isupper()
    }
