"""What all values have in common, and the rules of each."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any, is_typeddict

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from mongostore import models
from mongostore.errors import InvalidDocumentError, InvalidValueError
from mongostore.models import (
    ApiKey,
    ChangeKind,
    Event,
    File,
    FullRoom,
    GeneratedId,
    IntegrationStatus,
    Lease,
    Message,
    Page,
    ReadMarker,
    ReplySummary,
    RetentionPolicy,
    Room,
    RoomState,
    Session,
    Thread,
    Turn,
)
from mongostore.models.model import Model
from mongostore.repositories.rooms.event_queries import event_filter
from mongostore.repositories.rooms.room_lookup import room_filter

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
PRIVATE = "what somebody has said"
# What makes one of each with the least that it needs.
NEEDED: dict[str, Any] = {
    **dict.fromkeys(("role", "content_hash", "participant_id", "identifier", "message_id", "room_id"), "x"),
    **dict.fromkeys(("id", "key", "name", "channel_id", "identity_id", "thread_id", "conversation_id"), "x"),
    **dict.fromkeys(("text", "token"), "x"),
    **dict.fromkeys(("created_at", "updated_at", "active_at", "bound_at"), NOON),
    **dict.fromkeys(("count", "first_position", "last_position", "in_tail", "in_segments", "segments"), 1),
    **{"start": 0, "end": 1, "bytes": 1, "outline": []},
    **{"value": 1, "namespaces": [], "results": [], "kind": "append"},
    **{"dry_run": False, "names": [], "counts": {}, "mode": "delete", "collection": "x", "relation": "owner"},
    "status": "failed",
    "last": {"id": "m", "conversation_id": "c", "role": "user", "text": "", "created_at": NOON},
    "session": {"id": "s", "created_at": NOON, "updated_at": NOON, "active_at": NOON},
}
VALUES = [
    value
    for name in models.__all__
    if inspect.isclass(value := getattr(models, name)) and issubclass(value, Model)
]
RECORDS: list[Any] = [
    File("k", 1, "text/plain", {}, NOON),
    Lease("n", "o", 1, 2.0),
    FullRoom(Room(id="r"), [], []),
    ReadMarker("r", "c", 1),
    RoomState("active", None, None),
    ReplySummary("e", 1, NOON),
    RetentionPolicy(),
]

every_value = pytest.mark.parametrize("model", VALUES, ids=lambda model: model.__name__)
every_record = pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)


def needed(model: type[BaseModel]) -> dict[str, Any]:
    """Return what a value must be given."""
    return {name: NEEDED[name] for name, member in model.model_fields.items() if member.is_required()}


def test_every_class_of_values_is_a_value_a_record_or_describes_arguments() -> None:
    others = {
        name
        for name in models.__all__
        if getattr(models, name) not in VALUES
        and getattr(models, name) not in {type(record) for record in RECORDS}
        and not is_typeddict(getattr(models, name))
    }
    literals = {"ErasureMode", "House", "ListOrder", "MessageStatus"}
    assert others - literals == {"ChangeKind", "IntegrationStatus", "Integrator", "GeneratedId", "Page"}


@every_value
def test_a_value_can_be_made_of_what_it_requires_alone(model: type[BaseModel]) -> None:
    assert model.model_validate(needed(model)).model_fields_set == needed(model).keys()


@every_value
def test_a_value_without_one_of_the_members_that_it_requires_is_refused(model: type[BaseModel]) -> None:
    for name in needed(model):
        members = {other: value for other, value in needed(model).items() if other != name}
        with pytest.raises(ValidationError) as refused:
            model.model_validate(members)
        assert [detail["loc"] for detail in refused.value.errors()] == [(name,)]


@every_value
def test_a_validation_error_does_not_carry_what_was_said(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate({name: {"said": PRIVATE} for name in model.model_fields})
    assert PRIVATE not in str(refused.value)


@every_value
def test_a_member_of_another_name_is_refused(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate({**needed(model), "contnet": PRIVATE})
    assert [detail["loc"] for detail in refused.value.errors()] == [("contnet",)]
    assert PRIVATE not in str(refused.value)


@every_value
def test_a_member_of_a_value_cannot_be_assigned(model: type[BaseModel]) -> None:
    value = model.model_validate(needed(model))
    for name in model.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(value, name, getattr(value, name))


@every_value
def test_a_time_without_a_zone_is_refused(model: type[BaseModel]) -> None:
    for name in model.model_fields:
        if name.endswith("_at"):
            with pytest.raises(ValidationError) as refused:
                model.model_validate({**needed(model), name: datetime(2026, 1, 1)})
            assert [detail["loc"] for detail in refused.value.errors()] == [(name,)]


@every_value
def test_equal_members_make_equal_values(model: type[BaseModel]) -> None:
    one = model.model_validate(needed(model))
    twin = model.model_validate(one.model_dump())
    assert twin == one
    assert twin is not one
    optional = {name for name, member in model.model_fields.items() if not member.is_required()}
    for name in optional:
        assert twin.model_copy(update={name: "another"}) != one


@every_value
def test_values_share_no_default_with_each_other(model: type[BaseModel]) -> None:
    one, other = model.model_validate(needed(model)), model.model_validate(needed(model))
    for name, member in model.model_fields.items():
        if not member.is_required() and isinstance(getattr(one, name), dict | list):
            assert getattr(one, name) is not getattr(other, name)


@every_value
def test_a_value_survives_the_way_between_processes_and_through_json(model: type[BaseModel]) -> None:
    one = model.model_validate(needed(model))
    assert pickle.loads(pickle.dumps(one)) == one
    assert model.model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize(
    "model", [value for value in VALUES if "id" in value.model_fields and "id" not in needed(value)]
)
def test_an_id_that_is_not_given_is_a_new_one_each_time(model: type[Any]) -> None:
    ids = {model(**needed(model)).id for _ in range(50)}
    assert len(ids) == 50
    assert {len(one) for one in ids} == {32}


@every_record
def test_a_record_cannot_be_changed(record: Any) -> None:
    for member in dataclasses.fields(record):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, member.name, None)


@every_record
def test_equal_records_are_equal_and_changed_copies_are_not(record: Any) -> None:
    assert dataclasses.replace(record) == record
    for member in dataclasses.fields(record):
        assert dataclasses.replace(record, **{member.name: "another"}) != record


def test_a_page_without_more_is_the_last_one_and_has_no_errors() -> None:
    page = Page([1, 2])
    assert (page.items, page.next_cursor, page.errors) == ([1, 2], None, [])


def test_a_page_is_read_like_a_list() -> None:
    page = Page(["a", "b", "c"], "next")
    assert [*page] == ["a", "b", "c"]
    assert (len(page), page[0], page[-1], page[1:]) == (3, "a", "c", ["b", "c"])
    assert "b" in page
    assert not Page([])


def test_equal_pages_are_equal() -> None:
    error = InvalidDocumentError("session", "s")
    page = Page([1], "next", [error])
    assert page == Page([1], "next", [error])
    assert page not in (Page([2], "next", [error]), Page([1], None, [error]), Page([1], "next"), [1])


def test_a_page_does_not_show_what_was_said() -> None:
    assert repr(Page([PRIVATE])) == "<Page of 1>"
    assert repr(Page([PRIVATE, PRIVATE], "next")) == "<Page of 2, more follow>"


def test_a_page_goes_through_json() -> None:
    pages = TypeAdapter(Page[Message])
    page = Page([Message(id="m", role="user", created_at=NOON)], "next")
    assert pages.validate_json(pages.dump_json(page)) == page
    assert pages.json_schema()["required"] == ["items", "next_cursor"]
    with pytest.raises(ValidationError):
        pages.validate_python({"items": [{"id": "m"}], "next_cursor": None})


def test_pages_do_not_share_their_errors() -> None:
    one, other = Page[int]([]), Page[int]([])
    one.errors.append(InvalidDocumentError("session", "s"))
    assert other.errors == []


def test_a_filter_that_says_nothing_means_all_but_what_is_blocked() -> None:
    assert event_filter("r", {}) == {
        "room_id": "r",
        "index": {"$gte": 0},
        "status": {"$ne": "blocked"},
    }
    assert room_filter({}) == {"state": "open"}


@pytest.mark.parametrize(
    ("value", "defaults"),
    [
        (Message(role="user"), {"conversation_id": "default", "content": None, "position": None}),
        (Room(), {"status": "active", "event_count": 0, "latest_index": None, "delivered_index": -1}),
        (
            Event(room_id="r", channel_id="c"),
            {"type": "message", "status": "delivered", "visibility": "all", "change": None},
        ),
        (
            Session(id="s", created_at=NOON, updated_at=NOON, active_at=NOON),
            {"namespace": "default", "count": 0},
        ),
        (Thread(id="t", created_at=NOON, active_at=NOON), {"kind": None, "tags": [], "user_id": None}),
        (Turn(role="user"), {"number": None, "content": None, "created_at": None}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Model) else None,
)
def test_what_is_not_given_has_its_default(value: Model, defaults: dict[str, Any]) -> None:
    assert {name: getattr(value, name) for name in defaults} == defaults


OPENAI: list[dict[str, Any]] = [
    {"role": "user", "content": "hi", "name": "ada"},
    {
        "role": "user",
        "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "b"}}],
    },
    {"role": "tool", "content": "42", "tool_call_id": "c1"},
    {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f"}}]},
    {"role": "assistant", "content": None, "refusal": "No.", "tool_calls": None},
    {"role": "assistant", "content": "", "id": "theirs", "metadata": {"a": 1}, "created_at": "then"},
]


@pytest.mark.parametrize("received", OPENAI, ids=lambda received: "+".join(received))
def test_a_message_of_openai_keeps_all_that_it_has(received: dict[str, Any]) -> None:
    message = Message.from_openai(received, id="m1", conversation_id="c", created_at=NOON)
    assert (message.id, message.conversation_id, message.created_at) == ("m1", "c", NOON)
    assert (message.role, message.content) == (received["role"], received.get("content"))
    assert message.to_openai() == received
    assert Message.model_validate_json(message.model_dump_json()).to_openai() == received


def test_a_message_of_openai_without_an_id_has_a_new_one() -> None:
    one, other = Message.from_openai(OPENAI[0]), Message.from_openai(OPENAI[0])
    assert one.id != other.id
    assert (one.conversation_id, one.created_at) == ("default", None)


def test_role_and_content_of_a_message_win_over_its_data() -> None:
    message = Message(role="user", content="hi", data={"role": "tool", "content": "no", "name": "ada"})
    assert message.to_openai() == {"role": "user", "content": "hi", "name": "ada"}


@pytest.mark.parametrize(
    ("message", "path"),
    [({}, "role"), ({"role": 5}, "role"), ("hi", "message"), (None, "message"), ([], "message")],
    ids=repr,
)
def test_what_is_no_message_of_openai_is_refused_by_its_path(message: Any, path: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        Message.from_openai(message)
    assert refused.value.path == path


@pytest.mark.parametrize("change", ["edit", "delete", None])
def test_an_event_may_edit_or_delete_or_neither(change: Any) -> None:
    assert Event(room_id="r", channel_id="c", change=change).change == change


def test_an_event_may_make_no_other_change() -> None:
    with pytest.raises(ValidationError, match="'edit' or 'delete'"):
        Event(room_id="r", channel_id="c", change="burn")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("namespaces", "allowed", "refused"),
    [
        (["*"], ["a", "*", ""], []),
        (["a", "b"], ["a", "b"], ["c", "*", "A", ""]),
        ([], [], ["a", "*"]),
        (["*", "a"], ["a", "*"], ["b"]),
    ],
    ids=["administrator", "some", "none", "a star among others"],
)
def test_a_key_allows_its_namespaces_and_the_star_alone_all(
    namespaces: list[str], allowed: list[str], refused: list[str]
) -> None:
    key = ApiKey(id="k", name="n", namespaces=namespaces, created_at=NOON)
    assert all(map(key.allows, allowed))
    assert not any(map(key.allows, refused))


@pytest.mark.parametrize("kind", [*ChangeKind, *IntegrationStatus], ids=str)
def test_a_kind_is_the_text_that_it_stands_for(kind: Any) -> None:
    assert kind == str(kind) == kind.name.lower()


def test_a_generated_id_is_used_once() -> None:
    generated = GeneratedId()
    assert [generated.claim(), generated.claim()] == [True, False]


def test_a_text_is_equal_to_the_generated_id_and_is_its_key() -> None:
    generated = GeneratedId()
    assert {generated: 1}[str(generated)] == 1


_FORKS = """
import os, signal, threading
from mongostore import Message

busy = True

def build():
    while busy:
        Message.model_rebuild(force=True)

builder = threading.Thread(target=build)
builder.start()
for _ in range(40):
    if not (pid := os.fork()):
        signal.alarm(30)
        Message.model_rebuild(force=True)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        print("a fork waits for ever")
        break
busy = False
builder.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_beside_the_building_of_a_model_can_build_it() -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _FORKS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
