"""What a role thread promises, on every engine."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

from mongostore import AlreadyExistsError, InvalidValueError, MongoStore, NotFoundError
from mongostore.adapters import threadmem
from mongostore.adapters.threadmem import RoleMessage, RoleThread
from mongostore.testing.threadmem import RoleThreadSuite
from mongostore.testing.threadmem.parts import URL, again, role, texts

pytestmark = pytest.mark.usefixtures("role_store")


class TestRoleThread(RoleThreadSuite):
    """What programs ask of threadmem."""

    @pytest.fixture
    def threadmem(self) -> ModuleType:
        return threadmem


def test_programs_around_threadmem_find_the_live_list_by_its_inner_name() -> None:
    thread = RoleThread()
    thread.post("user", "one")
    for found in (thread, again(thread)):
        [message] = found._messages
        message.text += "!"
        found.save()
    assert texts(again(thread)) == ["one!!"]


def test_what_the_live_list_lost_stays_where_it_is() -> None:
    thread = RoleThread()
    thread.post("user", "one")
    thread.messages().append(RoleMessage("user", "appended"))
    thread.save()
    thread.messages().clear()
    thread.save()
    assert texts(again(thread)) == ["one", "appended"]


def test_posts_stay_in_order_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = time.time_ns()
    thread = RoleThread()
    for number in range(5):
        monkeypatch.setattr(time, "time_ns", lambda at=clock - number * 10**9: at)
        thread.post("user", str(number))
    found = again(thread)
    found.post("user", "5")
    assert texts(again(thread)) == ["0", "1", "2", "3", "4", "5"]


def test_a_message_that_is_added_is_of_the_thread_and_there_once() -> None:
    thread, loose = RoleThread(), RoleMessage("user", "loose", images=[URL])
    thread.add_msg(loose)
    assert loose.thread_id == thread.id
    assert [one.to_v1() for one in again(thread).messages()] == [loose.to_v1()]
    thread.add_msg(loose)
    loose.text = "changed"
    thread.save()
    assert texts(thread) == texts(again(thread)) == ["changed"]


def test_a_message_of_another_thread_is_added_as_a_copy() -> None:
    one, other = RoleThread(), RoleThread()
    one.post("user", "hi", [URL], metadata={"k": 1})
    other.add_msg(one.messages()[0])
    assert texts(again(one)) == texts(again(other)) == ["hi"]
    assert one.messages()[0].id != other.messages()[0].id
    assert other.messages()[0].metadata == {"k": 1}


def test_roles_that_were_given_are_left_as_they_are() -> None:
    sent = {"boss": role(threadmem)}
    RoleThread(role_mapping=sent).add_role(role(threadmem, "new"))
    assert [*sent] == ["boss"]


def test_what_no_column_can_hold_finds_no_thread() -> None:
    owner = uuid4().hex
    RoleThread(owner)
    for name in ("public", "created", "updated"):
        assert RoleThread.find(owner_id=owner, **{name: "other"}) == []
    assert RoleThread.find(id=5) == []


@pytest.mark.parametrize("name", ["messages", "_id", "metadata", "kind", "$or"])
def test_what_is_no_column_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError, match="is none of id, owner_id"):
        RoleThread.find(**{name: 1})


def test_a_thread_of_openais_has_all_texts_of_a_message_and_is_told_by_either_name() -> None:
    content = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    thread = RoleThread.from_openai([{"role": "user", "content": content}])
    received = [{"role": "user", "content": [{"type": "text", "text": "a\nb"}]}]
    assert again(thread).to_openai() == thread.to_oai() == received


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
            lambda one=one: one.add_role(role(threadmem)),
        ):
            with pytest.raises(NotFoundError):
                call()
    with pytest.raises(NotFoundError):
        thread.add_msg(RoleMessage("user", "late"))
    with pytest.raises(AlreadyExistsError):
        RoleThread.create(thread.id)
    assert RoleThread.find(id=thread.id) == RoleMessage.find(thread_id=thread.id) == []
    assert role_store.threads.messages.count(thread.id) == 0


def test_threads_of_other_kinds_are_not_found(role_store: MongoStore) -> None:
    other = role_store.threads.create(name="chat")
    assert RoleThread.find(id=other.id) == []
    assert other.id not in [one.id for one in RoleThread.find(name="chat")]
