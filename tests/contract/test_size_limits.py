"""What grows by merging ends at a limit of its own, and every other verb goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mongostore import (
    AsyncMongoStore,
    DocumentTooLargeError,
    Element,
    Event,
    Feedback,
    Identity,
    Message,
    Turn,
)
from mongostore.documents.mapping import bson_size
from mongostore.repositories.rooms import identities
from mongostore.repositories.sessions.bulk import SessionTransfer
from mongostore.repositories.sessions.session_change import PARTICIPANTS
from mongostore.repositories.threads import message_writer
from mongostore.repositories.threads.thread_updates import VOTES

STEP = "x" * 300_000
MB = 1_000_000
Grow = Callable[[AsyncMongoStore, int], Awaitable[Any]]


async def integrated(store: AsyncMongoStore, n: int) -> None:
    await store.sessions.turns.append("s", "p", Turn(role="user", content=n))
    [result] = (await store.sessions.turns.integrate("s", lambda *_: [STEP])).results
    if result.error == "DocumentTooLargeError":
        raise DocumentTooLargeError("the insights", 0, 0)
    assert result.error is None


def recorded(message_id: str) -> Grow:
    return lambda store, n: store.sessions.messages.update("s", message_id, metadata={f"k{n}": STEP})


# What grows, and how many steps fit.
SESSIONS: dict[str, tuple[Grow, int]] = {
    "metadata": (lambda store, n: store.sessions.update("s", metadata={f"k{n}": STEP}), 13),
    "insights": (integrated, 3),
    "metadata of the newest message": (recorded("m199"), 3),
    "metadata of a message in the tail": (recorded("m190"), 3),
    "metadata of a message in a segment": (recorded("m3"), 3),
    "metadata of a large message": (recorded("large"), 3),
}
THREADS: dict[str, tuple[Grow, int]] = {
    "data": (lambda store, n: store.threads.merge("t", data={f"k{n}": STEP * 10}), 3),
    "metadata": (lambda store, n: store.threads.update("t", metadata={f"k{n}": STEP * 10}, unset=[]), 3),
    "data of a message": (
        lambda store, n: store.threads.messages.merge("t", "m", data={f"k{n}": STEP * 10}),
        5,
    ),
}
ROOMS: dict[str, tuple[Grow, int]] = {
    "metadata": (lambda store, n: store.rooms.update("r", metadata={f"k{n}": STEP * 10}, unset=[]), 5),
    "private": (lambda store, n: store.rooms.set_private("r", f"k{n}", STEP * 10), 5),
}


async def session_with_messages(store: AsyncMongoStore) -> None:
    await store.sessions.create("s", participants=["p"])
    await store.sessions.messages.append("s", Message(id="large", role="user", content="x" * 2 * MB))
    texts = [Message(id=f"m{n}", role="user", content="text") for n in range(200)]
    await store.sessions.messages.append_many("s", texts)


async def grown(store: AsyncMongoStore, grow: Grow) -> int:
    """Let something grow to its limit and return how many steps it took."""
    for n in range(100):
        try:
            await grow(store, n)
        except DocumentTooLargeError:
            return n
    raise AssertionError("it grows without a limit")


async def use_session(store: AsyncMongoStore) -> None:
    sessions = store.sessions
    await sessions.update("s", user_id="u", name="n", data={"k": "x" * 4 * MB})
    await sessions.messages.append_many(
        "s", [Message(id=f"n{n}", role="user", content="x" * 900_000) for n in range(6)]
    )
    await sessions.messages.update("s", "m190", content="new", metadata={"a": None})
    await sessions.messages.update("s", "m3", content="new", metadata={"a": None})
    await sessions.messages.upsert("s", Message(id="m4", role="user", content="new"))
    assert await sessions.messages.delete_many("s", ["m5", "m198"]) == 2
    await sessions.context.set("s", "x" * 60_000)
    await sessions.participants.create("s", "q")
    await sessions.turns.append("s", "q", Turn(role="user", content="x" * 900_000))
    await sessions.turns.integrate("s", lambda *_: [])
    assert len([message async for message in sessions.messages.iter("s")]) >= 204
    assert (await sessions.get("s")).name == "n"
    assert await sessions.participants.delete("s", "p")
    assert await sessions.soft_delete("s")
    await sessions.undelete("s")
    await sessions.truncate("s")
    assert await sessions.delete("s")


async def thread_with_messages(store: AsyncMongoStore) -> None:
    await store.threads.create("t")
    for id in ("m", "n"):
        await store.threads.messages.merge("t", id, content="text")


async def use_thread(store: AsyncMongoStore) -> None:
    threads, messages = store.threads, store.threads.messages
    feedback = Feedback(message_id="m", value=1, comment="x" * 60_000)
    await threads.feedback.upsert("t", feedback)
    await threads.feedback.upsert("t", Feedback(message_id="n", value=0))
    await messages.merge("t", "m", only_missing=True, kind="step", created_at=datetime.now(UTC))
    await messages.merge("t", "m", content="word", pinned=True)
    await messages.merge("t", "late", content="x" * 15 * MB)
    await threads.elements.upsert("t", Element(id="e", message_id="m", data={"k": "x" * 9 * MB}))
    user = await threads.users.ensure("ada")
    await threads.merge("t", user_id=user.id, name="name", tags=["a"], if_absent=True)
    assert (await threads.update("t", kind="k", data={"k": STEP})).name == "name"
    await threads.merge("t", data={"l": STEP})
    assert (await messages.get("t", "m")).feedback == (await threads.feedback.find("t", "m"))
    assert [one.id for one in await threads.list(vote=1)] == ["t"]
    assert [one.id for one in await threads.list(text="name")] == ["t"]
    assert await threads.feedback.delete("t", "n")
    assert await messages.delete("t", "m")
    assert await threads.delete("t")
    await messages.merge("t", "again", content="x", begun_at=datetime.now(UTC))
    await threads.merge("t", data={"k": "x" * 9 * MB})


async def use_room(store: AsyncMongoStore) -> None:
    await store.rooms.events.append("r", Event(channel_id="c", content="x" * 2 * MB))
    room = await store.rooms.update("r", status="paused", organization_id="o" * 500)
    assert await store.rooms.advance_delivered_index("r", 0)
    await store.rooms.replace(room.model_copy(update={"data": {"k": 1}}))
    assert await store.rooms.delete("r")


class TestSizeLimits:
    @pytest.mark.parametrize("name", SESSIONS)
    async def test_a_session_at_a_limit_is_used_as_before(self, store: AsyncMongoStore, name: str) -> None:
        await session_with_messages(store)
        grow, steps = SESSIONS[name]
        assert await grown(store, grow) == steps
        await use_session(store)

    async def test_a_session_at_all_limits_is_used_as_before(self, store: AsyncMongoStore) -> None:
        await session_with_messages(store)
        for grow, steps in SESSIONS.values():
            assert await grown(store, grow) == steps
        await use_session(store)

    @pytest.mark.parametrize("name", ROOMS)
    async def test_a_room_at_a_limit_is_used_as_before(self, store: AsyncMongoStore, name: str) -> None:
        await store.rooms.create("r")
        grow, steps = ROOMS[name]
        assert await grown(store, grow) == steps
        await use_room(store)

    @pytest.mark.parametrize("name", THREADS)
    async def test_a_thread_at_a_limit_is_used_as_before(self, store: AsyncMongoStore, name: str) -> None:
        await thread_with_messages(store)
        grow, steps = THREADS[name]
        assert await grown(store, grow) == steps
        await use_thread(store)

    async def test_a_thread_full_of_feedback_is_used_as_before(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The true one is of tens of thousands of messages.
        monkeypatch.setitem(vars(VOTES), "limit", 1500)
        await thread_with_messages(store)
        verbs = store.threads.feedback

        async def vote(store: AsyncMongoStore, n: int) -> None:
            await store.threads.messages.merge("t", f"v{n}", content="x")
            await verbs.upsert("t", Feedback(id=f"f{n}", message_id=f"v{n}", value=1))

        steps = await grown(store, vote)
        assert 10 < steps < 40
        assert await verbs.find("t", f"v{steps}") is None
        for value in (0, 1) * 20:
            await verbs.upsert("t", Feedback(message_id="v0", value=value))
        with pytest.raises(DocumentTooLargeError) as caught:
            await vote(store, steps)
        assert str(caught.value).endswith("delete feedback")
        for n in range(3):
            await verbs.delete("t", f"v{n}")
        await use_thread(store)

    @pytest.mark.long
    async def test_a_thread_with_all_at_their_limits_fits_into_a_document(
        self, store: AsyncMongoStore
    ) -> None:
        await thread_with_messages(store)
        votes = [{"message_id": f"{n:0500}", "value": 0} for n in range(5_000_000 // 545)]
        votes_size = bson_size("votes", {"votes": votes})
        assert VOTES.limit - 100_000 < votes_size <= VOTES.limit
        full = {"votes": votes, "votes_size": votes_size}
        await store.engine.collection("threads").update_one({"_id": "t"}, {"$set": full})
        for grow, _ in THREADS.values():
            await grown(store, grow)
        await store.threads.feedback.upsert("t", Feedback(message_id="n", value=0))
        await store.threads.feedback.delete("t", "n")
        await store.threads.update("t", metadata={"k0": None}, name=STEP)
        assert await store.threads.delete("t")

    async def test_a_message_keeps_the_words_of_its_present_texts_alone_once_it_has_many(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, is_many in (("_MANY_WORDS", True), ("_NOT_MANY_WORDS", False)):
            monkeypatch.setattr(message_writer, name, {"words.100": {"$exists": is_many}})
        await store.threads.create("t")
        await store.threads.messages.merge("t", "m", data={"output": "lasting"})
        for n in range(20):
            text = " ".join(f"word{n}x{i}" for i in range(30))
            await store.threads.messages.merge("t", "m", content=text)
        [stored] = [one async for one in store.engine.collection("messages").find({"_id": "m"})]
        assert len(stored["words"]) <= 131
        for text, found in (("lasting", ["t"]), ("word19x29", ["t"]), ("word3x3", [])):
            assert [one.id for one in await store.threads.list(text=text)] == found

    async def test_a_thread_keeps_the_words_of_its_present_name_alone(self, store: AsyncMongoStore) -> None:
        await store.threads.create("t", name="first")
        for n in range(3):
            await store.threads.update("t", name=f"word{n} lasting")
            await store.threads.merge("t", name=f"other{n} lasting")
        stored = await store.engine.collection("threads").find_one({"_id": "t"})
        assert stored is not None
        assert sorted(stored["words"]) == ["lasting", "other2"]
        for text, found in {"lasting": ["t"], "other2": ["t"], "other1": [], "first": []}.items():
            assert [one.id for one in await store.threads.list(text=text)] == found
        await store.threads.update("t", name=None)
        assert not await store.threads.list(text="lasting")

    async def test_a_session_full_of_participants_is_used_as_before(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The true one is of thousands.
        monkeypatch.setitem(vars(PARTICIPANTS), "limit", 3000)
        await session_with_messages(store)
        verbs = store.sessions.participants
        steps = await grown(store, lambda store, n: verbs.create("s", f"{n}{'x' * 100}"))
        assert 8 < steps < 20
        for n in range(3):
            assert await verbs.delete("s", f"{n}{'x' * 100}")
            await verbs.ensure("s", f"{n}{'x' * 100}")
        with pytest.raises(DocumentTooLargeError) as caught:
            await verbs.ensure("s", "y" * 100)
        with pytest.raises(DocumentTooLargeError):
            await SessionTransfer.of(store.sessions).bind("s", "y" * 100, datetime(2026, 1, 1, tzinfo=UTC))
        assert str(caught.value).endswith("delete participants of it")
        with pytest.raises(DocumentTooLargeError):
            await store.sessions.create("t", participants=[f"{n}{'x' * 100}" for n in range(30)])
        for n in range(3):
            assert await verbs.delete("s", f"{n}{'x' * 100}")
        await use_session(store)

    async def test_an_event_that_is_filled_to_the_last_byte_is_used_as_before(
        self, store: AsyncMongoStore
    ) -> None:
        events = store.rooms.events
        await store.rooms.create("r")
        event = await events.append("r", Event(id="e", channel_id="c", content="x" * 9 * MB))
        for size in (3 * MB, 200_000, 10_000, 500, 20):
            assert await grown(
                store,
                lambda store, n, size=size: events.update("r", "e", metadata={f"{size}-{n}": "x" * size}),
            )
        for n in range(20):
            event = await events.update("r", "e", status=f"{n}{'x' * 500}", visibility="x" * 500)
        with pytest.raises(DocumentTooLargeError):
            await events.update("r", "e", delivery_results={"c": STEP})
        edit = Event(channel_id="c", change="edit", target_event_id="e")
        await events.append("r", edit, target=event.model_copy(update={"metadata": {}}))
        await events.update("r", "e", delivery_results={"c": STEP})

    async def test_an_identity_at_its_limit_is_used_as_before(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The true one is that of a document, which takes tens of thousands of addresses.
        monkeypatch.setattr(identities, "MERGED", replace(identities.MERGED, limit=2000))
        verbs = store.rooms.identities
        await verbs.create(Identity(id="i", addresses={"sms": ["x" * 100]}))
        steps = await grown(store, lambda store, n: verbs.link_address("i", "sms", f"{n}{'x' * 100}"))
        assert 10 < steps < 20
        assert await verbs.find_by_address("sms", f"{steps}{'x' * 100}") is None
        assert (await verbs.unlink_address("i", "sms", "x" * 100)).addresses
        assert await verbs.link_address("i", "sms", "x" * 100)
        await verbs.create(Identity(id="j"))
        assert await verbs.link_address("j", "sms", f"{steps}{'x' * 100}")

    async def test_only_what_is_there_counts(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s")
        await store.rooms.create("r")
        for n in range(20):
            await store.sessions.update("s", metadata={"k": f"{n}{STEP}"}, name=str(n))
            await store.sessions.update("s", metadata={"k": None, "l": STEP})
            await store.rooms.update("r", metadata={"k": f"{n}{STEP * 10}"}, data={"n": n})
        assert (await store.sessions.get("s")).metadata == {"l": STEP}
        assert (await store.rooms.get("r")).metadata == {"k": f"19{STEP * 10}"}

    async def test_the_error_says_what_is_full_and_what_to_do(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", metadata={"k": "x" * 4 * MB})
        with pytest.raises(DocumentTooLargeError) as caught:
            await store.sessions.update("s", metadata={"l": STEP})
        assert "session 's'" in str(caught.value)
        assert "metadata" in str(caught.value)
        assert str(caught.value).endswith("remove keys or shorten values")

    async def test_64_old_messages_take_metadata_of_their_limit_each(self, store: AsyncMongoStore) -> None:
        await session_with_messages(store)
        metadata = {"sources": STEP * 3}
        for n in range(64):
            await store.sessions.messages.update("s", f"m{n}", metadata=metadata)
        for n in (0, 31, 63):
            message = await store.sessions.messages.get("s", f"m{n}")
            assert (message.content, message.metadata) == ("text", metadata)
        await store.sessions.messages.update("s", "m63", metadata={"sources": None, "k": 1})
        assert (await store.sessions.messages.get("s", "m63")).metadata == {"k": 1}

    async def test_merges_at_the_same_time_keep_the_limit(self, store: AsyncMongoStore) -> None:
        await session_with_messages(store)
        for grow, steps in (SESSIONS["metadata"], SESSIONS["metadata of a message in a segment"]):
            done = await asyncio.gather(*(grow(store, n) for n in range(20)), return_exceptions=True)
            refused = [one for one in done if isinstance(one, DocumentTooLargeError)]
            assert len(done) - len(refused) == steps
