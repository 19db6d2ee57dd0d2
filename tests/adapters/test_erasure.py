"""One person planted through each adapter, erased: nothing of hers is left in the raw database."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from mongostore import AsyncMongoStore
from tests.contract.planting import ADA, BOB, HERS, IDS, MAIL, PHONE, THEIRS, holding, text_of


async def check_erased(store: AsyncMongoStore, name: str, mode: Any = "delete") -> None:
    """Erase a person and check that her strings are gone, and those of others are not."""
    assert await holding(store, HERS) != {}
    others = await holding(store, (THEIRS, BOB.encode()))
    person = await store.people.get(name)
    planned = await store.people.erase(person, mode=mode, dry_run=True)
    report = await store.people.erase(person, mode=mode)
    assert report.errors == []
    assert planned.lines == report.lines
    assert await holding(store, HERS) == {}
    assert await holding(store, (THEIRS, BOB.encode())) == others


@pytest.mark.parametrize("mode", ["delete", "anonymize"])
async def test_nothing_is_left_of_a_user_of_chainlit(layer: Any, store: AsyncMongoStore, mode: Any) -> None:
    from tests.adapters.chainlit_parts import Feedback, chainlit, claim, element, message

    for identifier, thread, words in ((MAIL, "t1", text_of("chainlit")), (BOB, "t2", "bobword chainlit")):
        await claim(layer, thread, identifier=identifier)
        await layer.create_user(chainlit.User(identifier=identifier, metadata={"about": words}))
        await layer.update_thread(thread, name=words, metadata={"k": words}, tags=[words])
        step = message(f"m-{thread}", words, name=identifier, threadId=thread)
        await layer.create_step(step)
        await layer.create_element(
            element("Text", name=words, for_id=f"m-{thread}", thread_id=thread, content=words)
        )
        await layer.upsert_feedback(Feedback(forId=f"m-{thread}", value=1, threadId=thread, comment=words))
    await check_erased(store, MAIL, mode)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="RoomKit needs Python 3.12")
@pytest.mark.parametrize("mode", ["delete", "anonymize"])
async def test_nothing_is_left_of_a_person_in_roomkit(store: AsyncMongoStore, mode: Any) -> None:
    from roomkit.models.channel import ChannelBinding
    from roomkit.models.enums import ChannelType
    from roomkit.models.event import EventSource, RoomEvent, TextContent
    from roomkit.models.identity import Identity
    from roomkit.models.participant import Participant
    from roomkit.models.room import Room
    from roomkit.models.task import Observation, Task

    from mongostore.adapters.roomkit import MongoConversationStore

    rooms = MongoConversationStore(store=store)
    await rooms.create_identity(
        Identity(
            id=f"i-{ADA}",
            display_name=text_of("name"),
            email=MAIL,
            phone=PHONE,
            channel_addresses={"sms": [PHONE]},
        )
    )
    for room_id, people in (("alone", [ADA]), ("shared", [ADA, BOB])):
        await rooms.create_room(Room(id=room_id))
        for name in people:
            words, channel = text_of("x") if name == ADA else "bobword x", "sms" if name == ADA else "web"
            await rooms.add_participant(
                Participant(
                    id=name,
                    room_id=room_id,
                    channel_id=channel,
                    display_name=words,
                    identity_id=f"i-{name}",
                    external_id=words,
                )
            )
            await rooms.add_binding(
                ChannelBinding(
                    channel_id=channel,
                    room_id=room_id,
                    channel_type=ChannelType.SMS,
                    participant_id=name,
                    metadata={"phone_number": PHONE if name == ADA else "bobword"},
                )
            )
            source = EventSource(
                channel_id=channel, channel_type=ChannelType.SMS, participant_id=name, external_id=words
            )
            event = RoomEvent(
                room_id=room_id, source=source, content=TextContent(body=words), metadata={"k": words}
            )
            await rooms.commit_event(room_id, event)
            await rooms.add_task(
                Task(id=f"t-{room_id}-{channel}", room_id=room_id, title=words, assigned_to=name)
            )
            await rooms.add_observation(
                Observation(
                    id=f"o-{room_id}-{channel}",
                    room_id=room_id,
                    channel_id=channel,
                    content=words,
                    metadata={"by": name},
                )
            )
            await rooms.mark_all_read(room_id, channel)
    await check_erased(store, ADA, mode)
    assert await rooms.get_room("alone") is None
    assert len(await rooms.list_participants("shared")) == (1 if mode == "delete" else 2)
    assert [event.source.participant_id for event in await rooms.list_events("shared")][-1] == BOB
    if mode == "anonymize":
        assert len(await rooms.list_events("shared")) == 2


async def test_nothing_is_left_of_a_user_of_agents(store: AsyncMongoStore) -> None:
    from mongostore.adapters.openai_agents import MongoSession

    for name, words in ((ADA, text_of("agents")), (BOB, "bobword agents")):
        session = MongoSession(IDS[name], store=store, user_id=name, metadata={"k": words})
        await session.add_items([{"role": "user", "content": words}])
    await check_erased(store, ADA)


async def test_nothing_is_left_of_a_user_of_claude(store: AsyncMongoStore) -> None:
    from mongostore.adapters.claude_agent_sdk import MongoSessionStore

    for name, words in ((ADA, text_of("claude")), (BOB, "bobword claude")):
        transcripts = MongoSessionStore(store=store, user_of=lambda key, name=name: name)
        key: Any = {"project_key": "p", "session_id": IDS[name]}
        entry: Any = {"type": "user", "uuid": words[-3:], "message": {"role": "user", "content": words}}
        await transcripts.append(key, [entry])
        await transcripts.append({**key, "subpath": "subagents/one"}, [{**entry, "uuid": words}])
    await check_erased(store, ADA)


@pytest.mark.server
async def test_nothing_is_left_of_an_owner_in_threadmem(
    server_store: AsyncMongoStore, server_uri: str, database: str
) -> None:
    import asyncio

    from mongostore import MongoStore
    from mongostore.adapters.threadmem import RoleThread, configure

    def plant() -> None:
        with MongoStore(server_uri, database) as store:
            configure(store=store)
            for name, words in ((ADA, text_of("role")), (BOB, "bobword role")):
                thread = RoleThread(owner_id=name, name=words, metadata={"k": words})
                thread.post("user", words)
            configure()

    await asyncio.to_thread(plant)
    await check_erased(server_store, ADA)
