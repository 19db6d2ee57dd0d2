"""What role threads take: any JSON, nothing half, and nothing of what is said shows in errors and logs."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mongostore import AlreadyExistsError, InvalidValueError, MongoStore, MongoStoreError
from mongostore.adapters import threadmem
from mongostore.adapters.threadmem import RoleMessage, RoleThread, V1Role, V1RoleThread
from mongostore.testing.threadmem.values import give_and_take, objects

SECRET = "topsecret"
HALF = "\ud83d"
HUGE = 10**5000

pytestmark = pytest.mark.usefixtures("role_store")

# Any text, with halves of surrogate pairs.
TEXTS = st.text(st.characters(exclude_categories=[]), max_size=6)
OBJECTS = objects(TEXTS)


def role(name: str = "boss") -> V1Role:
    return V1Role(name=name, user_id="u1", user_name="Ada", icon="icon.png")


@given(OBJECTS, OBJECTS, TEXTS)
@settings(deadline=None, max_examples=40)
def test_json_with_halves_of_characters_comes_back(
    first: dict[str, Any], second: dict[str, Any], name: str
) -> None:
    give_and_take(threadmem, first, second, name)


def test_nan_alone_is_no_change() -> None:
    thread = RoleThread(metadata={"k": math.nan})
    [found] = RoleThread.find(id=thread.id)
    before = found.to_record().updated
    found.post("user", "", metadata={"k": math.nan})
    [message] = found.messages()
    assert message.metadata is not None
    message.save()
    assert found.to_record().updated == max(before, message.created)


class Odd(str):
    pass


BAD_OBJECTS: list[Any] = [
    [1],
    "text",
    5,
    {1: 2},
    {"k": {1: 2}},
    {"k": object()},
    {"k": (1,)},
    {"k": {1}},
    {"k": b"x"},
    {"k": HUGE},
    {Odd("k"): 1},
]


def str_of(value: object) -> str:
    return "huge" if value in (HUGE, {"k": HUGE}) else ascii(value)[:20]


BAD_TEXTS: list[Any] = [None, 5, b"x", ["x"], HALF, "a" + HALF]


@pytest.fixture
def thread() -> RoleThread:
    made = RoleThread("ada", name="name", metadata={"k": 1})
    made.post("user", "said")
    return made


def is_as_it_was(thread: RoleThread) -> None:
    [found] = RoleThread.find(id=thread.id)
    assert (found.name, found.metadata, found.public) == ("name", {"k": 1}, False)
    assert [message.text for message in found.messages()] == ["said"]
    assert found.role_mapping == {}


@pytest.mark.parametrize("metadata", BAD_OBJECTS, ids=str_of)
def test_what_are_no_metadata_is_refused_whole(thread: RoleThread, metadata: Any) -> None:
    texts = uuid4().hex
    for call in (
        lambda: RoleMessage("user", texts, metadata=metadata),
        lambda: RoleThread(name=texts, metadata=metadata),
        lambda: RoleThread.create(name=texts, metadata=metadata),
        lambda: thread.post("user", texts, metadata=metadata),
    ):
        with pytest.raises(InvalidValueError, match=r"^metadata") as raised:
            call()  # type: ignore[no-untyped-call]
        assert raised.value.path.startswith("metadata")
    assert RoleMessage.find(text=texts) == RoleThread.find(name=texts) == []
    thread.metadata, thread.name = metadata, "new"
    for call in (thread.save, lambda: thread.post("user", texts), lambda: thread.add_role(role())):
        with pytest.raises(InvalidValueError, match=r"^metadata"):
            call()  # type: ignore[no-untyped-call]
    is_as_it_was(thread)


@pytest.mark.parametrize("text", BAD_TEXTS, ids=ascii)
def test_what_is_no_text_is_refused(thread: RoleThread, text: Any) -> None:
    count = len(RoleMessage.find())
    for name, call in (
        ("text", lambda: RoleMessage("user", text)),
        ("role", lambda: RoleMessage(text, "x")),
        ("text", lambda: thread.post("user", text)),
        ("role", lambda: thread.post(text, "x")),
    ):
        with pytest.raises(InvalidValueError) as raised:
            call()  # type: ignore[no-untyped-call]
        assert raised.value.path == name
    assert len(RoleMessage.find()) == count
    is_as_it_was(thread)


@pytest.mark.parametrize("private", [0, 1, 1.0, "yes", [], {}])
def test_what_is_neither_private_nor_not_is_refused(thread: RoleThread, private: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"^private: "):
        thread.post("user", "x", private=private)
    with pytest.raises(InvalidValueError, match=r"^private: "):
        RoleMessage("user", "x", private=private)
    is_as_it_was(thread)


@pytest.mark.parametrize("created", [None, "now", True, math.nan, math.inf, -(10.0**15), HUGE], ids=str_of)
def test_what_is_no_time_is_refused(thread: RoleThread, created: Any) -> None:
    message = RoleMessage("user", "x")
    before = message.created
    message.created = created
    with pytest.raises(InvalidValueError, match=r"^created: "):
        message.save()
    assert RoleMessage.find(id=message.id)[0].created == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("owner_id", value) for value in (5, HALF, "x" * 513, ["x"])],
        *[("name", value) for value in (5, b"x", ["x"])],
        *[("public", value) for value in (1, None, "yes")],
        *[("role_mapping", value) for value in ({"a": {"name": "a"}}, {5: role()}, {"a": None})],
    ],
    ids=str_of,
)
def test_what_no_thread_can_have_is_refused(name: str, value: Any) -> None:
    count = len(RoleThread.find())
    with pytest.raises(InvalidValueError, match=f"^{name}: "):
        RoleThread(**{name: value})
    assert len(RoleThread.find()) == count


@pytest.mark.parametrize("any_role", [None, "boss", {"name": "boss"}, RoleThread])
def test_what_is_no_role_is_refused(thread: RoleThread, any_role: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"^role: "):
        thread.add_role(any_role)
    is_as_it_was(thread)


@pytest.mark.parametrize("id", [HALF, "x" * 513], ids=str_of)
def test_what_is_no_id_is_refused(id: str) -> None:
    with pytest.raises(InvalidValueError):
        RoleThread.create(id)
    with pytest.raises(InvalidValueError):
        RoleMessage("user", "x", id)


def test_an_id_is_taken_once() -> None:
    thread = RoleThread.create(name="mine")
    with pytest.raises(AlreadyExistsError):
        RoleThread.create(thread.id, name="yours")
    assert RoleThread.find(id=thread.id)[0].name == "mine"


@pytest.mark.parametrize(
    "last",
    [
        {"role": "user"},
        {"role": 5, "content": "x"},
        {"role": "user", "content": HALF},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": 5}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "nowhere.png"}}]},
        5,
    ],
)
def test_of_messages_of_openais_with_a_bad_one_nothing_is_saved(last: Any) -> None:
    threads, messages = len(RoleThread.find()), len(RoleMessage.find())
    with pytest.raises((InvalidValueError, FileNotFoundError)):
        RoleThread.from_openai([{"role": "user", "content": "good"}, last])
    assert (len(RoleThread.find()), len(RoleMessage.find())) == (threads, messages)


def failing(tmp_path: Path) -> list[Callable[[], object]]:
    """Calls that fail, with secrets in all that they are given."""
    (tmp_path / "image.png").write_text(SECRET)
    thread = RoleThread(name=SECRET, owner_id=SECRET, metadata={"k": SECRET})
    thread.post("user", SECRET)
    [message] = thread.messages()
    deleted = RoleThread(name=SECRET)
    deleted.delete()
    broken = thread.to_record()
    broken.meta_data = f'{{"{SECRET}'
    return [
        lambda: thread.post("user", SECRET + HALF),
        lambda: thread.post("user", SECRET, metadata={"k": {SECRET}}),
        lambda: thread.post("user", SECRET, [SECRET]),
        lambda: thread.post("user", SECRET, [f"data:image/png;base64,{SECRET}{HALF}"]),
        lambda: thread.post("user", SECRET, [str(tmp_path / "image.png")]),
        lambda: thread.post("user", SECRET * 2_000_000),
        lambda: thread.post("user", SECRET, private=SECRET),  # type: ignore[arg-type]
        lambda: deleted.post("user", SECRET),
        lambda: RoleMessage("user", SECRET, [SECRET]),  # type: ignore[arg-type]
        lambda: RoleMessage(SECRET, SECRET, "x" * 600),
        lambda: RoleMessage.from_openai({"role": "user", "content": [{"text": SECRET}]}),
        lambda: RoleThread(name=SECRET, metadata=[SECRET]),  # type: ignore[arg-type]
        lambda: RoleThread(owner_id=SECRET * 600),
        lambda: thread.add_role(SECRET),  # type: ignore[arg-type]
        lambda: setattr(message, "thread_id", "elsewhere") or message.save(),  # type: ignore[func-returns-value]
        lambda: RoleThread.find(version=SECRET, **{"nothing": SECRET}),
    ]


def test_no_error_or_log_says_what_was_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for call in failing(tmp_path):
        with pytest.raises((MongoStoreError, FileNotFoundError)) as raised:
            call()
        error: BaseException | None = raised.value
        while error is not None:
            assert SECRET not in repr(error)
            error = None if error.__suppress_context__ else error.__context__
    thread = RoleThread(name=SECRET, metadata={"k": SECRET}, role_mapping={SECRET: role(SECRET)})
    thread.post("user", SECRET, [f"data:,{SECRET}"])
    assert RoleMessage.find(text=SECRET)
    thread.delete()
    ours = [record for record in caplog.records if not record.name.startswith(("pymongo", "asyncio"))]
    assert not [record.name for record in ours if SECRET in record.getMessage()]
    assert SECRET not in "".join(capsys.readouterr())


def test_what_others_have_written_into_a_thread_is_passed_over(role_store: MongoStore) -> None:
    thread = RoleThread(name="name")
    thread.post("user", "said")
    role_store.threads.messages.merge(thread.id, uuid4().hex, content="no role message", only_missing=True)
    role_store.threads.merge(thread.id, data={"else": 1}, metadata={"else": 2})
    [found] = RoleThread.find(id=thread.id)
    assert [message.text for message in found.messages()] == ["said"]
    found.name = "new"
    found.save()
    remaining = role_store.threads.get(thread.id)
    assert (remaining.data["else"], remaining.metadata) == (1, {"else": 2})


def test_a_schema_of_a_thread_is_refused_whole(role_store: MongoStore) -> None:
    schema = V1RoleThread(id=uuid4().hex, public=False, messages=[], created=1.0, updated=1.0)
    made = RoleThread.from_v1(schema)
    made.metadata = {"k": HUGE}
    with pytest.raises(InvalidValueError):
        made.save()
    assert role_store.threads.find(schema.id) is None
