"""The contract for role threads."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from mongostore.testing.threadmem.parts import URL, again, ids, role, texts


class ThreadSuite:
    """Threads: what is saved, and when, and how it is found."""

    def test_making_a_thread_saves_it(self, threadmem: Any) -> None:
        before = time.time()
        thread = threadmem.RoleThread()
        assert str(UUID(thread.id, version=4)) == thread.id
        output = thread.to_v1()
        assert before - 1e-6 <= output.created <= output.updated <= time.time()
        assert (thread.owner_id, thread.public, thread.name, thread.metadata) == (None, False, None, None)
        assert (thread.remote, thread.role_mapping, thread.messages()) == (None, {}, [])
        assert again(thread).to_v1() == output

    def test_a_thread_has_what_it_was_given(self, threadmem: Any) -> None:
        boss = role(threadmem)
        thread = threadmem.RoleThread("ada", True, "name", {"k": None}, None, "a version", {"boss": boss})
        output = again(thread).to_v1()
        assert output == thread.to_v1()
        assert (output.owner_id, output.public, output.name, output.metadata) == (
            "ada",
            True,
            "name",
            {"k": None},
        )
        assert (output.role_mapping, output.remote) == ({"boss": boss}, None)
        assert output.version != "a version"

    def test_the_short_name_is_a_role_thread(self, threadmem: Any) -> None:
        assert issubclass(threadmem.Thread, threadmem.RoleThread)
        assert type(again(threadmem.Thread())) is threadmem.Thread

    @pytest.mark.parametrize("name", ["id", "owner_id", "public", "remote", "role_mapping"])
    def test_some_properties_cannot_be_set(self, threadmem: Any, name: str) -> None:
        with pytest.raises(AttributeError):
            setattr(threadmem.RoleThread(), name, "x")

    def test_name_and_metadata_are_kept_by_the_next_save(self, threadmem: Any) -> None:
        thread = threadmem.RoleThread(name="old", metadata={"k": 1})
        thread.name, thread.metadata = "new", {"k": 2}
        assert (again(thread).name, again(thread).metadata) == ("old", {"k": 1})
        thread.save()
        assert (again(thread).name, again(thread).metadata) == ("new", {"k": 2})
        thread.name = thread.metadata = None
        thread.save()
        assert (again(thread).name, again(thread).metadata) == (None, None)

    def test_what_is_changed_in_place_is_kept_by_the_next_save(self, threadmem: Any) -> None:
        thread = threadmem.RoleThread(
            metadata={"k": [1], "gone": 0, "one": 1}, role_mapping={"boss": role(threadmem)}
        )
        thread.metadata["k"].append(2)
        thread.metadata["one"] = True
        del thread.metadata["gone"]
        thread.role_mapping["boss"].user_name = "Ben"
        thread.save()
        found = again(thread)
        assert json.dumps(found.metadata, sort_keys=True) == '{"k": [1, 2], "one": true}'
        assert found.role_mapping["boss"].user_name == "Ben"

    def test_posts_are_appended_and_stored(self, threadmem: Any) -> None:
        thread = threadmem.RoleThread()
        assert thread.post("user", "one") is None
        thread.post("assistant", "two <image>", [URL], True, {"k": 1})
        found = again(thread)
        assert [one.to_v1() for one in found.messages()] == [one.to_v1() for one in thread.messages()]
        second = found.messages()[1]
        assert (second.role, second.text, second.images) == ("assistant", "two <image>", [URL])
        assert (second.private, second.metadata, second.thread_id) == (True, {"k": 1}, thread.id)
        assert ids(threadmem.RoleMessage.find(thread_id=thread.id)) == ids(found.messages())

    def test_messages_are_a_live_list_and_those_of_the_public_a_new_one(self, threadmem: Any) -> None:
        thread = threadmem.RoleThread()
        live = thread.messages()
        thread.post("user", "one")
        thread.post("user", "two", private=True)
        assert live is thread.messages()
        assert texts(thread) == ["one", "two"]
        output = thread.messages(include_private=False)
        assert [one.text for one in output] == ["one"]
        output.clear()
        assert texts(thread) == ["one", "two"]

    def test_a_save_keeps_what_the_live_list_was_given(self, threadmem: Any) -> None:
        thread = threadmem.RoleThread()
        thread.post("user", "one")
        thread.messages()[0].text = "changed"
        thread.messages().append(threadmem.RoleMessage("user", "appended"))
        assert texts(again(thread)) == ["one"]
        thread.save()
        assert texts(again(thread)) == ["changed", "appended"]

    def test_a_message_that_is_there_can_be_added(self, threadmem: Any) -> None:
        thread, loose = threadmem.RoleThread(), threadmem.RoleMessage("user", "loose", images=[URL])
        thread.add_msg(loose)
        assert thread.messages()[0] is loose
        [found] = again(thread).messages()
        assert (found.thread_id, again(loose).thread_id) == (thread.id, thread.id)
        assert {**vars(found.to_v1()), "thread_id": None} == {**vars(loose.to_v1()), "thread_id": None}

    def test_a_message_that_was_added_is_saved_with_its_thread(self, threadmem: Any) -> None:
        thread, loose = threadmem.RoleThread(), threadmem.RoleMessage("user", "loose")
        thread.add_msg(loose)
        loose.text = "changed"
        thread.save()
        assert texts(again(thread)) == ["changed"]

    def test_roles_are_added_and_removed(self, threadmem: Any) -> None:
        thread, boss, odd = threadmem.RoleThread(), role(threadmem), role(threadmem, "$a.b")
        thread.add_role(boss)
        thread.add_role(odd)
        assert again(thread).role_mapping == thread.role_mapping == {"boss": boss, "$a.b": odd}
        with pytest.raises(ValueError, match="Role boss already exists"):
            thread.add_role(role(threadmem))
        with pytest.raises(ValueError, match="Role x does not exist"):
            thread.remove_role("x")
        thread.remove_role("boss")
        assert [*again(thread).role_mapping] == [*thread.role_mapping] == ["$a.b"]
        thread.add_role(role(threadmem))

    def test_threads_share_no_roles(self, threadmem: Any) -> None:
        threadmem.RoleThread().add_role(role(threadmem))
        assert threadmem.RoleThread().role_mapping == {}

    def test_threads_are_found_by_each_column(self, threadmem: Any) -> None:
        owner = uuid4().hex
        thread = threadmem.RoleThread(owner, True, "name", {"k": 1}, role_mapping={"boss": role(threadmem)})
        threadmem.RoleThread(owner)
        row = thread.to_record()
        for name in ("id", "public", "name", "version", "created", "updated", "role_mapping", "meta_data"):
            found = threadmem.RoleThread.find(owner_id=owner, **{name: getattr(row, name)})
            assert ids(found) == [thread.id], name
        for name in ("id", "name", "version", "role_mapping", "meta_data"):
            assert threadmem.RoleThread.find(owner_id=owner, **{name: "other"}) == []
        assert len(threadmem.RoleThread.find(owner_id=owner, remote=None)) == 2
        assert threadmem.RoleThread.find(owner_id="nobody") == threadmem.RoleThread.find(id=None) == []

    def test_none_finds_only_threads_that_have_none(self, threadmem: Any) -> None:
        name = uuid4().hex
        bare = threadmem.RoleThread(name=name)
        full = threadmem.RoleThread("ada", name=name, metadata={"k": 1})
        for column in ("owner_id", "meta_data"):
            assert ids(threadmem.RoleThread.find(name=name, **{column: None})) == [bare.id]
        assert full.id not in ids(threadmem.RoleThread.find(owner_id=None))
        assert threadmem.RoleThread.find(id=bare.id, name=None) == []

    @pytest.mark.parametrize("name", ["_id", "kind", "$or"])
    def test_threads_have_no_other_columns(self, threadmem: Any, name: str) -> None:
        with pytest.raises(Exception):  # noqa: B017, PT011  # whatever its database raises
            threadmem.RoleThread.find(**{name: 1})

    def test_threads_are_found_in_the_order_of_their_creation(self, threadmem: Any) -> None:
        owner = uuid4().hex
        made = [threadmem.RoleThread(owner) for _ in range(5)]
        made[0].post("user", "hi")
        assert ids(threadmem.RoleThread.find(owner_id=owner)) == ids(made)

    def test_each_change_moves_the_time_and_the_version(self, threadmem: Any) -> None:
        thread = threadmem.RoleThread()
        seen = [thread.to_record()]
        for change in (
            lambda: thread.post("user", "hi"),
            lambda: thread.add_role(role(threadmem)),
            lambda: thread.remove_role("boss"),
            thread.save,
        ):
            change()
            seen.append(thread.to_record())
            found = again(thread).to_record()
            assert (found.version, found.updated) == (seen[-1].version, seen[-1].updated)
            assert ids(threadmem.RoleThread.find(version=found.version)) == [thread.id]
        assert len({row.version for row in seen}) == len(seen)
        assert [row.updated for row in seen] == sorted(row.updated for row in seen)
        assert seen[0].updated < seen[-1].updated
        assert {row.created for row in seen} == {seen[0].created}

    def test_the_hash_is_that_of_the_whole_thread(self, threadmem: Any) -> None:
        thread = threadmem.RoleThread(name="n")
        thread.post("user", "hi")
        dumped = json.dumps(thread.to_v1().model_dump(), sort_keys=True)
        assert thread.generate_version_hash() == hashlib.sha256(dumped.encode()).hexdigest()

    def test_a_row_needs_no_database(self, threadmem: Any) -> None:
        boss = role(threadmem)
        thread = threadmem.RoleThread("ada", metadata={"key": "value"}, role_mapping={"boss": boss})
        thread.post("user", "hi")
        row, output = again(thread).to_record(), thread.to_v1()
        thread.delete()
        assert (row.meta_data, row.public, row.owner_id) == ('{"key": "value"}', False, "ada")
        assert json.loads(str(row.role_mapping)) == {"boss": boss.model_dump()}
        assert [message.text for message in row.messages] == ["hi"]
        assert threadmem.RoleThread.from_record(row).to_v1() == output

    def test_other_forms_make_threads_and_save_nothing(self, threadmem: Any) -> None:
        boss = role(threadmem)
        thread = threadmem.RoleThread("ada", True, "name", {"k": 1}, role_mapping={"boss": boss})
        thread.post("user", "hi", [URL])
        schema = thread.to_v1()
        assert schema.remote is None
        schema.id, schema.messages[0].id, schema.messages[0].thread_id = str(uuid4()), uuid4().hex, None
        made = threadmem.RoleThread.from_v1(schema)
        assert made.to_v1() == schema
        assert threadmem.RoleThread.find(id=made.id) == []
        made.save()
        found = again(made).to_v1()
        assert [one.text for one in found.messages] == ["hi"]
        assert (found.name, found.role_mapping, found.created) == ("name", {"boss": boss}, schema.created)
        remote_thread = threadmem.V1RoleThread(**{**dict(schema), "remote": "http://h"})
        assert threadmem.RoleThread.from_v1(remote_thread).remote == "http://h"

    def test_an_update_says_what_a_save_tells_a_server(self, threadmem: Any) -> None:
        thread = threadmem.RoleThread(public=True, name="n", metadata={"k": 1})
        update = threadmem.V1UpdateRoleThread(public=True, name="n", metadata={"k": 1})
        assert thread.to_update_schema() == update

    def test_a_copy_is_not_saved_and_takes_nothing_from_the_original(self, threadmem: Any) -> None:
        thread = threadmem.RoleThread("ada", True, "name", {"k": [1]}, role_mapping={"boss": role(threadmem)})
        thread.post("user", "hi", [URL], metadata={"l": [1]})
        before = again(thread).to_v1()
        made = thread.copy()
        assert made.id != thread.id
        assert threadmem.RoleThread.find(id=made.id) == []
        assert [one.to_v1() for one in made.messages()] == before.messages
        made.metadata["k"].append(2)
        made.messages()[0].metadata["l"].append(2)
        made.messages()[0].images.clear()
        made.role_mapping["boss"].icon = "other"
        made.save()
        made.post("user", "more")
        assert again(thread).to_v1() == before == thread.to_v1()
        found = again(made)
        assert found.to_v1() == made.to_v1()
        assert texts(found) == ["hi", "more"]
        assert (found.metadata, found.messages()[0].metadata) == ({"k": [1, 2]}, {"l": [1, 2]})
        made.delete()
        assert again(thread).to_v1() == before

    def test_refresh_is_for_remote_threads(self, threadmem: Any) -> None:
        with pytest.raises(ValueError, match="Refresh is only supported for remote threads"):
            threadmem.RoleThread().refresh()

    def test_a_deleted_thread_is_gone_with_its_messages(self, threadmem: Any) -> None:
        thread = threadmem.RoleThread("ada", name="n")
        thread.post("user", "hi")
        thread.delete()
        assert threadmem.RoleThread.find(id=thread.id) == []
        assert threadmem.RoleMessage.find(thread_id=thread.id) == []
