"""Role threads keep any text, any JSON and any time as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mongostore.testing.threadmem.parts import again, ids, role

# Each example makes threads and messages of its own.
SETTINGS = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.function_scoped_fixture],
)


def objects(texts: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of JSON, with these texts in them."""
    json = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    )
    return st.dictionaries(texts, json, min_size=1, max_size=3)


def to_json(value: Any) -> str:
    """Return the form in which values differ: 1, 1.0 and true, -0.0 and 0.0, and NaN."""
    return json.dumps(value, sort_keys=True)


def give_and_take(threadmem: Any, first: dict[str, Any], second: dict[str, Any], name: str) -> None:
    """Give a thread and its message metadata and see them come back, and the other way around."""
    roles = {name: role(threadmem, name)}
    thread = threadmem.RoleThread(metadata=first, role_mapping={**roles}, name=name)
    thread.post("user", "", metadata=second)
    found = again(thread)
    assert to_json(found.metadata) == to_json(first)
    assert to_json(found.messages()[0].metadata) == to_json(second)
    assert (found.name, found.role_mapping) == (name, roles)
    assert to_json(found.to_v1().model_dump()) == to_json(thread.to_v1().model_dump())
    found.metadata, found.messages()[0].metadata = second, first
    found.save()
    found = again(thread)
    assert to_json(found.metadata) == to_json(second)
    assert to_json(found.messages()[0].metadata) == to_json(first)
    assert threadmem.RoleThread.find(id=thread.id, meta_data=json.dumps(second)) or "NaN" in to_json(second)
    found.remove_role(name)


class ValueSuite:
    """Values: they come back, and stay different."""

    @SETTINGS
    @given(first=objects(st.text(max_size=6)), second=objects(st.text(max_size=6)), name=st.text(max_size=6))
    def test_any_json_object_comes_back(
        self, threadmem: Any, first: dict[str, Any], second: dict[str, Any], name: str
    ) -> None:
        give_and_take(threadmem, first, second, name)

    @SETTINGS
    @given(author=st.text(max_size=20), text=st.text(max_size=20))
    def test_any_role_and_text_come_back(self, threadmem: Any, author: str, text: str) -> None:
        message = threadmem.RoleMessage(author, text)
        found = again(message)
        assert (found.role, found.text) == (author, text)
        assert message.id in ids(threadmem.RoleMessage.find(text=text, role=author))

    @pytest.mark.parametrize("key", ["", "$a", "a.b", "\0", "%24;", "role:x", "metadata:x", "é", "k" * 600])
    def test_metadata_have_any_keys(self, threadmem: Any, key: str) -> None:
        thread = threadmem.RoleThread(metadata={key: {key: None}})
        assert again(thread).metadata == {key: {key: None}}
        assert threadmem.RoleThread.find(id=thread.id, meta_data=json.dumps({key: {key: None}}))

    @pytest.mark.parametrize(("old", "new"), [(1, True), (True, 1), (1, 1.0), (0, False), (0, None)])
    def test_save_tells_apart_what_python_calls_equal(self, threadmem: Any, old: Any, new: Any) -> None:
        message = threadmem.RoleMessage("user", "", metadata={"k": [old]})
        message.metadata = {"k": [new]}
        message.save()
        assert json.dumps(again(message).metadata) == json.dumps({"k": [new]})

    @pytest.mark.parametrize(
        "created", [0.0, -1.5, 1732132268.1234567, 2.0**33 + 0.1, 1e-7, 1731000000.000001]
    )
    def test_the_time_is_exact_to_the_last_bit(self, threadmem: Any, created: float) -> None:
        message = threadmem.RoleMessage("user", "")
        message.created = created
        message.save()
        assert repr(again(message).created) == repr(created)
