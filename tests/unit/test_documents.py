"""What all stored forms have in common, entity by entity, with no store and no server."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, create_model

from mongostore.codec import (
    encode_members,
    encode_object,
    escape_key,
    to_micros,
)
from mongostore.documents import identities, keys, mapping, room_parts, rooms, sessions, threads
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.session_participants import StoredParticipant
from mongostore.engines.embedded.operators import deep_copy
from mongostore.errors import DocumentTooLargeError, InvalidDocumentError, InvalidValueError
from mongostore.models import (
    ApiKey,
    Binding,
    Element,
    Event,
    Feedback,
    Identity,
    Message,
    Observation,
    Preview,
    Room,
    RoomParticipant,
    Session,
    SessionParticipant,
    Task,
    Thread,
    ThreadMessage,
    User,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = 1_700_000_000_123_456
NOON = EPOCH + timedelta(microseconds=NOW)
LATER = NOON + timedelta(days=400, microseconds=1)
EARLY = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
PRIVATE = "what somebody has said"


def nested(depth: int) -> Any:
    """Return a list in lists, so many levels deep."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


# What BSON holds otherwise, or not at all.
ODD: dict[str, Any] = {
    "": "an empty key",
    "a.b": {"$set": 1, "c.d": [None, True, 1.5]},
    "$where": "%2E;",
    "%": "50%",
    "__json__": "a mark",
    "marked": {"__json__": "[1]"},
    "half \ud800": "\udfff",
    "\0": "a\0b",
    "small": 2**40,
    "large": 2**70,
    "deep": nested(150),
    "nothing": None,
    "é": "日本",
}


@dataclass(frozen=True)
class Entity:
    """One kind of value, and how it gets into a document and out of it.

    Attributes:
        full: A value with every member set.
        least: One with the required members alone, and its id.
        keep: Returns the document of a value, as a store completes it.
        read: Returns the value of a document.
        fields: The declared members of the document.
        spoilt: The members that are named when they do not fit.
        names: The members that name the document in an error.
        given: What the store gives to a value that lacks it.
    """

    full: Any
    least: Any
    keep: Callable[[Any], StoredDocument]
    read: Callable[[StoredDocument], Any]
    fields: type[BaseModel]
    spoilt: str
    names: str = "_id"
    sent: dict[str, Any] = field(default_factory=dict)


def keep_room(room: Room) -> StoredDocument:
    moved = {name: getattr(room, name) for name in ("event_count", "latest_index", "delivered_index")}
    log = {"epoch": "life", "log": "log", "listed_at": rooms.second_of(NOW)}
    return {"_id": room.id, **rooms.to_stored_room(room, NOW), **moved, **log}


def keep_event(event: Event) -> StoredDocument:
    position = {"index": event.index or 0, "epoch": "life", "log": "log", "log_index": 0, "counters": {}}
    return {**rooms.to_stored_event(event, NOW), **position, "op": "t"}


MEMBER = {"position": 0, "room_is_closed": False, "room_created_at": NOW, "stored_at": NOW, "epoch": "life"}


def keep_binding(binding: Binding) -> StoredDocument:
    key = rooms.part_id(binding.room_id, binding.channel_id)
    return {"_id": key, **rooms.to_stored_binding(binding), **MEMBER}


def keep_participant(participant: RoomParticipant) -> StoredDocument:
    key = rooms.part_id(participant.room_id, participant.id)
    return {"_id": key, **rooms.to_stored_participant(participant), **MEMBER}


def keep_user(user: User) -> StoredDocument:
    return {
        "_id": user.id,
        "identifier": user.identifier,
        "metadata": encode_object("metadata", user.metadata),
        "created_at": to_micros("created_at", user.created_at),
    }


def keep_thread(thread: Thread) -> StoredDocument:
    members = {
        name: threads.to_stored_thread_member(name, value)
        for name in ("kind", "owner_id", "user_id", "name", "tags", "expires_at")
        if (value := getattr(thread, name)) is not None
    }
    return {
        "_id": thread.id,
        **members,
        "user_identifier": thread.user_identifier,
        "created_at": to_micros("created_at", thread.created_at),
        "active_at": to_micros("active_at", thread.active_at),
        "data": encode_members("data", thread.data),
        "metadata": encode_members("metadata", thread.metadata),
    }


def keep_thread_message(message: ThreadMessage) -> StoredDocument:
    document: StoredDocument = {
        "_id": message.id,
        "thread_id": message.thread_id,
        "created_at": NOW,
        "data": {},
    }
    members = {
        name: value
        for name in ("kind", "parent_id", "content", "data", "pinned", "created_at")
        if (value := getattr(message, name)) is not None
    }
    for path, value in threads.to_stored_message_members(members).items():
        parent, _, name = path.partition(".")
        (document[parent] if name else document)[name or parent] = value
    if message.feedback is not None:
        document["feedback"] = threads.to_stored_feedback(message.feedback)
    return document


def keep_element(element: Element) -> StoredDocument:
    return {**threads.to_stored_element(element), "created_at": NOW}


def keep_key(key: ApiKey) -> StoredDocument:
    expires_at = None if key.expires_at is None else to_micros("expires_at", key.expires_at)
    members = {"name": key.name, "owner_id": key.owner_id, "namespaces": key.namespaces}
    times = {"created_at": to_micros("created_at", key.created_at), "expires_at": expires_at}
    return {"_id": key.id, **members, **times, "secret_hash": b"hash"}


def keep_session(session: Session) -> StoredDocument:
    deleted_at = None if session.deleted_at is None else to_micros("deleted_at", session.deleted_at)
    last = session.last and {
        **session.last.model_dump(),
        "created_at": to_micros("created_at", session.last.created_at),
    }
    return sessions.to_new_session(
        {
            "_id": f"{session.namespace}/{session.id}",
            "namespace": session.namespace,
            "session_id": session.id,
            **sessions.to_stored_members(
                {
                    name: getattr(session, name)
                    for name in ("user_id", "name", "description", "data", "expires_at")
                }
            ),
            "metadata": encode_members("metadata", session.metadata),
            "participants": {
                escape_key(one.id): StoredParticipant(
                    bound_at=to_micros("bound_at", one.bound_at),
                    epoch=f"b{number}",
                    turn_count=one.turn_count,
                    integrated_until=one.integrated_until or 0,
                ).model_dump()
                for number, one in enumerate(session.participants)
            },
            "context": {"value": [], "overflow": None} if session.has_context else None,
            "message_count": session.count,
            "last": last,
            "revision": session.revision,
            "created_at": to_micros("created_at", session.created_at),
            "updated_at": to_micros("updated_at", session.updated_at),
            "active_at": to_micros("active_at", session.active_at),
            "deleted_at": deleted_at,
            "epoch": "g",
            "create_op": "o",
        }
    )


def keep_message(message: Message) -> StoredDocument:
    return sessions.to_stored_message(message, NOW)


def read_message(document: StoredDocument) -> Message:
    messages, errors = sessions.to_messages([(4, document)])
    if errors:
        raise errors[0]
    return messages[0]


ENTITIES = {
    "room": Entity(
        Room(
            id="r1",
            organization_id="o1",
            name="name",
            status="paused",
            created_at=EARLY,
            updated_at=NOON,
            paused_at=NOON + timedelta(seconds=1),
            closed_at=NOON + timedelta(seconds=2),
            expires_at=NOON + timedelta(seconds=3),
            active_at=LATER,
            data=ODD,
            metadata=ODD,
            event_count=3,
            latest_index=4,
            delivered_index=2,
        ),
        Room(id="r2"),
        keep_room,
        rooms.to_room,
        rooms.StoredRoom,
        "status",
        sent={"created_at": NOON, "updated_at": NOON},
    ),
    "event": Entity(
        Event(
            id="e1",
            room_id="r1",
            index=7,
            type="edit",
            status="pending",
            visibility="",
            channel_id="c1",
            channel_type="sms",
            participant_id="p1",
            content=[ODD],
            parent_event_id="e2",
            responds_to="e3",
            correlation_id="k1",
            idempotency_key="i1",
            change="edit",
            target_event_id="e4",
            created_at=LATER,
            data=ODD,
            metadata=ODD,
            delivery_results=ODD,
        ),
        Event(id="e5", room_id="r1", channel_id="c1"),
        keep_event,
        rooms.to_event,
        rooms.StoredEvent,
        "visibility",
        sent={"created_at": NOON, "index": 0},
    ),
    "binding": Entity(
        Binding(
            room_id="r1",
            channel_id="c1",
            channel_type="sms",
            participant_id="p1",
            group=True,
            data=ODD,
            metadata=ODD,
        ),
        Binding(room_id="r1", channel_id="c2"),
        keep_binding,
        rooms.to_binding,
        rooms.StoredBinding,
        "channel_type",
        names="channel_id",
    ),
    "participant": Entity(
        RoomParticipant(room_id="r1", id="p1", identity_id="i1", channel_ids=["c1", "c2"], data=ODD),
        RoomParticipant(room_id="r1", id="p2"),
        keep_participant,
        rooms.to_participant,
        rooms.StoredRoomParticipant,
        "identity_id",
        names="participant_id",
    ),
    "identity": Entity(
        Identity(id="i1", organization_id="o1", addresses={"e.mail": ["a@b.c", ""], "": []}, data=ODD),
        Identity(id="i2"),
        lambda identity: {**identities.to_stored_identity(identity), "op": "t"},
        identities.to_identity,
        identities.StoredIdentity,
        "organization_id",
    ),
    "verification": Entity(
        Verification(identity_id="i1", organization_id="o1", status="verified", expires_at=LATER, data=ODD),
        Verification(identity_id="i2", status="unverified"),
        identities.to_stored_verification,
        identities.to_verification,
        identities.StoredVerification,
        "status",
    ),
    "request": Entity(
        VerificationRequest(id="q1", identity_id="i1", data=ODD),
        VerificationRequest(id="q2", identity_id="i1"),
        lambda request: {**identities.to_stored_request(request), "op": "t"},
        identities.to_request,
        identities.StoredRequest,
        "identity_id",
    ),
    "task": Entity(
        Task(id="t1", room_id="r1", status="done", data=ODD),
        Task(id="t2", room_id="r1"),
        lambda task: {**room_parts.to_stored_task(task), "position": 3, "stored_at": NOW, "ops": ["t"]},
        room_parts.to_task,
        room_parts.StoredTask,
        "status",
    ),
    "observation": Entity(
        Observation(id="n1", room_id="r1", data=ODD),
        Observation(id="n2", room_id="r1"),
        lambda observation: {
            **room_parts.to_stored_observation(observation),
            "position": 3,
            "stored_at": NOW,
            "ops": ["t"],
        },
        room_parts.to_observation,
        room_parts.StoredObservation,
        "room_id",
    ),
    "voice delivery": Entity(
        VoiceDelivery(
            room_id="r1", key="k1", content_hash="h", attempt_id="a", outcome=ODD, retryable=True, data=ODD
        ),
        VoiceDelivery(room_id="r1", key="k2", content_hash="h"),
        room_parts.to_stored_delivery,
        room_parts.to_delivery,
        room_parts.StoredVoiceDelivery,
        "attempt_id",
    ),
    "user": Entity(
        User(id="u1", identifier="a@b.c", metadata=ODD, created_at=EARLY),
        User(id="u2", identifier="", created_at=NOON),
        keep_user,
        threads.to_user,
        threads.StoredUser,
        "identifier",
    ),
    "thread": Entity(
        Thread(
            id="t1",
            kind="chat",
            owner_id="w1",
            user_id="u1",
            user_identifier="a@b.c",
            name="a name",
            tags=["a", ""],
            created_at=EARLY,
            active_at=LATER,
            expires_at=LATER + timedelta(days=1),
            data=ODD,
            metadata=ODD,
        ),
        Thread(id="t2", created_at=NOON, active_at=NOON),
        keep_thread,
        threads.to_thread,
        threads.StoredThread,
        "kind",
    ),
    "thread message": Entity(
        ThreadMessage(
            id="m1",
            thread_id="t1",
            kind="run",
            parent_id="m0",
            content=[ODD],
            data=ODD,
            pinned=True,
            created_at=EARLY,
            feedback=Feedback(id="f1", thread_id="t1", message_id="m1", value=-(2**63), comment="so so"),
        ),
        ThreadMessage(id="m2"),
        keep_thread_message,
        threads.to_thread_message,
        threads.StoredThreadMessage,
        "parent_id",
        sent={"created_at": NOON},
    ),
    "element": Entity(
        Element(id="l1", thread_id="t1", message_id="m1", file_key="a/b", data=ODD),
        Element(id="l2", thread_id="t1", message_id="m1"),
        keep_element,
        threads.to_element,
        threads.StoredElement,
        "file_key",
    ),
    "key": Entity(
        ApiKey(id="k1", name="n", owner_id="w1", namespaces=["a", "b"], created_at=EARLY, expires_at=LATER),
        ApiKey(id="k2", name="n", namespaces=[], created_at=NOON),
        keep_key,
        keys.to_key,
        keys.StoredKey,
        "name",
    ),
    "session": Entity(
        Session(
            id="s1",
            namespace="n1",
            user_id="u1",
            name="a name",
            description="more",
            data=ODD,
            metadata=ODD,
            participants=[
                SessionParticipant(
                    id="p.1",
                    bound_at=NOON,
                    turn_count=3,
                    integrated_until=2,
                ),
                SessionParticipant(id="", bound_at=EARLY),
            ],
            count=5,
            last=Preview(id="m1", conversation_id="c1", role="user", text="hi", created_at=EARLY),
            has_context=True,
            revision=9,
            created_at=EARLY,
            updated_at=EARLY,
            active_at=NOON,
            deleted_at=LATER,
            expires_at=LATER + timedelta(days=1),
        ),
        Session(id="s2", created_at=NOON, updated_at=NOON, active_at=NOON),
        keep_session,
        sessions.to_session,
        sessions.StoredSession,
        "user_id",
    ),
    "message": Entity(
        Message(
            id="m1",
            conversation_id="c1",
            role="tool",
            content=[ODD],
            data=ODD,
            metadata=ODD,
            created_at=EARLY,
            updated_at=LATER,
            status="interrupted",
            position=4,
        ),
        Message(id="m2", role="user"),
        keep_message,
        read_message,
        sessions.StoredMessage,
        "role",
        names="id",
        sent={"created_at": NOON, "updated_at": NOON, "position": 4},
    ),
}
TAKES_VALUES: dict[str, Callable[[Any], Any]] = {
    "room": lambda value: rooms.to_stored_room(value, NOW),
    "event": lambda value: rooms.to_stored_event(value, NOW),
    "binding": rooms.to_stored_binding,
    "participant": rooms.to_stored_participant,
    "identity": identities.to_stored_identity,
    "verification": identities.to_stored_verification,
    "request": identities.to_stored_request,
    "task": room_parts.to_stored_task,
    "observation": room_parts.to_stored_observation,
    "delivery": room_parts.to_stored_delivery,
    "element": threads.to_stored_element,
    "feedback": threads.to_stored_feedback,
    "message": lambda value: sessions.to_stored_message(value, NOW),
}

every_entity = pytest.mark.parametrize("entity", ENTITIES.values(), ids=ENTITIES)


def kinds(value: Any) -> Any:
    """Return the types of all that is in a JSON value, so that 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    if isinstance(value, list):
        return [kinds(item) for item in value]
    return type(value)


@every_entity
def test_the_full_value_sets_every_member_otherwise_than_by_default(entity: Entity) -> None:
    stored = {name: one for name, one in type(entity.full).model_fields.items() if not one.exclude}
    for name, member in stored.items():
        assert name in entity.full.model_fields_set
        if not member.is_required():
            assert getattr(entity.full, name) != member.get_default(call_default_factory=True)


@every_entity
def test_a_value_with_every_member_comes_back_equal(entity: Entity) -> None:
    read = entity.read(deep_copy(entity.keep(entity.full)))
    assert read == entity.full
    assert kinds(read.model_dump()) == kinds(entity.full.model_dump())


@every_entity
def test_a_value_with_the_required_members_alone_comes_back_equal(entity: Entity) -> None:
    read = entity.read(deep_copy(entity.keep(entity.least)))
    assert read == entity.least.model_copy(update=entity.sent)


@every_entity
def test_the_stored_form_has_declared_members_alone(entity: Entity) -> None:
    assert {*entity.keep(entity.full)} - {"_id"} <= {*entity.fields.model_fields}


@every_entity
def test_the_stored_form_fits_the_declared_document(entity: Entity) -> None:
    for value in (entity.full, entity.least):
        document = deep_copy(entity.keep(value))
        named = {**document, **threads.feedback_of(document), "id": document[entity.names]}
        entity.fields.model_validate(named, strict=True, extra="ignore")


@every_entity
def test_a_time_is_stored_as_an_integer(entity: Entity) -> None:
    document = entity.keep(entity.full)
    times = [
        document[name] for name in document.keys() & type(entity.full).model_fields if name.endswith("_at")
    ]
    assert all(type(time) is int for time in times)


@every_entity
def test_a_member_of_a_newer_version_is_passed_over(entity: Entity) -> None:
    document = deep_copy({**entity.keep(entity.full), "from_the_future": {"a": 1}})
    assert entity.read(document) == entity.full


@every_entity
def test_reading_leaves_the_document_as_it_is(entity: Entity) -> None:
    document = deep_copy(entity.keep(entity.full))
    entity.read(document)
    assert document == deep_copy(entity.keep(entity.full))


@every_entity
def test_an_unreadable_member_is_named_without_what_is_stored_in_it(entity: Entity) -> None:
    document = deep_copy({**entity.keep(entity.full), entity.spoilt: {"said": PRIVATE}})
    with pytest.raises(InvalidDocumentError) as raised:
        entity.read(document)
    assert raised.value.fields == (entity.spoilt,)
    assert raised.value.id == str(document[entity.names])
    assert str(raised.value).endswith(f"cannot be read: {entity.spoilt}")
    assert PRIVATE not in "".join(traceback.format_exception(raised.value))
    # What pydantic or Python says of it is not shown either.
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None or raised.value.__suppress_context__


def refusal(entity: Entity, document: StoredDocument) -> InvalidDocumentError | None:
    """Return the error with which a document is refused, None where it is read."""
    try:
        entity.read(document)
    except InvalidDocumentError as error:
        return error
    return None


SPOILS: dict[str, Any] = {
    "text": PRIVATE,
    "document": {"said": PRIVATE},
    "list": [PRIVATE],
    "broken JSON": {"__json__": PRIVATE},
    "JSON of another kind": {"__json__": f'"{PRIVATE}"'},
    "no character": {f"%FFFFFFFFFFFFFFFFFFFF;{PRIVATE}": 1},
    "nothing": None,
    "large number": 2**62,
    "bytes": PRIVATE.encode(),
}


@every_entity
@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_whatever_is_in_a_member_it_is_read_or_refused_without_being_told(entity: Entity, spoil: Any) -> None:
    whole = deep_copy(entity.keep(entity.full))
    for name in whole.keys() - {entity.names}:
        error = refusal(entity, {**whole, name: spoil})
        assert error is None or PRIVATE not in "".join(traceback.format_exception(error)), name


@every_entity
def test_whatever_member_is_missing_the_document_is_read_or_refused_by_its_id(entity: Entity) -> None:
    whole = deep_copy(entity.keep(entity.full))
    for name in whole.keys() - {entity.names}:
        error = refusal(entity, {other: value for other, value in whole.items() if other != name})
        assert error is None or error.id == str(whole[entity.names]), name


@every_entity
def test_a_document_without_one_of_the_members_that_a_value_requires_is_refused(entity: Entity) -> None:
    whole = deep_copy(entity.keep(entity.full))
    required = {name for name, member in type(entity.full).model_fields.items() if member.is_required()}
    for name in (required & whole.keys()) - {entity.names}:
        assert refusal(entity, {other: value for other, value in whole.items() if other != name}), name


@pytest.mark.parametrize("what", TAKES_VALUES)
def test_what_is_no_value_of_ours_is_refused_by_its_type(what: str) -> None:
    with pytest.raises(InvalidValueError, match=r"must be an? \w+, not dict") as refused:
        TAKES_VALUES[what]({"id": PRIVATE})
    assert refused.value.path == what
    assert PRIVATE not in str(refused.value)


VALUES = {
    **{name: entity.least for name, entity in ENTITIES.items() if name in TAKES_VALUES},
    "delivery": ENTITIES["voice delivery"].least,
    "feedback": Feedback(id="f", message_id="m", value=1),
}


@pytest.mark.parametrize("what", TAKES_VALUES)
def test_a_subclass_whose_own_members_would_be_lost_is_refused_and_another_is_not(what: str) -> None:
    value = VALUES[what]
    more = create_model("More", __base__=type(value), mood=(str, PRIVATE))
    with pytest.raises(InvalidValueError, match=r"^\S+: no \w+ has mood: put them into data$"):
        TAKES_VALUES[what](more(**value.model_dump()))
    same = create_model("Same", __base__=type(value))
    assert TAKES_VALUES[what](same(**value.model_dump())) == TAKES_VALUES[what](value)


def has_data(entity: Entity) -> bool:
    return "data" in type(entity.full).model_fields


@pytest.mark.parametrize("name", [name for name, entity in ENTITIES.items() if has_data(entity)])
@pytest.mark.parametrize("data", [{"a": {1}}, {"a": 1j}, {1: "a"}, ["a"], "a", 1], ids=repr)
def test_data_that_json_cannot_say_are_refused_by_their_path(name: str, data: Any) -> None:
    value = ENTITIES[name].least.model_copy(update={"data": data})
    with pytest.raises(InvalidValueError) as refused:
        ENTITIES[name].keep(value)
    assert refused.value.path.partition(".")[0] == "data"


def test_what_takes_the_limit_passes_and_what_takes_a_byte_more_is_refused() -> None:
    size = mapping.bson_size("a document", {"a": "x"})
    assert mapping.check_size("a document", {"a": "x"}, size) == size
    with pytest.raises(DocumentTooLargeError) as refused:
        mapping.check_size("a document", {"a": "xx"}, size)
    assert (refused.value.what, refused.value.size, refused.value.limit) == ("a document", size + 1, size)


@pytest.mark.parametrize(
    "value",
    [object(), 2**64, {"a": {1}}, "\ud800", {1: "a"}, nested(10**5)],
    ids=lambda value: type(value).__name__,
)
def test_what_bson_cannot_hold_is_refused_by_its_path(value: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"^a\.b: cannot be stored \(\w+\)$"):
        mapping.bson_size("a.b", {"value": value})


def test_a_document_larger_than_a_server_takes_is_refused_by_its_name() -> None:
    half = "x" * (mapping.MAX_VALUE_BYTES // 2)
    assert mapping.check_fits("the task", {"data": half})["data"] is half
    with pytest.raises(DocumentTooLargeError, match=r"^task 't1' takes"):
        room_parts.to_stored_task(Task(id="t1", room_id="r", data={"a": half, "b": half}))


def test_the_fields_of_an_error_are_named_once_and_in_order() -> None:
    document = keep_thread(ENTITIES["thread"].full) | {"tags": [1, 2], "owner_id": 3, "kind": 4}
    with pytest.raises(InvalidDocumentError) as raised:
        threads.to_thread(document)
    assert raised.value.fields == ("kind", "owner_id", "tags.0", "tags.1")


def test_an_error_that_is_no_validation_names_no_fields() -> None:
    assert mapping.invalid_fields(KeyError("a")) == ()
