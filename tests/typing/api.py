"""Never run, only type-checked: the public API as its users write it."""

from __future__ import annotations

from typing import assert_type

from mongostore import AsyncMongoStore, Change, Conversation, Message, MongoStore, Page, Session


async def async_use(store: AsyncMongoStore) -> None:
    sessions = store.sessions.in_namespace("acme")
    assert_type(await sessions.create("s", metadata={"k": 1}), Session)
    assert_type(await sessions.find("s"), Session | None)
    assert_type(await sessions.update("s", name="n", metadata={"k": None}, revision=3), Session)
    message = await sessions.append_message("s", Message(role="user", content="hi"))
    assert_type(message, Message)
    assert_type(await sessions.update_message("s", message.id, content=[1]), None)
    assert_type(await sessions.upsert_message("s", message), bool)
    page = await sessions.list_messages("s", newest=True, limit=20)
    assert_type(page, Page[Message])
    assert_type(page.items[0].position, int | None)
    assert_type(await sessions.list(user_id="u", cursor=page.next_cursor), Page[Session])
    assert_type(await sessions.conversations("s"), list[Conversation])
    async for one in sessions.iter_messages("s"):
        assert_type(one, Message)
    async for change in sessions.watch("s"):
        assert_type(change, Change)


def blocking_use(store: MongoStore) -> None:
    sessions = store.sessions.in_namespace("acme")
    assert_type(sessions.create("s", metadata={"k": 1}), Session)
    assert_type(sessions.update("s", name="n", revision=3), Session)
    assert_type(sessions.list_messages("s", newest=True, limit=20), Page[Message])
    assert_type(sessions.delete_messages("s"), int)
    for message in sessions.iter_messages("s"):
        assert_type(message, Message)
    for change in sessions.watch("s"):
        assert_type(change, Change)
