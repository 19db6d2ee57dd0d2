"""The contract for role messages."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest

from mongostore.testing.threadmem.parts import OTHER, URL, again, ids, text


class MessageSuite:
    """Messages: what is saved, and when, and how it is found."""

    def test_making_a_message_saves_it(self, threadmem: Any) -> None:
        before = time.time()
        message = threadmem.RoleMessage("user", text())
        assert len(message.id) == 22
        assert before - 1e-6 <= message.created <= time.time()
        assert (message.thread_id, message.images, message.metadata) == (None, [], None)
        assert message.private is False
        assert again(message).to_v1() == message.to_v1()

    def test_a_message_has_what_it_was_given(self, threadmem: Any) -> None:
        home = uuid4().hex
        message = threadmem.RoleMessage("user", text(), home, [URL], True, {"k": [None, 1.5]})
        found = again(message)
        assert found.to_v1() == message.to_v1()
        assert vars(found.to_v1()) == {
            "id": message.id,
            "role": "user",
            "text": message.text,
            "images": [URL],
            "private": True,
            "metadata": {"k": [None, 1.5]},
            "created": message.created,
            "thread_id": home,
        }

    def test_a_message_may_say_nothing_in_no_role(self, threadmem: Any) -> None:
        message = threadmem.RoleMessage("", "")
        assert again(message).to_v1() == message.to_v1()

    @pytest.mark.parametrize("private", [True, False])
    def test_private_is_kept_as_it_is(self, threadmem: Any, private: bool) -> None:
        assert again(threadmem.RoleMessage("user", "", private=private)).private is private

    def test_messages_are_found_by_each_column(self, threadmem: Any) -> None:
        words, home = text(), uuid4().hex
        message = threadmem.RoleMessage("user", words, home, [URL], True, {"k": 1})
        threadmem.RoleMessage("assistant", words)
        row = message.to_record()
        for name in ("id", "role", "private", "created", "meta_data", "thread_id", "images"):
            found = threadmem.RoleMessage.find(text=words, **{name: getattr(row, name)})
            assert ids(found) == [message.id], name
        for name in ("id", "role", "images", "meta_data", "thread_id"):
            assert threadmem.RoleMessage.find(text=words, **{name: "other"}) == []
        assert threadmem.RoleMessage.find(text=words, created=1.0) == []

    def test_none_finds_only_messages_that_have_none(self, threadmem: Any) -> None:
        words = text()
        bare = threadmem.RoleMessage("user", words)
        threadmem.RoleMessage("user", words, uuid4().hex, metadata={"k": 1})
        for name in ("thread_id", "meta_data"):
            assert ids(threadmem.RoleMessage.find(text=words, **{name: None})) == [bare.id], name
        for name in ("id", "role", "images", "private", "created"):
            assert threadmem.RoleMessage.find(text=words, **{name: None}) == []
        assert threadmem.RoleMessage.find(id=bare.id, text=None) == []

    @pytest.mark.parametrize("name", ["ID", "_id", "$where", "kind", ""])
    def test_messages_have_no_other_columns(self, threadmem: Any, name: str) -> None:
        with pytest.raises(Exception):  # noqa: B017, PT011  # whatever its database raises
            threadmem.RoleMessage.find(**{name: 1})

    def test_messages_are_found_in_the_order_of_their_creation(self, threadmem: Any) -> None:
        words = text()
        made = [threadmem.RoleMessage("user", words) for _ in range(5)]
        made[3].created = made[0].created - 1
        made[3].save()
        assert ids(threadmem.RoleMessage.find(text=words)) == [made[n].id for n in (3, 0, 1, 2, 4)]

    def test_only_the_very_text_is_found(self, threadmem: Any) -> None:
        words = text()
        threadmem.RoleMessage("user", words + ".")
        threadmem.RoleMessage("user", words.upper())
        assert threadmem.RoleMessage.find(text=words) == threadmem.RoleMessage.find(text="^said") == []

    def test_save_keeps_what_was_changed_in_place(self, threadmem: Any) -> None:
        message = threadmem.RoleMessage("user", "", images=[URL], metadata={"k": {"l": [1]}})
        message.images.append(OTHER)
        message.metadata["k"]["l"].append(2)
        message.save()
        found = again(message)
        assert (found.images, found.metadata) == ([URL, OTHER], {"k": {"l": [1, 2]}})

    def test_a_row_holds_json_texts(self, threadmem: Any) -> None:
        message = threadmem.RoleMessage("user", "", images=[URL], metadata={"key": "value"})
        row = message.to_record()
        assert (row.images, row.meta_data) == (f'["{URL}"]', '{"key": "value"}')
        assert threadmem.RoleMessage.from_record(row).to_v1() == message.to_v1()
        assert threadmem.RoleMessage("user", "", metadata={}).to_record().meta_data is None

    def test_other_forms_make_messages_and_save_nothing(self, threadmem: Any) -> None:
        schema = threadmem.V1RoleMessage(
            id=uuid4().hex, role="user", text=text(), images=[URL], private=False, created=7.5
        )
        message = threadmem.RoleMessage.from_v1(schema)
        other = threadmem.RoleMessage.from_record(message.to_record())
        assert message.to_v1() == other.to_v1() == schema
        assert threadmem.RoleMessage.find(text=schema.text) == []
        other.save()
        message.save()
        [found] = threadmem.RoleMessage.find(text=schema.text)
        assert found.to_v1() == schema

    def test_swift_is_told_the_text_as_it_is(self, threadmem: Any) -> None:
        message = threadmem.RoleMessage("user", " <image> puppy ", images=[URL])
        messages = [{"role": "user", "content": " <image> puppy "}]
        assert message.to_swift3() == {"messages": messages, "images": [URL]}
