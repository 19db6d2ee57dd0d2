"""Several instances of one role thread, and its copies: none undoes what another does."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from mongostore import UnavailableError
from mongostore.adapters.threadmem import RoleMessage, RoleThread, V1Role

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


def test_messages_of_a_copy_that_is_saved_are_others() -> None:
    thread = RoleThread()
    thread.post("user", "hi")
    made = thread.copy()
    made.save()
    assert texts(again(made)) == ["hi"]
    assert again(made).messages()[0].id != again(thread).messages()[0].id


def test_a_copy_may_be_posted_to_before_it_is_saved() -> None:
    thread = RoleThread()
    thread.post("user", "one")
    made = thread.copy().copy()
    made.post("user", "two")
    assert texts(again(made)) == ["one", "two"]
    assert texts(again(thread)) == ["one"]


def test_a_copy_whose_making_was_not_answered_is_saved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = RoleThread(name="name")
    thread.post("user", "hi")
    made, threads = thread.copy(), thread.storage().store.threads
    create = threads.create

    def create_and_lose(*arguments: Any, **members: Any) -> None:
        create(*arguments, **members)
        raise UnavailableError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(threads, "create", create_and_lose)
        with pytest.raises(UnavailableError):
            made.save()
    made.save()
    assert (again(made).name, texts(again(made))) == ("name", ["hi"])


def test_a_loose_message_stays_with_the_thread_that_it_was_given_to() -> None:
    thread = RoleThread()
    thread.messages().append(RoleMessage("user", "loose"))
    made = thread.copy()
    made.save()
    thread.save()
    assert texts(again(thread)) == texts(again(made)) == ["loose"]


def test_a_deep_copy_is_the_same_thread() -> None:
    thread = RoleThread(metadata={"k": [1]})
    thread.post("user", "one")
    thread.messages()
    other = copy.deepcopy(thread)
    other.post("user", "two")
    other.name = "new"
    other.save()
    thread.post("user", "three")
    assert (again(thread).name, texts(again(thread))) == ("new", ["one", "two", "three"])


@pytest.mark.parametrize("is_visible", [False, True])
def test_a_thread_may_be_pickled(is_visible: bool) -> None:
    thread = RoleThread(role_mapping={"boss": role()})
    message = RoleMessage("user", "one", images=[URL])
    thread.add_msg(message)
    if is_visible:
        thread.messages()
    other: RoleThread = pickle.loads(pickle.dumps(thread))
    assert other.to_v1() == thread.to_v1()
    other.messages()[0].text = "changed"
    other.post("user", "two")
    assert message.text == "one"
    assert texts(again(thread)) == ["changed", "two"]


def test_a_message_may_be_pickled() -> None:
    thread = RoleThread()
    thread.post("user", "one", [URL])
    message: RoleMessage = pickle.loads(pickle.dumps(thread.messages()[0]))
    message.text = "changed"
    message.save()
    assert again(thread).messages()[0].to_v1() == message.to_v1()


def test_two_instances_lose_nothing() -> None:
    one = RoleThread("ada", name="old", metadata={"k": 0, "gone": 0})
    one.post("user", "first")
    two = again(one)
    assert texts(one) == texts(two) == ["first"]
    one.post("user", "of one")
    two.post("user", "of two")
    one.name = "new"
    assert one.metadata is not None
    assert two.metadata is not None
    one.metadata["one"] = 1
    two.metadata["two"] = None
    del two.metadata["gone"]
    for thread in (one, two, one):
        thread.save()
    one.add_role(role("one"))
    two.add_role(role("two"))
    two.messages()[0].text = "changed by two"
    one.messages()[0].metadata = {"by": "one"}
    for thread in (two, one, two):
        thread.save()
    found = again(one)
    assert found.name == "new"
    assert found.metadata == {"k": 0, "one": 1, "two": None}
    assert sorted(found.role_mapping) == ["one", "two"]
    assert texts(found) == ["changed by two", "of one", "of two"]
    assert found.messages()[0].metadata == {"by": "one"}


def test_a_role_that_one_removes_is_not_brought_back_by_another() -> None:
    one = RoleThread(role_mapping={"boss": role(), "aide": role("aide")})
    two = again(one)
    one.remove_role("boss")
    two.post("user", "hi")
    two.add_role(role("new"))
    assert sorted(again(one).role_mapping) == ["aide", "new"]


def test_of_two_who_add_one_role_one_is_told_no() -> None:
    one = RoleThread()
    two = again(one)
    one.add_role(role())
    theirs = role()
    theirs.user_name = "Ben"
    with pytest.raises(ValueError, match="Role boss already exists"):
        two.add_role(theirs)
    assert "boss" not in two.role_mapping
    two.save()
    assert again(one).role_mapping["boss"].user_name == "Ada"


def at_once(calls: Sequence[Callable[[], object]]) -> list[Exception | None]:
    """Call all at the same time and return what each has raised."""
    barrier, raised = threading.Barrier(len(calls)), dict[int, Exception | None]()

    def run(number: int) -> None:
        barrier.wait()
        try:
            calls[number]()
            raised[number] = None
        except Exception as error:
            raised[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [raised[number] for number in range(len(calls))]


def test_of_many_who_add_one_role_at_once_one_can() -> None:
    thread = RoleThread()
    for name in ("a", "b", "c"):
        added_roles = [partial(again(thread).add_role, role(name)) for _ in range(6)]
        raised = at_once(added_roles)
        assert sorted(str(error) for error in raised) == ["None"] + [f"Role {name} already exists"] * 5
    assert sorted(again(thread).role_mapping) == ["a", "b", "c"]


@pytest.mark.parametrize("is_visible", [False, True])
def test_one_instance_may_be_used_by_many_threads(is_visible: bool) -> None:
    thread = RoleThread()
    if is_visible:
        thread.messages()

    def post(name: str) -> None:
        for number in range(8):
            thread.post("user", f"{name} {number}")
            thread.add_msg(RoleMessage("user", f"{name} {number} added"))
            thread.save()

    assert at_once([partial(post, str(number)) for number in range(6)]) == [None] * 6
    sorted_texts = sorted(
        f"{name} {number}{end}" for name in range(6) for number in range(8) for end in ("", " added")
    )
    assert sorted(texts(thread)) == sorted(texts(again(thread))) == sorted_texts


def test_many_instances_post_and_change_at_once() -> None:
    thread = RoleThread()
    raised = at_once([partial(work, again(thread), str(number)) for number in range(6)])
    assert raised == [None] * 6
    check(again(thread), [str(n) for n in range(6)])


def work(thread: RoleThread, name: str) -> None:
    for number in range(5):
        thread.post("user", f"{name} {number}")
        thread.metadata = {**(thread.metadata or {}), f"{name} {number}": [name]}
        thread.save()
    thread.add_role(role(name))


def check(thread: RoleThread, names: list[str]) -> None:
    expected = [f"{name} {number}" for name in names for number in range(5)]
    assert sorted(texts(thread)) == expected
    assert thread.metadata == {key: [key.partition(" ")[0]] for key in expected}
    assert sorted(thread.role_mapping) == names
    for name in names:
        assert [text for text in texts(thread) if text.startswith(name)] == [
            f"{name} {number}" for number in range(5)
        ]
