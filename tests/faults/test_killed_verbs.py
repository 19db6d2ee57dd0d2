"""A verb that is killed before any of its writes is made good by the next caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from mongostore import AsyncMongoStore, ConflictError, Message, NotFoundError, Turn
from tests.contract.planting import ADA, BOB, HERS, THEIRS, holding, plant
from tests.importers.test_killed_imports import LIMITS, is_killed

Step = Callable[[AsyncMongoStore], Awaitable[Any]]

FIRST, TEXT = b"a" * 600_000, "".join(letter * 20_000 for letter in "abcd")


async def make_turns(store: AsyncMongoStore) -> None:
    await store.sessions.create("s", participants=["p", "q"])
    for name in ("p", "q"):
        turns = [Turn(role="user", content="x" * (3000 if n == 1 else 5)) for n in range(11)]
        await store.sessions.turns.append_many("s", name, turns)


async def integrate(store: AsyncMongoStore) -> None:
    def insights_of(participant: str, turns: Sequence[Turn]) -> list[Any]:
        return [[participant, *(turn.number for turn in turns)], "y" * 3000]

    await store.sessions.turns.integrate("s", insights_of)


async def insights(store: AsyncMongoStore) -> Any:
    return [
        (one.id, one.insights, one.integrated_until) for one in (await store.sessions.get("s")).participants
    ]


async def anonymize(store: AsyncMongoStore) -> None:
    with suppress(NotFoundError):
        await store.people.erase(await store.people.get(ADA), mode="anonymize")


async def shared(store: AsyncMongoStore) -> Any:
    """Return what there is of others, and of her in what she shared."""
    assert await holding(store, HERS) == {}
    events = [(one.id, one.participant_id, one.content) async for one in store.rooms.events.iter("shared")]
    people = [(one.id, one.data) async for one in store.rooms.participants.iter("shared")]
    bindings = [(one.channel_id, one.metadata) async for one in store.rooms.bindings.iter("shared")]
    return events, people, bindings, await holding(store, (THEIRS, BOB.encode()))


async def make_files(store: AsyncMongoStore) -> None:
    for key in ("k", "other"):
        await store.threads.files.upload(key, FIRST, data={"by": "first"})


async def upload(store: AsyncMongoStore) -> None:
    await store.threads.files.upload("k", b"b" * 4_600_000, data={"by": "second"})


async def upload_little(store: AsyncMongoStore) -> None:
    await store.threads.files.upload("k", b"little")


async def delete_file(store: AsyncMongoStore) -> None:
    await store.threads.files.delete("k")


async def files(store: AsyncMongoStore) -> Any:
    found = [(one.key, one.size, one.data) async for one in store.threads.files.iter()]
    contents = [await store.threads.files.read(key) for key, _, _ in found]
    chunks = await store.engine.database["files.chunks"].count_documents({})
    return found, contents, chunks, await store.engine.database["files.files"].count_documents({})


async def make_session(store: AsyncMongoStore) -> None:
    texts = [Message(id=f"m{n}", role="user", content="x") for n in range(6)]
    await store.sessions.messages.append_many("s", texts, create=True)


async def write(store: AsyncMongoStore) -> None:
    async with store.sessions.messages.stream("s", id="g", flush_every=5) as stream:
        for letter in "abcd":
            await stream.write(letter * 20_000)
            message = await stream.flush()
            assert TEXT.startswith(message.content)


async def write_again(store: AsyncMongoStore) -> None:
    with suppress(ConflictError):
        # It may be complete.
        await write(store)


async def delete_message(store: AsyncMongoStore) -> None:
    await store.sessions.messages.delete("s", "g")


async def put_message(store: AsyncMongoStore) -> None:
    with suppress(ConflictError):
        await store.sessions.messages.upsert("s", Message(id="g", role="assistant", content="other"))


async def messages(store: AsyncMongoStore) -> Any:
    found = [(one.id, one.content, one.status) async for one in store.sessions.messages.iter("s")]
    return sorted(found), await store.engine.database["session_overflows"].count_documents({})


# What is there before, what is killed, what comes next, and what there is then.
CASES: dict[str, tuple[Step, Step, Step, Step]] = {
    "integrate": (make_turns, integrate, integrate, insights),
    "anonymize": (plant, anonymize, anonymize, shared),
    "upload": (make_files, upload, upload, files),
    "upload, then a little one": (make_files, upload, upload_little, files),
    "upload, then delete": (make_files, upload, delete_file, files),
    "delete a file": (make_files, delete_file, delete_file, files),
}

CASES |= {
    f"stream, then {name}": (make_session, write, then, messages)
    for name, then in {"again": write_again, "delete": delete_message, "upsert": put_message}.items()
}


async def opened(make: Step) -> AsyncMongoStore:
    store = AsyncMongoStore(f"mongomock://{uuid4().hex}", tail_limits=LIMITS)
    await store.open()
    await make(store)
    return store


@pytest.mark.parametrize(
    ("name", "every"),
    [
        # A person is long in the making.
        *((name, 20 if name == "anonymize" else 1) for name in CASES),
        pytest.param("anonymize", 7, marks=pytest.mark.long),
    ],
)
async def test_a_verb_that_is_killed_before_any_write_is_made_good_by_the_next_caller(
    monkeypatch: pytest.MonkeyPatch, name: str, every: int
) -> None:
    make, verb, then, state = CASES[name]
    store = await opened(make)
    await verb(store)
    await then(store)
    expected = await state(store)
    await store.close()
    number, was_killed = 1, True
    while was_killed:
        store = await opened(make)
        was_killed = await is_killed(number, verb(store), monkeypatch)
        # An upload ends those that began before it, by times of milliseconds.
        await asyncio.sleep(0.002)
        await then(store)
        # What nobody refers to any more is deleted when a store opens, or by the doctor.
        await store.mend_leftovers(grace=0)
        assert await store.find_leftovers() == []
        assert await state(store) == expected, f"before write {number}"
        await store.close()
        number += every
    assert number > every


async def test_the_text_of_a_killed_stream_is_a_beginning_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    number, was_killed, seen = 1, True, set[int]()
    while was_killed:
        store = await opened(make_session)
        was_killed = await is_killed(number, write(store), monkeypatch)
        if (found := await store.sessions.messages.find("s", "g")) is not None:
            assert TEXT.startswith(found.content)
            assert found.status != "complete" or found.content == TEXT
            seen.add(len(found.content))
        await store.close()
        number += 1
    assert seen == {0, 20_000, 40_000, 60_000, 80_000}
