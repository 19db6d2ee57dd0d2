"""What participants of sessions and their chat turns promise, on every engine, and what is stored of them."""

from __future__ import annotations

import pytest

from mongostore import AsyncMongoStore, Message, MongoStore, NotFoundError
from mongostore.testing.store import ChatTurnsSuite, ParticipantsSuite
from mongostore.testing.store.chat_turns import contents, said


class TestParticipants(ParticipantsSuite):
    """What participants promise."""

    @pytest.mark.parametrize("count", [3, 200])
    async def test_unbinding_takes_turns_insights_and_marker_and_nothing_else(
        self, store: AsyncMongoStore, count: int
    ) -> None:
        await super().test_unbinding_takes_turns_insights_and_marker_and_nothing_else(store, count)
        for name in ("sessions", "session_segments"):
            stored = await store.engine.database[name].find({}).to_list()
            assert "alpha" not in str(stored)
        assert await store.engine.database["session_overflows"].count_documents({}) == 0

    async def test_truncate_clears_data_turns_insights_and_markers_alone(
        self, store: AsyncMongoStore
    ) -> None:
        await super().test_truncate_clears_data_turns_insights_and_markers_alone(store)
        for name in ("session_segments", "session_overflows"):
            assert await store.engine.database[name].count_documents({}) == 0

    async def test_purge_leaves_nothing_of_participants_behind(self, store: AsyncMongoStore) -> None:
        await super().test_purge_leaves_nothing_of_participants_behind(store)
        for name in ("sessions", "session_segments", "session_overflows"):
            assert await store.engine.database[name].count_documents({}) == 0, name

    async def test_numbers_begin_anew_for_those_too_who_knew_the_old_ones(
        self, store: AsyncMongoStore, store_uri: str, database: str
    ) -> None:
        await store.sessions.create("s", participants=["a"])
        async with AsyncMongoStore(store_uri, database) as other:
            for change in ("truncate", "unbind", "bind"):
                assert await other.sessions.append_chat_turns("s", "a", said(1, 2)) == 2
                if change == "truncate":
                    await store.sessions.truncate("s")
                else:
                    assert await store.sessions.unbind_participant("s", "a")
                    if change == "unbind":
                        with pytest.raises(NotFoundError) as caught:
                            await other.sessions.append_chat_turns("s", "a", said(1))
                        assert (caught.value.kind, caught.value.id) == ("participant", "a")
                    assert await store.sessions.bind_participant("s", "a")
                assert await other.sessions.append_chat_turns("s", "a", said("anew")) == 1
                assert await contents(store, "a") == [(1, "anew")]
                await other.sessions.truncate("s")

    async def test_an_unbinding_that_was_cut_short_is_finished_by_the_next_one_who_comes(
        self, store: AsyncMongoStore
    ) -> None:
        sessions, database = store.sessions, store.engine.database
        await sessions.create("s", participants=["a", "b"])
        await sessions.append_chat_turns("s", "a", said(*range(200), "x" * 2_000_000))
        await sessions.append_chat_turns("s", "b", said(*range(200)))
        [message] = (await sessions.list_messages("s", limit=1)).items
        stored = await database["sessions"].find_one({})
        # As a process that dies right behind the first write leaves it.
        binding = stored["participants"]["a"]["binding"]
        await database["sessions"].update_one(
            {},
            {
                "$set": {"unbound": [binding]},
                "$unset": {"participants.a": "", "insights.a": ""},
                "$inc": {"message_count": -201, "edits": 1},
            },
        )
        assert await sessions.count_messages("s") == 200
        assert [one.number async for one in sessions.iter_messages("s")] == [*range(1, 201)]
        assert [one.number for one in (await sessions.list_messages("s", limit=3)).items] == [1, 2, 3]
        before = await sessions.list_messages("s", before=250, limit=50)
        assert [one.position for one in before.items] == [*range(201, 250)]
        for call in (
            sessions.get_message("s", message.id),
            sessions.update_message("s", message.id, content="x"),
        ):
            with pytest.raises(NotFoundError):
                await call
        assert await contents(store, "b") == [(n + 1, n) for n in range(200)]
        assert await sessions.bind_participant("s", "a")
        assert await contents(store, "a") == []
        await sessions.append_chat_turns("s", "a", said(*range(200)))
        assert await contents(store, "a") == [(n + 1, n) for n in range(200)]
        stored = await database["sessions"].find_one({})
        assert stored["unbound"] == []
        assert await database["session_segments"].count_documents({"messages.binding": binding}) == 0
        assert await database["session_overflows"].count_documents({}) == 0


class TestChatTurns(ChatTurnsSuite):
    """What chat turns promise."""

    @pytest.mark.usefixtures("small_tails")
    async def test_numbers_never_shift_and_are_never_used_again(self, store: AsyncMongoStore) -> None:
        # With messages in the tail and in segments.
        await super().test_numbers_never_shift_and_are_never_used_again(store)

    @pytest.mark.usefixtures("small_tails")
    async def test_the_newest_message_is_found_behind_turns_of_segments_that_go(
        self, store: AsyncMongoStore
    ) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a"])
        first = await sessions.append_message("s", Message(role="user", content="the first"))
        for n in range(20):
            await sessions.append_chat_turns("s", "a", said(n))
        layout = await sessions.layout("s")
        ids = [one.id async for one in sessions.iter_messages("s")]
        assert await sessions.delete_messages("s", ids[layout.sealed :]) == layout.embedded
        last = (await sessions.get("s")).last
        assert last is not None
        assert last.conversation_id == "a"
        assert await sessions.unbind_participant("s", "a")
        session = await sessions.get("s")
        assert session.last is not None
        assert (session.count, session.last.id) == (1, first.id)

    @pytest.mark.usefixtures("small_tails")
    async def test_turns_are_read_once_whatever_others_left_half_done(self, store: AsyncMongoStore) -> None:
        sessions, database = store.sessions, store.engine.database
        await sessions.create("s", participants=["a"])
        for n in range(1, 15):
            await sessions.append_chat_turns("s", "a", said(n))
        stored = await database["sessions"].find_one({})
        base, messages = stored["base"], stored["messages"]
        assert base
        # A roll that died before its trim, and a deletion that died before it made its hole.
        await database["session_segments"].insert_one(
            {
                "_id": f"default/s/{stored['generation']}/{base:012}",
                "session": "default/s",
                "generation": stored["generation"],
                "start": base,
                "end": base + 4,
                "edits": stored["edits"],
                "bytes": 0,
                "messages": messages[:4],
            }
        )
        [second] = [one.id async for one in sessions.iter_messages("s") if one.number == 2]
        await database["sessions"].update_one(
            {},
            {
                "$set": {"deletions": [second]},
                "$inc": {"message_count": -1, "edits": 1, "participants.a.kept": -1},
            },
        )
        expected = [(n, n) for n in range(1, 15) if n != 2]
        assert await contents(store, "a") == expected
        page = await sessions.list_chat_turns("s", "a", limit=3)
        assert [turn.number for turn in page.items] == [1, 3, 4]
        # One that the roll has copied goes all the same.
        assert await sessions.delete_message("s", messages[0]["id"])
        expected.remove((messages[0]["number"], messages[0]["content"]))
        assert await contents(store, "a") == expected
        for n in range(15, 30):
            await sessions.append_chat_turns("s", "a", said(n))
        assert await contents(store, "a") == [*expected, *((n, n) for n in range(15, 30))]


def test_the_blocking_twin_does_the_same() -> None:
    with MongoStore("mongomock://") as store:
        sessions = store.sessions
        sessions.create("s", participants=["a"])
        assert sessions.bind_participant("s", "b")
        assert sessions.append_chat_turns("s", "a", said(*range(250))) == 250
        assert [turn.content for turn in sessions.iter_chat_turns("s", "a")] == [*range(250)]
        # From the thread in which it runs, a blocking integrator may use the blocking store.
        integration = sessions.integrate(
            "s", lambda name, _: [len(sessions.list_chat_turns("s", name).items)]
        )
        assert [result.status for result in integration.results] == ["integrated", "nothing_new"]
        assert sessions.list_participants("s")[0].insights == [50]
        assert sessions.unbind_participant("s", "a")
        assert [session.id for session in sessions.list(oldest=True).items] == ["s"]
