"""Our session of the OpenAI Agents SDK: what its own tests leave out."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from agents import SessionSettings
from agents.memory import Session
from agents.testing import ScriptedModel, assistant_message
from hypothesis import given
from hypothesis import strategies as st

from mongostore import AsyncMongoStore, InvalidValueError, Message, NotFoundError, NotOpenError
from mongostore.adapters.openai_agents import MongoSession
from mongostore.adapters.openai_agents.items import to_item, to_message
from tests.examples import openai_agent as example

MiB = 1024 * 1024
CALL = {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}', "id": "__fake_id__"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "42"}
PARTS = [{"type": "output_text", "text": "hello", "annotations": []}]
ITEMS: list[Any] = [
    {"role": "user", "content": "hi"},
    {"type": "message", "role": "assistant", "id": "m1", "status": "completed", "content": PARTS},
    CALL,
    OUTPUT,
    {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "two"}]},
    {"type": "reasoning", "id": "r1", "summary": [{"type": "summary_text", "text": "think"}]},
    {"type": "reasoning", "id": "r1", "summary": [], "content": [{"type": "reasoning_text", "text": "x"}]},
    {"type": "compaction", "id": "cmp", "encrypted_content": "x"},
    {"type": "item_reference", "id": "m1"},
]
ODD: list[Any] = [
    *("text", 7, None, [1], {}, {"item": 1}, {"item": {"role": "user"}}),
    *({"role": "user"}, {"role": "user", "content": None}, {"role": 5, "content": "x"}, {"role": ""}),
    *({"type": "message", "content": "x"}, {"type": "function_call", "role": "assistant"}, {"type": 3}),
    *({"type": "reasoning"}, {"type": "reasoning", "content": []}, {"type": "x_output", "content": "x"}),
    *({**CALL, "tool_calls": 1}, {**OUTPUT, "tool_call_id": "c2"}, {"type": "x", "tool_call_id": "c"}),
    *(
        {"type": "function_call", "call_id": None, "name": 1, "arguments": {}},
        {"call_id": "c", "role": "tool"},
    ),
    {"role": "user", "content": {"a.b": 1, "$x": {"\0": 2}}, "n": 2**80, "half": "\ud800"},
]
KEYS = {"role", "content", "summary", "item", "tool_calls", "tool_call_id", *CALL, *OUTPUT}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(sorted(KEYS)) | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@pytest.fixture
def session(store: AsyncMongoStore) -> MongoSession:
    return MongoSession("s", store=store, user_id="ada", name="Sums", metadata={"tier": "gold"})


async def snapshot_of(session: MongoSession, limit: int) -> Any:
    return await session._get_compaction_snapshot(limit)


def numbered(start: int, count: int, name: str = "") -> list[Any]:
    return [{"role": "user", "content": f"{name}{number}"} for number in range(start, start + count)]


@given(JSON)
def test_any_item_comes_back_from_its_message(item: Any) -> None:
    message = to_message(item)
    assert to_item(message) == json.loads(json.dumps(item))


def test_it_is_the_sdks_session(session: MongoSession) -> None:
    assert isinstance(session, Session)


@pytest.mark.smoke
async def test_items_come_back_in_order(session: MongoSession) -> None:
    await session.add_items([*ITEMS, *ODD, *ITEMS])
    assert await session.get_items() == [*ITEMS, *ODD, *ITEMS]
    await session.add_items([{"content": ({"a": 1}, math.nan), "role": "user", 5: None}])
    last: Any = await session.pop_item()
    assert last["content"][0] == {"a": 1}
    assert math.isnan(last["content"][1])
    assert last["5"] is None


async def test_what_is_stored_has_the_common_form(session: MongoSession, store: AsyncMongoStore) -> None:
    await session.add_items(ITEMS[:6])
    stored = (await (await session.sessions()).messages.list("s")).items
    assert [message.role for message in stored] == [
        "user",
        "assistant",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]
    assert [message.content for message in stored[:4]] == ["hi", PARTS, None, "42"]
    [listed] = await (await session.sessions()).list(user_id="ada")
    assert listed.name == "Sums"
    assert listed.metadata == {"tier": "gold"}
    assert listed.last is not None
    assert listed.last.text == "think"


async def test_calls_of_functions_are_known_as_in_a_chat(session: MongoSession) -> None:
    await session.add_items([CALL, OUTPUT])
    call, output = (await (await session.sessions()).messages.list("s")).items
    assert call.to_openai()["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    ]
    assert (output.role, output.content, output.data["tool_call_id"]) == ("tool", "42", "c1")


async def test_what_is_no_json_value_is_refused_before_anything_is_written(session: MongoSession) -> None:
    with pytest.raises(TypeError):
        await session.add_items([{"role": "user", "content": "x"}, {"role": "user", "content": object()}])
    assert await session.get_items() == []


@pytest.mark.parametrize("session_id", [5, None, b"s", "x" * 600])
def test_a_session_id_that_is_no_plain_text_is_refused(session_id: Any) -> None:
    with pytest.raises(InvalidValueError) as refused:
        MongoSession(session_id)
    assert isinstance(refused.value, TypeError)


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, 1050), (0, 0), (-1, 1050), (1, 1), (200, 200), (1000, 1000), (1049, 1049)]
)
async def test_a_limit_takes_the_newest(session: MongoSession, limit: int | None, expected: int) -> None:
    everything = numbered(0, 1050)
    await session.add_items(everything[:1000])
    await session.add_items(everything[1000:])
    assert await session.get_items(limit) == (everything[-expected:] if expected else [])


async def test_the_limit_of_the_settings_holds_where_none_is_named(store: AsyncMongoStore) -> None:
    session = MongoSession("s", store=store, session_settings=SessionSettings(limit=2))
    await session.add_items(numbered(0, 4))
    assert await session.get_items() == numbered(2, 2)
    assert await session.get_items(limit=3) == numbered(1, 3)


async def test_of_an_unknown_session_there_is_nothing(session: MongoSession, store: AsyncMongoStore) -> None:
    assert await session.get_items() == await session.get_items(5) == []
    assert await session.pop_item() is None
    await session.clear_session()
    await session.add_items([])
    assert not await (await session.sessions()).exists("s")


async def test_a_cleared_session_goes_on(session: MongoSession) -> None:
    await session.add_items(numbered(0, 3))
    await session.clear_session()
    await session.add_items(numbered(7, 1))
    assert await session.get_items() == numbered(7, 1)
    assert [each.name for each in await (await session.sessions()).list(user_id="ada")] == ["Sums"]


async def test_a_closed_session_refuses_every_call(session: MongoSession) -> None:
    await session.close()
    for call in (
        session.get_items,
        session.pop_item,
        session.clear_session,
        lambda: session.add_items([]),
        lambda: session.add_items(numbered(0, 1)),
    ):
        with pytest.raises(NotOpenError):
            await call()


async def test_two_items_of_9_mb_are_one_batch(session: MongoSession) -> None:
    items = [{"role": "user", "content": letter * 9 * MiB} for letter in "ab"]
    await session.add_items(items)
    assert await session.get_items() == items


async def test_every_item_is_popped_once(session: MongoSession) -> None:
    await session.add_items(numbered(0, 60))
    popped = await asyncio.gather(*(session.pop_item() for _ in range(60)))
    assert sorted(str(item) for item in popped) == sorted(str(item) for item in numbered(0, 60))
    assert await session.pop_item() is None


async def test_pops_beside_appends_lose_and_double_nothing(session: MongoSession) -> None:
    await session.add_items(numbered(0, 20))
    adding = [session.add_items(numbered(number, 2)) for number in range(20, 60, 2)]
    popped, _ = await asyncio.gather(
        asyncio.gather(*(session.pop_item() for _ in range(20))), asyncio.gather(*adding)
    )
    remaining = await session.get_items()
    assert sorted(map(str, [*popped, *remaining])) == sorted(map(str, numbered(0, 60)))


async def test_an_append_beside_a_clear_is_there_or_was_cleared(session: MongoSession) -> None:
    for number in range(20):
        batch = numbered(2 * number, 2)
        clearing = asyncio.ensure_future(session.clear_session())
        adding = asyncio.ensure_future(session.add_items(batch))
        await clearing
        is_late = not adding.done()
        await adding
        # Nothing could clear one that had not ended when the clear had.
        assert await session.get_items() in ([batch] if is_late else [batch, []])


async def test_batches_of_16_writers_stay_together(session: MongoSession) -> None:
    batches = [numbered(0, 5, f"{writer}/{turn}/") for writer in range(16) for turn in range(4)]
    await asyncio.gather(*(session.add_items(batch) for batch in batches))
    stored = await session.get_items()
    found = [stored[start : start + 5] for start in range(0, len(stored), 5)]
    assert sorted(map(str, found)) == sorted(map(str, batches))


async def test_a_cancelled_append_has_ended_when_that_is_raised(session: MongoSession) -> None:
    """At whichever step it is cancelled: what is stored is all or nothing, and nothing comes later."""
    stored: list[Any] = []
    for steps in range(60):
        batch = numbered(steps, 2)
        adding = asyncio.ensure_future(session.add_items(batch))
        for _ in range(steps % 30):
            await asyncio.sleep(0)
        adding.cancel()
        cancelled = (await asyncio.gather(adding, return_exceptions=True))[0] is not None
        found = await session.get_items()
        assert found in (stored, stored + batch)
        assert cancelled or found == stored + batch
        stored = found
    assert len(stored) >= 60


async def test_a_suffix_is_replaced_only_if_it_is_still_the_newest(session: MongoSession) -> None:
    everything = numbered(0, 6)
    await session.add_items(everything)
    snapshot = await snapshot_of(session, 4)
    assert (snapshot.items, snapshot.complete) == (everything[2:], False)
    late = await snapshot_of(session, 10)
    assert (late.items, late.complete) == (everything, True)
    assert await snapshot.replace_suffix(1, numbered(9, 1))
    assert await session.get_items() == everything[:3] + numbered(9, 1)
    assert not await late.replace_suffix(0, [])
    assert not await snapshot.replace_suffix(4, numbered(8, 1))
    assert await session.get_items() == everything[:3] + numbered(9, 1)


async def test_what_a_subclass_does_to_items_is_not_passed_by(store: AsyncMongoStore) -> None:
    class Translated(MongoSession):
        async def get_items(self, limit: int | None = None) -> list[Any]:
            return []

    assert await snapshot_of(Translated("s", store=store), 4) is None


async def test_a_conversation_of_another_service_goes_on(store: AsyncMongoStore) -> None:
    chat = {"role": "user", "content": "Where is the Louvre?"}
    await store.sessions.messages.append("chat", Message.from_openai(chat), create={"user_id": "ada"})
    session = MongoSession("chat", store=store, namespace="default")
    assert await session.get_items() == [chat]
    await session.add_items([{"role": "assistant", "content": "In Paris."}])
    listed = await store.sessions.messages.list("chat")
    assert [message.to_openai()["content"] for message in listed] == [chat["content"], "In Paris."]


async def test_a_softly_deleted_session_takes_no_items(session: MongoSession) -> None:
    await session.add_items(numbered(0, 1))
    await (await session.sessions()).soft_delete("s")
    assert await session.get_items() == []
    with pytest.raises(NotFoundError):
        await session.add_items(numbered(1, 1))


@pytest.mark.smoke
async def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    answers = [[assistant_message("In Paris.")], [assistant_message("At nine.")]]
    await example.main(ScriptedModel(steps=answers))
    assert capsys.readouterr().out.splitlines() == ["In Paris.", "At nine.", "ada-1 Paris 4 At nine."]
