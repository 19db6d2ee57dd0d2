"""What participants of sessions and their chat turns promise, on every engine."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from mongostore import (
    AsyncMongoStore,
    ChangeKind,
    ChatTurn,
    ConflictError,
    DocumentTooLargeError,
    InvalidValueError,
    Message,
    MongoStore,
    NotFoundError,
    SessionParticipant,
)
from tests.contract.oddities import NASTY, refused, same

ODD_IDS = ["", "0", "10", "$x", "a.b", "a b", "é", "%2E;", "nul\0", "x" * 512, "messages.0"]


def said(*contents: Any) -> list[ChatTurn]:
    return [ChatTurn(role="user", content=content) for content in contents]


def insights_of(participant: str, turns: Any) -> list[Any]:
    return [f"{participant}: {turn.content}" for turn in turns]


async def contents(store: AsyncMongoStore, participant: str, session_id: str = "s") -> list[tuple[int, Any]]:
    turns = store.sessions.iter_chat_turns(session_id, participant)
    return [(turn.number or 0, turn.content) async for turn in turns]


async def test_participants_are_bound_from_the_start_in_their_order(store: AsyncMongoStore) -> None:
    created = await store.sessions.create("s", participants=["b", "a", "c"])
    assert [one.participant for one in created.participants] == ["b", "a", "c"]
    assert created == await store.sessions.get("s")
    assert created.participants[0] == SessionParticipant(participant="b", bound_at=created.created_at)
    assert (await store.sessions.list()).items == [created]
    assert (await store.sessions.create("t")).participants == []
    for wrong in (["a", "a"], "ab", None, [1], ["x" * 513], {"a": 1}):
        await refused(store.sessions.create("u", participants=wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("odd", ODD_IDS)
async def test_any_id_can_be_bound(store: AsyncMongoStore, odd: str) -> None:
    await store.sessions.create("s", participants=["plain"])
    assert await store.sessions.bind_participant("s", odd)
    assert await store.sessions.append_chat_turns("s", odd, said("one", "two")) == 2
    assert await contents(store, odd) == [(1, "one"), (2, "two")]
    integration = await store.sessions.integrate("s", insights_of)
    assert integration.results[1].participant == odd
    assert integration.session.participants[1].insights == [f"{odd}: one", f"{odd}: two"]
    assert (await store.sessions.truncate("s")).participants[1].participant == odd
    assert await store.sessions.append_chat_turns("s", odd, said("anew")) == 1
    assert await store.sessions.unbind_participant("s", odd)
    assert [one.participant for one in await store.sessions.list_participants("s")] == ["plain"]


async def test_binding_again_keeps_everything(store: AsyncMongoStore) -> None:
    await store.sessions.create("s", participants=["z"])
    before = datetime.now(UTC) - timedelta(seconds=60)
    assert await store.sessions.bind_participant("s", "a")
    await store.sessions.append_chat_turns("s", "a", said(1, 2))
    await store.sessions.integrate("s", insights_of)
    bound = await store.sessions.list_participants("s")
    assert not await store.sessions.bind_participant("s", "a")
    assert await store.sessions.list_participants("s") == bound
    assert [one.participant for one in bound] == ["z", "a"]
    assert (bound[1].chat_turn_count, bound[1].insights, bound[1].last_integration_turn) == (
        2,
        ["a: 1", "a: 2"],
        2,
    )
    assert before < bound[1].bound_at < datetime.now(UTC) + timedelta(seconds=60)


async def test_of_parallel_bindings_and_unbindings_one_did_it(store: AsyncMongoStore) -> None:
    await store.sessions.create("s")
    for verb in (store.sessions.bind_participant, store.sessions.unbind_participant):
        outcomes = await asyncio.gather(*(verb("s", "a") for _ in range(10)))
        assert sorted(outcomes) == [False] * 9 + [True]
    await asyncio.gather(*(store.sessions.bind_participant("s", f"p{n}") for n in range(20)))
    bound = await store.sessions.list_participants("s")
    assert {one.participant for one in bound} == {f"p{n}" for n in range(20)}
    assert (await store.sessions.get("s")).revision == 22


@pytest.mark.parametrize("count", [3, 200])
async def test_unbinding_takes_turns_insights_and_marker_and_nothing_else(
    store: AsyncMongoStore, count: int
) -> None:
    sessions = store.sessions
    await sessions.create("s", participants=["a", "b"])
    for n in range(count):
        await sessions.append_chat_turns("s", "a", said(f"alpha {n}"))
        await sessions.append_chat_turns("s", "b", said(f"b{n}"))
        await sessions.append_message("s", Message(role="user", conversation_id="a", content=f"m{n}"))
    await sessions.append_chat_turns("s", "a", said("x" * 2_000_000, *range(40)))
    await sessions.integrate("s", insights_of)
    positions = {one.content: one.position async for one in sessions.iter_messages("s")}
    assert await sessions.unbind_participant("s", "a")
    assert not await sessions.unbind_participant("s", "a")
    session = await sessions.get("s")
    assert session.count == 2 * count
    assert session.last is not None
    assert session.last.text == f"m{count - 1}"
    [other] = session.participants
    assert (other.participant, other.chat_turn_count, len(other.insights)) == ("b", count, count)
    kept = {one.content: one.position async for one in sessions.iter_messages("s")}
    assert kept == {text: place for text, place in positions.items() if str(text)[0] in "bm"}
    for name in ("sessions", "session_segments"):
        stored = await store.engine.database[name].find({}).to_list()
        assert "alpha" not in str(stored)
    assert await store.engine.database["session_overflows"].count_documents({}) == 0

    assert await sessions.bind_participant("s", "a")
    anew = (await sessions.list_participants("s"))[1]
    assert (anew.participant, anew.chat_turn_count) == ("a", 0)
    assert (anew.insights, anew.last_integration_turn) == ([], None)
    assert await sessions.append_chat_turns("s", "a", said("anew")) == 1
    assert await contents(store, "a") == [(1, "anew")]
    assert await contents(store, "b") == [(n + 1, f"b{n}") for n in range(count)]


async def test_the_newest_message_is_found_behind_many_turns_that_go(store: AsyncMongoStore) -> None:
    await store.sessions.create("s", participants=["a"])
    await store.sessions.append_message("s", Message(role="user", content="the first"))
    await store.sessions.append_chat_turns("s", "a", said(*range(500)))
    assert await store.sessions.unbind_participant("s", "a")
    session = await store.sessions.get("s")
    assert session.last is not None
    assert (session.count, session.last.text) == (1, "the first")
    assert await store.sessions.bind_participant("s", "a")
    assert await store.sessions.delete_messages("s") == 1
    await store.sessions.append_chat_turns("s", "a", said(*range(300)))
    assert await store.sessions.unbind_participant("s", "a")
    assert (await store.sessions.get("s")).last is None


@pytest.mark.usefixtures("small_tails")
async def test_the_newest_message_is_found_behind_turns_of_segments_that_go(store: AsyncMongoStore) -> None:
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


async def test_turns_are_numbered_without_gaps_and_one_call_s_follow_each_other(
    store: AsyncMongoStore,
) -> None:
    await store.sessions.create("s", participants=["a", "b"])

    async def append(participant: str, caller: int) -> None:
        for n in range(4):
            turns = said(*([caller, n, part] for part in range(n + 1)))
            last = await store.sessions.append_chat_turns("s", participant, turns)
            ends[participant, caller, n] = last

    ends: dict[tuple[str, int, int], int] = {}
    await asyncio.gather(*(append(participant, caller) for participant in "ab" for caller in range(16)))
    for participant in "ab":
        found = await contents(store, participant)
        assert [number for number, _ in found] == [*range(1, 161)]
        numbers = {tuple(content): number for number, content in found}
        assert len(numbers) == 160
        for caller in range(16):
            for n in range(4):
                last = ends[participant, caller, n]
                assert [numbers[caller, n, part] for part in range(n + 1)] == [*range(last - n, last + 1)]
            mine = [number for (who, _, _), number in numbers.items() if who == caller]
            assert mine == sorted(mine)
    assert [one.chat_turn_count for one in await store.sessions.list_participants("s")] == [160, 160]
    assert await store.sessions.count_messages("s") == 320


async def test_only_what_was_appended_as_a_turn_counts_as_one(store: AsyncMongoStore) -> None:
    sessions = store.sessions
    await sessions.create("s", participants=["a"])
    await sessions.append_message("s", Message(role="user", conversation_id="a", content="no turn", number=7))
    assert await sessions.append_chat_turns("s", "a", said("one")) == 1
    await sessions.upsert_message("s", Message(role="user", conversation_id="a", content="none", number=1))
    assert await sessions.append_chat_turns("s", "a", [ChatTurn(role="x", content="two", number=9)]) == 2
    page = await sessions.list_messages("s", conversation_id="a")
    assert [(one.content, one.number, one.position) for one in page.items] == [
        ("no turn", None, 0),
        ("one", 1, 1),
        ("none", None, 2),
        ("two", 2, 3),
    ]
    assert await contents(store, "a") == [(1, "one"), (2, "two")]
    assert [one.id for one in await sessions.conversations("s")] == ["a"]
    last = (await sessions.get("s")).last
    assert last is not None
    assert (last.conversation_id, last.role, last.text) == ("a", "x", "two")


async def test_pages_of_turns_meet_every_turn_once(store: AsyncMongoStore) -> None:
    sessions = store.sessions
    await sessions.create("s", participants=["a", "b"])
    for n in range(0, 300, 3):
        await sessions.append_chat_turns("s", "a", said(n, n + 1, n + 2))
        await sessions.append_chat_turns("s", "b", said(n))
    found: list[ChatTurn] = []
    page = await sessions.list_chat_turns("s", "a", limit=37)
    while True:
        found += page.items
        if page.next_cursor is None:
            break
        assert len(page.items) == 37
        page = await sessions.list_chat_turns("s", "a", limit=37, after=page.next_cursor)
    assert [(turn.number, turn.content) for turn in found] == [(n + 1, n) for n in range(300)]
    assert all(turn.role == "user" and turn.created_at for turn in found)
    behind = await sessions.list_chat_turns("s", "a", after=120, limit=2)
    assert [turn.number for turn in behind.items] == [121, 122]
    for after in (300, 301, 10**9):
        assert (await sessions.list_chat_turns("s", "a", after=after)).items == []
    assert len((await sessions.list_chat_turns("s", "a")).items) == 50
    assert len((await sessions.list_chat_turns("s", "a", limit=1000)).items) == 300


@pytest.mark.usefixtures("small_tails")
async def test_numbers_never_shift_and_are_never_used_again(store: AsyncMongoStore) -> None:
    sessions = store.sessions
    await sessions.create("s", participants=["a", "b"])
    for n in range(1, 21):
        await sessions.append_chat_turns("s", "a", said(n))
        await sessions.append_chat_turns("s", "b", said(n))
    ids = {one.number: one.id async for one in sessions.iter_messages("s", conversation_id="a")}
    # From the tail and from segments, the newest among them.
    assert await sessions.delete_messages("s", [ids[2], ids[11], ids[20]]) == 3
    assert await sessions.append_chat_turns("s", "a", said(21)) == 21
    await sessions.update_message("s", ids[3], content="edited", conversation_id="elsewhere")
    await sessions.upsert_message("s", Message(id=ids[19], role="x", conversation_id="b", content="replaced"))
    assert await sessions.append_chat_turns("s", "a", said(22)) == 22
    expected = [(n, n) for n in range(1, 23) if n not in (2, 3, 11, 19, 20)]
    expected = sorted([*expected, (3, "edited"), (19, "replaced")])  # type: ignore[list-item]
    assert await contents(store, "a") == expected
    page = await sessions.list_chat_turns("s", "a", after=1, limit=2)
    assert ([turn.number for turn in page.items], page.next_cursor) == ([3, 4], "4")
    assert await contents(store, "b") == [(n, n) for n in range(1, 21)]

    assert await sessions.delete_messages("s") == 39
    assert await contents(store, "a") == []
    assert await sessions.append_chat_turns("s", "a", said("on")) == 23
    assert await contents(store, "a") == [(23, "on")]
    assert [one.chat_turn_count for one in await sessions.list_participants("s")] == [23, 20]
    assert await sessions.unbind_participant("s", "a")
    assert await sessions.count_messages("s") == 0


async def test_what_begins_anew_while_it_is_read_is_read_whole_or_not_at_all(store: AsyncMongoStore) -> None:
    sessions = store.sessions
    for change in ("truncate", "unbind_participant", "delete_messages"):
        await sessions.create(change, participants=["a"])
        await sessions.append_chat_turns(change, "a", said(*range(1000)))
        arguments = ["a"] if change == "unbind_participant" else []
        reading = [sessions.list_chat_turns(change, "a", limit=1000) for _ in range(5)]
        pages = await asyncio.gather(
            *reading[:2], getattr(sessions, change)(change, *arguments), *reading[2:], return_exceptions=True
        )
        for page in [*pages[:2], *pages[3:]]:
            if change == "unbind_participant" and isinstance(page, NotFoundError):
                assert page.kind == "participant"
            else:
                assert len(page.items) in (0, 1000)  # type: ignore[union-attr]


async def test_a_truncation_and_what_binds_meanwhile_both_hold(store: AsyncMongoStore) -> None:
    await store.sessions.create("s", participants=["a"])
    for n in range(10):
        await store.sessions.append_chat_turns("s", "a", said(n))
        await asyncio.gather(
            store.sessions.truncate("s"),
            store.sessions.bind_participant("s", f"p{n}"),
            store.sessions.unbind_participant("s", f"p{n - 5}"),
        )
        bound = [one.participant for one in await store.sessions.list_participants("s")]
        assert bound == ["a", *(f"p{i}" for i in range(max(0, n - 4), n + 1))]


async def test_deleted_turns_are_not_counted_again_when_the_others_go(store: AsyncMongoStore) -> None:
    sessions = store.sessions
    await sessions.create("s", participants=["a", "b"])
    await sessions.append_chat_turns("s", "a", said(*range(200)))
    await sessions.append_chat_turns("s", "b", said(*range(3)))
    ids = [one.id async for one in sessions.iter_messages("s")]
    assert await sessions.delete_messages("s", [ids[0], ids[199], ids[202]]) == 3
    assert (await sessions.get("s")).count == 200
    assert await sessions.unbind_participant("s", "a")
    assert (await sessions.get("s")).count == 2
    assert await sessions.unbind_participant("s", "b")
    assert (await sessions.get("s")).count == 0


@pytest.mark.usefixtures("small_tails")
async def test_turns_are_read_once_whatever_others_left_half_done(store: AsyncMongoStore) -> None:
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


async def test_turns_of_any_size_and_shape_come_back_equal(store: AsyncMongoStore) -> None:
    at = datetime(2020, 1, 1, 12, tzinfo=UTC)
    await store.sessions.create("s", participants=["a"])
    values = [*NASTY, "x" * 2_000_000, None, {"deep": [[[[[1]]]]]}]
    for value in values:
        turn = ChatTurn(role="assistant", content=value, created_at=at)
        await store.sessions.append_chat_turns("s", "a", [turn])
    found = [turn async for turn in store.sessions.iter_chat_turns("s", "a")]
    assert [turn.number for turn in found] == [*range(1, len(values) + 1)]
    for turn, value in zip(found, values, strict=True):
        assert (turn.role, turn.created_at) == ("assistant", at)
        assert same(turn.content, value)


async def test_what_cannot_be_stored_is_refused_and_nothing_is_appended(store: AsyncMongoStore) -> None:
    append = store.sessions.append_chat_turns
    await store.sessions.create("s", participants=["a"])
    message: Any = Message(role="user")
    errors = await refused(
        append("s", "a", said(1, {1: 2})),
        append("s", "a", [message]),
        append("s", "a", ChatTurn(role="user")),  # type: ignore[arg-type]
        append("s", "a", said(*range(1001))),
        append("s", "a", [ChatTurn.model_construct(role=5, created_at=None, content=1)]),  # type: ignore[arg-type]
        append("s", "a", [ChatTurn(role="user", created_at=datetime(2020, 1, 1))]),
        append("s", 5, said(1)),  # type: ignore[arg-type]
        append(None, "a", said(1)),  # type: ignore[arg-type]
        store.sessions.bind_participant("s", None),  # type: ignore[arg-type]
        store.sessions.unbind_participant("s", {"$ne": 1}),  # type: ignore[arg-type]
        store.sessions.list_chat_turns("s", "a", after=-1),
        store.sessions.list_chat_turns("s", "a", after="x"),
        store.sessions.list_chat_turns("s", "a", limit=0),
        store.sessions.list(oldest=1),  # type: ignore[arg-type]
    )
    assert "turns[0]: must be a ChatTurn" in str(errors[1])
    with pytest.raises(DocumentTooLargeError):
        await append("s", "a", said("x", "x" * 17_000_000))
    with pytest.raises(DocumentTooLargeError):
        await append("s", "a", said(*["x" * 1_000_000] * 10))
    assert await append("s", "a", []) == 0
    assert await contents(store, "a") == []
    assert await append("s", "a", said(*range(1000))) == 1000
    assert [number for number, _ in await contents(store, "a")] == [*range(1, 1001)]


async def test_truncate_clears_data_turns_insights_and_markers_alone(store: AsyncMongoStore) -> None:
    sessions = store.sessions
    before = await sessions.create("s", name="n", data={"a": 1}, metadata={"k": 1}, participants=["a", "b"])
    for _ in range(2):
        for n in range(150):
            await sessions.append_chat_turns("s", "a", said(n))
        await sessions.append_chat_turns("s", "b", said("x" * 2_000_000))
        await sessions.integrate("s", insights_of)
        seen = await sessions.get("s")
        after = await sessions.truncate("s")
        assert after.participants == before.participants
        assert after.data == {}
        assert (after.name, after.metadata, after.created_at) == ("n", {"k": 1}, before.created_at)
        assert (after.count, after.last, after.revision) == (0, None, seen.revision + 1)
        assert await contents(store, "a") == await contents(store, "b") == []
        for name in ("session_segments", "session_overflows"):
            assert await store.engine.database[name].count_documents({}) == 0
    assert await sessions.append_chat_turns("s", "a", said("anew")) == 1


async def test_numbers_begin_anew_for_those_too_who_knew_the_old_ones(
    store: AsyncMongoStore, store_uri: str, database: str
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


async def test_a_session_that_is_gone_or_deleted_has_no_participants(store: AsyncMongoStore) -> None:
    sessions = store.sessions
    await sessions.create("deleted", participants=["a"])
    await sessions.append_chat_turns("deleted", "a", said("kept"))
    await sessions.integrate("deleted", insights_of)
    before = await sessions.get("deleted")
    assert await sessions.delete("deleted")
    for session_id in ("unknown", "deleted"):
        for call in (
            sessions.bind_participant(session_id, "b"),
            sessions.bind_participant(session_id, "a"),
            sessions.unbind_participant(session_id, "a"),
            sessions.list_participants(session_id),
            sessions.append_chat_turns(session_id, "a", said(1)),
            sessions.append_chat_turns(session_id, "a", []),
            sessions.list_chat_turns(session_id, "a"),
            anext(aiter(sessions.iter_chat_turns(session_id, "a"))),
            sessions.integrate(session_id, insights_of),
            sessions.truncate(session_id),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id) == ("session", session_id)
    [listed] = (await sessions.list(deleted=True)).items
    assert listed.participants == before.participants
    assert (await sessions.restore("deleted")).participants == before.participants
    assert await contents(store, "a", "deleted") == [(1, "kept")]
    for call in (
        sessions.append_chat_turns("deleted", "b", said(1)),
        sessions.append_chat_turns("deleted", "b", []),
        sessions.list_chat_turns("deleted", "b"),
        anext(aiter(sessions.iter_chat_turns("deleted", "b"))),
    ):
        with pytest.raises(NotFoundError) as caught:
            await call
        assert (caught.value.kind, caught.value.id) == ("participant", "b")
    assert not await sessions.unbind_participant("deleted", "b")


async def test_the_revision_grows_with_whatever_a_session_shows_beside_messages(
    store: AsyncMongoStore,
) -> None:
    sessions = store.sessions
    await sessions.create("s")
    for number, change in enumerate(
        (
            lambda: sessions.bind_participant("s", "a"),
            lambda: sessions.append_chat_turns("s", "a", said(1, 2)),
            lambda: sessions.integrate("s", insights_of),
            lambda: sessions.update("s", name="n"),
            lambda: sessions.truncate("s"),
            lambda: sessions.unbind_participant("s", "a"),
        ),
        1,
    ):
        seen = await sessions.get("s")
        await change()
        now = await sessions.get("s")
        assert now.revision == number
        assert now.updated_at > seen.updated_at
        with pytest.raises(ConflictError):
            await sessions.update("s", revision=seen.revision, name="too late")
    await sessions.delete("s")
    assert (await sessions.restore("s")).revision == 8
    for nothing in (
        sessions.append_message("s", Message(role="user")),
        sessions.unbind_participant("s", "a"),
        sessions.integrate("s", insights_of),
    ):
        await nothing
        assert (await sessions.get("s")).revision == 8
    assert (await sessions.update("s", revision=8, name="in time")).name == "in time"


async def test_a_live_tail_tells_of_turns_with_their_numbers(store: AsyncMongoStore) -> None:
    sessions = store.sessions
    await sessions.create("s", participants=["a"])
    plain = await sessions.append_message("s", Message(role="user", content="hole"))
    async with aclosing(sessions.watch("s")) as changes:  # type: ignore[type-var]
        first = asyncio.ensure_future(anext(changes))
        while not (await asyncio.wait([first], timeout=0.3))[0]:
            await sessions.update_message("s", plain.id, content="awake")
        await sessions.delete_message("s", plain.id)
        await sessions.append_chat_turns("s", "a", said("one", "two"))
        await sessions.append_chat_turns("s", "a", said("three"))
        await sessions.integrate("s", insights_of)
        await sessions.unbind_participant("s", "a")
        await sessions.delete("s")
        told = [change async for change in changes if change.kind is not ChangeKind.UPDATE]
    seen = [(change.kind, change.position, change.message and change.message.number) for change in told]
    assert seen == [
        ("delete", 0, None),
        ("append", 1, 1),
        ("append", 2, 2),
        ("append", 3, 3),
        ("delete", 1, None),
        ("delete", 2, None),
        ("delete", 3, None),
        ("close", None, None),
    ]


async def test_an_iteration_over_turns_ends_when_they_begin_anew(store: AsyncMongoStore) -> None:
    await store.sessions.create("s", participants=["a"])
    for start in (0, 1000):
        await store.sessions.append_chat_turns("s", "a", said(*range(start, start + 1000)))
    turns = store.sessions.iter_chat_turns("s", "a")
    assert (await anext(turns)).number == 1
    await store.sessions.append_chat_turns("s", "a", said("late"))
    assert len([turn async for turn in turns]) == 1999
    turns = store.sessions.iter_chat_turns("s", "a")
    await anext(turns)
    await store.sessions.truncate("s")
    await store.sessions.append_chat_turns("s", "a", said(*range(10)))
    with pytest.raises(ConflictError):
        assert [turn async for turn in turns]


async def test_purge_leaves_nothing_of_participants_behind(store: AsyncMongoStore) -> None:
    await store.sessions.create("s", participants=["a"])
    await store.sessions.append_chat_turns("s", "a", said(*range(300), "x" * 2_000_000))
    await store.sessions.purge("s")
    for name in ("sessions", "session_segments", "session_overflows"):
        assert await store.engine.database[name].count_documents({}) == 0, name
    with pytest.raises(NotFoundError):
        await store.sessions.append_chat_turns("s", "a", said(1))


async def test_an_unbinding_that_was_cut_short_is_finished_by_the_next_one_who_comes(
    store: AsyncMongoStore,
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


async def test_sessions_are_listed_in_the_order_of_their_creation(store: AsyncMongoStore) -> None:
    sessions = store.sessions
    for n in range(25):
        await sessions.create(f"s{n:02}", user_id=f"u{n % 2}")
    await sessions.create("early", created_at=datetime(2001, 1, 1, tzinfo=UTC))
    await sessions.in_namespace("other").create("elsewhere")
    stored = store.engine.database["sessions"]
    # Some at one time: the id has to decide.
    at = {"created_at": 1_600_000_000_000_000}
    await stored.update_many({"session_id": {"$in": [f"s{n:02}" for n in range(7, 19)]}}, {"$set": at})
    order = ["early", *(f"s{n:02}" for n in range(7, 19))]
    order += [f"s{n:02}" for n in range(25) if f"s{n:02}" not in order]
    seen, cursor = [], None
    for n in range(100):
        page = await sessions.list(oldest=True, limit=4, cursor=cursor)
        seen += [session.id for session in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        # What becomes active, comes or goes meanwhile moves nothing.
        await sessions.update(seen[-1], name="active")
        await sessions.delete(seen[-2])
        await sessions.create(f"late{n}")
    assert seen[: len(order)] == order
    assert all(name.startswith("late") for name in seen[len(order) :])
    everything = (await sessions.list(oldest=True, deleted=None, limit=1000)).items
    assert [session.id for session in everything][:26] == order
    assert all((a.created_at, a.id) < (b.created_at, b.id) for a, b in pairwise(everything))
    mine = await sessions.list(oldest=True, user_id="u1", deleted=None)
    assert [session.id for session in mine.items] == [
        name for name in order if name[0] == "s" and int(name[1:]) % 2
    ]
    with pytest.raises(InvalidValueError):
        await sessions.list(oldest=True, cursor="nonsense")


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
