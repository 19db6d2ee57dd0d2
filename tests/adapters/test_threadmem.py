"""What a role thread promises, on every engine."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from mongostore import AlreadyExistsError, InvalidValueError, MongoStore, NotFoundError
from mongostore.adapters.threadmem import (
    RoleMessage,
    RoleThread,
    Thread,
    V1Role,
    V1RoleThread,
    V1UpdateRoleThread,
)

URL = "https://example.com/a.png"

pytestmark = pytest.mark.usefixtures("role_store")


def again(thread: RoleThread) -> RoleThread:
    """The thread as another process sees it."""
    [found] = RoleThread.find(id=thread.id)
    return found


def texts(thread: RoleThread) -> list[str]:
    return [message.text for message in thread.messages()]


def role(name: str = "boss") -> V1Role:
    return V1Role(name=name, user_id="u1", user_name="Ada", icon="icon.png")


def test_making_a_thread_saves_it() -> None:
    before = time.time()
    thread = RoleThread()
    assert str(UUID(thread.id, version=4)) == thread.id
    shown = thread.to_v1()
    assert before - 1e-6 <= shown.created <= shown.updated <= time.time()
    assert (thread.owner_id, thread.public, thread.name, thread.metadata) == (None, False, None, None)
    assert (thread.remote, thread.role_mapping, thread.messages()) == (None, {}, [])
    assert again(thread).to_v1() == shown


def test_a_thread_has_what_it_was_given() -> None:
    thread = RoleThread("ada", True, "name", {"k": None}, None, "a version", {"boss": role()})
    shown = again(thread).to_v1()
    assert shown == thread.to_v1()
    assert (shown.owner_id, shown.public, shown.name, shown.metadata) == ("ada", True, "name", {"k": None})
    assert (shown.role_mapping, shown.remote) == ({"boss": role()}, None)
    assert shown.version != "a version"


def test_the_short_name_is_a_role_thread() -> None:
    assert issubclass(Thread, RoleThread)
    assert type(Thread.find(id=Thread().id)[0]) is Thread


@pytest.mark.parametrize("name", ["id", "owner_id", "public", "remote", "role_mapping"])
def test_some_properties_cannot_be_set(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(RoleThread(), name, "x")


def test_name_and_metadata_are_kept_by_the_next_save() -> None:
    thread = RoleThread(name="old", metadata={"k": 1})
    thread.name, thread.metadata = "new", {"k": 2}
    assert (again(thread).name, again(thread).metadata) == ("old", {"k": 1})
    thread.save()
    assert (again(thread).name, again(thread).metadata) == ("new", {"k": 2})
    thread.name = thread.metadata = None
    thread.save()
    assert (again(thread).name, again(thread).metadata) == (None, None)


def test_what_is_changed_in_place_is_kept_by_the_next_save() -> None:
    thread = RoleThread(metadata={"k": [1], "gone": 0, "one": 1}, role_mapping={"boss": role()})
    assert thread.metadata is not None
    thread.metadata["k"].append(2)
    thread.metadata["one"] = True
    del thread.metadata["gone"]
    thread.role_mapping["boss"].user_name = "Ben"
    thread.save()
    found = again(thread)
    assert json.dumps(found.metadata, sort_keys=True) == '{"k": [1, 2], "one": true}'
    assert found.role_mapping["boss"].user_name == "Ben"


@pytest.mark.parametrize("key", ["", "$a", "a.b", "\0", "%24;", "role:x", "metadata:x", "é", "k" * 600])
def test_metadata_have_any_keys(key: str) -> None:
    thread = RoleThread(metadata={key: {key: None}})
    assert again(thread).metadata == {key: {key: None}}
    assert RoleThread.find(id=thread.id, meta_data=json.dumps({key: {key: None}}))


def test_posts_are_appended_and_stored() -> None:
    thread = RoleThread()
    assert thread.post("user", "one") is None  # type: ignore[func-returns-value]
    thread.post("assistant", "two <image>", [URL], True, {"k": 1})
    found = again(thread)
    assert [one.to_v1() for one in found.messages()] == [one.to_v1() for one in thread.messages()]
    second = found.messages()[1]
    assert (second.role, second.text, second.images) == ("assistant", "two <image>", [URL])
    assert (second.private, second.metadata, second.thread_id) == (True, {"k": 1}, thread.id)
    assert [one.id for one in RoleMessage.find(thread_id=thread.id)] == [one.id for one in found.messages()]


def test_messages_are_a_live_list_and_those_of_the_public_a_new_one() -> None:
    thread = RoleThread()
    live = thread.messages()
    thread.post("user", "one")
    thread.post("user", "two", private=True)
    assert live is thread.messages()
    assert texts(thread) == ["one", "two"]
    shown = thread.messages(include_private=False)
    assert [one.text for one in shown] == ["one"]
    shown.clear()
    assert texts(thread) == ["one", "two"]


def test_programs_around_threadmem_find_the_live_list_by_its_inner_name() -> None:
    thread = RoleThread()
    thread.post("user", "one")
    for found in (thread, again(thread)):
        [message] = found._messages
        message.text += "!"
        found.save()
    assert texts(again(thread)) == ["one!!"]


def test_a_save_keeps_what_the_live_list_was_given() -> None:
    thread = RoleThread()
    thread.post("user", "one")
    thread.messages()[0].text = "changed"
    thread.messages().append(RoleMessage("user", "appended"))
    assert texts(again(thread)) == ["one"]
    thread.save()
    assert texts(again(thread)) == ["changed", "appended"]
    thread.messages().clear()
    thread.save()
    assert texts(again(thread)) == ["changed", "appended"]


def test_posts_stay_in_order_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = time.time_ns()
    thread = RoleThread()
    for number in range(5):
        monkeypatch.setattr(time, "time_ns", lambda at=clock - number * 10**9: at)
        thread.post("user", str(number))
    found = again(thread)
    found.post("user", "5")
    assert texts(again(thread)) == ["0", "1", "2", "3", "4", "5"]


def test_a_message_that_is_there_can_be_added() -> None:
    thread, loose = RoleThread(), RoleMessage("user", "loose", images=[URL])
    thread.add_msg(loose)
    assert loose.thread_id == thread.id
    assert thread.messages()[0] is loose
    assert [one.to_v1() for one in again(thread).messages()] == [loose.to_v1()]
    thread.add_msg(loose)
    loose.text = "changed"
    thread.save()
    assert texts(thread) == texts(again(thread)) == ["changed"]


def test_a_message_that_was_added_is_saved_with_its_thread() -> None:
    thread, loose = RoleThread(), RoleMessage("user", "loose")
    thread.add_msg(loose)
    loose.text = "changed"
    thread.save()
    assert texts(again(thread)) == ["changed"]


def test_a_message_of_another_thread_is_added_as_a_copy() -> None:
    one, other = RoleThread(), RoleThread()
    one.post("user", "hi", [URL], metadata={"k": 1})
    other.add_msg(one.messages()[0])
    assert texts(again(one)) == texts(again(other)) == ["hi"]
    assert one.messages()[0].id != other.messages()[0].id
    assert other.messages()[0].metadata == {"k": 1}


def test_roles_are_added_and_removed() -> None:
    thread = RoleThread()
    thread.add_role(role())
    thread.add_role(role("$a.b"))
    assert again(thread).role_mapping == thread.role_mapping == {"boss": role(), "$a.b": role("$a.b")}
    with pytest.raises(ValueError, match="Role boss already exists"):
        thread.add_role(role())
    with pytest.raises(ValueError, match="Role x does not exist"):
        thread.remove_role("x")
    thread.remove_role("boss")
    assert [*again(thread).role_mapping] == [*thread.role_mapping] == ["$a.b"]
    thread.add_role(role())


def test_threads_share_no_roles() -> None:
    one, given = RoleThread(), {"boss": role()}
    one.add_role(role())
    other = RoleThread(role_mapping=given)
    other.add_role(role("new"))
    assert RoleThread().role_mapping == {}
    assert [*given] == ["boss"]


def test_threads_are_found_by_each_column() -> None:
    owner = uuid4().hex
    thread = RoleThread(owner, True, "name", {"k": 1}, role_mapping={"boss": role()})
    RoleThread(owner)
    row = thread.to_record()
    for name in ("id", "public", "name", "version", "created", "updated", "role_mapping", "meta_data"):
        found = RoleThread.find(owner_id=owner, **{name: getattr(row, name)})
        assert [one.id for one in found] == [thread.id], name
        assert RoleThread.find(owner_id=owner, **{name: "other"}) == []
    assert len(RoleThread.find(owner_id=owner, remote=None)) == 2
    assert RoleThread.find(owner_id="nobody") == RoleThread.find(id=None) == RoleThread.find(id=5) == []


def test_none_finds_only_what_is_null() -> None:
    name = uuid4().hex
    bare, full = RoleThread(name=name), RoleThread("ada", name=name, metadata={"k": 1})
    for column in ("owner_id", "meta_data"):
        assert [one.id for one in RoleThread.find(name=name, **{column: None})] == [bare.id]
    assert full.id not in [one.id for one in RoleThread.find(owner_id=None)]
    assert RoleThread.find(id=bare.id, name=None) == []


@pytest.mark.parametrize("name", ["messages", "_id", "metadata", "kind", "$or"])
def test_what_is_no_column_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError, match="is none of id, owner_id"):
        RoleThread.find(**{name: 1})


def test_threads_are_found_in_the_order_of_their_creation() -> None:
    owner = uuid4().hex
    made = [RoleThread(owner) for _ in range(5)]
    made[0].post("user", "hi")
    assert [one.id for one in RoleThread.find(owner_id=owner)] == [one.id for one in made]


def test_each_change_moves_the_time_and_the_version() -> None:
    thread = RoleThread()
    seen = [thread.to_record()]
    for change in (
        lambda: thread.post("user", "hi"),
        lambda: thread.add_role(role()),
        lambda: thread.remove_role("boss"),
        thread.save,
    ):
        change()
        seen.append(thread.to_record())
        found = again(thread).to_record()
        assert (found.version, found.updated) == (seen[-1].version, seen[-1].updated)
        [by_version] = RoleThread.find(version=found.version)
        assert by_version.id == thread.id
    assert len({row.version for row in seen}) == len(seen)
    assert [row.updated for row in seen] == sorted(row.updated for row in seen)
    assert seen[0].updated < seen[-1].updated
    assert {row.created for row in seen} == {seen[0].created}


def test_the_hash_is_that_of_the_whole_thread() -> None:
    thread = RoleThread(name="n")
    thread.post("user", "hi")
    said = json.dumps(thread.to_v1().model_dump(), sort_keys=True)
    assert thread.generate_version_hash() == hashlib.sha256(said.encode()).hexdigest()


def test_a_row_needs_no_database() -> None:
    thread = RoleThread("ada", metadata={"key": "value"}, role_mapping={"boss": role()})
    thread.post("user", "hi")
    row, shown = again(thread).to_record(), thread.to_v1()
    thread.delete()
    assert (row.meta_data, row.public, row.owner_id) == ('{"key": "value"}', False, "ada")
    assert json.loads(str(row.role_mapping)) == {"boss": role().model_dump()}
    assert [message.text for message in row.messages] == ["hi"]
    assert RoleThread.from_record(row).to_v1() == shown


def test_other_forms_make_threads_and_save_nothing() -> None:
    thread = RoleThread("ada", True, "name", {"k": 1}, role_mapping={"boss": role()})
    thread.post("user", "hi", [URL])
    schema = thread.to_v1()
    assert schema.remote is None
    schema.id, schema.messages[0].id, schema.messages[0].thread_id = str(uuid4()), uuid4().hex, None
    made = RoleThread.from_v1(schema)
    assert made.to_v1() == schema
    assert RoleThread.find(id=made.id) == []
    made.save()
    found = again(made).to_v1()
    assert [one.text for one in found.messages] == ["hi"]
    assert (found.name, found.role_mapping, found.created) == ("name", {"boss": role()}, schema.created)
    assert RoleThread.from_v1(V1RoleThread(**{**dict(schema), "remote": "http://h"})).remote == "http://h"


def test_an_update_says_what_a_save_tells_a_server() -> None:
    thread = RoleThread(public=True, name="n", metadata={"k": 1})
    assert thread.to_update_schema() == V1UpdateRoleThread(public=True, name="n", metadata={"k": 1})


def test_openai_is_told_all_messages_and_tells_them() -> None:
    thread = RoleThread.from_openai(
        [
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]},
        ]
    )
    thread.post("user", "secret", private=True)
    told = again(thread).to_openai()
    assert told == thread.to_openai() == thread.to_oai()
    assert told == [
        {"role": "user", "content": [{"type": "text", "text": "a\nb"}]},
        {"role": "assistant", "content": []},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]},
        {"role": "user", "content": [{"type": "text", "text": "secret"}]},
    ]


def test_images_of_users_are_taken_away_by_the_next_save() -> None:
    thread = RoleThread()
    thread.post("user", "a", [URL])
    thread.post("assistant", "b", [URL])
    found = again(thread)
    found.remove_images()
    assert [message.images for message in again(thread).messages()] == [[URL], [URL]]
    found.save()
    assert [message.images for message in again(thread).messages()] == [[], [URL]]


def test_refresh_is_for_remote_threads() -> None:
    with pytest.raises(ValueError, match="Refresh is only supported for remote threads"):
        RoleThread().refresh()


def test_deletion_is_final(role_store: MongoStore) -> None:
    thread = RoleThread("ada", name="n")
    thread.post("user", "hi")
    stale, row = again(thread), thread.to_record()
    stale.messages()
    thread.delete()
    thread.delete()
    late: list[Any] = [thread, stale, RoleThread.from_record(row)]
    for one in late:
        for call in (
            one.save,
            lambda one=one: one.post("user", "late"),
            lambda one=one: one.add_role(role()),
        ):
            with pytest.raises(NotFoundError):
                call()
    with pytest.raises(NotFoundError):
        thread.add_msg(RoleMessage("user", "late"))
    with pytest.raises(AlreadyExistsError):
        RoleThread.create(thread.id)
    assert RoleThread.find(id=thread.id) == RoleMessage.find(thread_id=thread.id) == []
    assert role_store.messages.count(thread.id) == 0


def test_threads_of_other_kinds_are_not_found(role_store: MongoStore) -> None:
    other = role_store.threads.create(name="chat")
    assert RoleThread.find(id=other.id) == []
    assert other.id not in [one.id for one in RoleThread.find(name="chat")]
