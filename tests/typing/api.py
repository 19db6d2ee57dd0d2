"""Never run, only type-checked: the public API as its users write it."""

from __future__ import annotations

from mongostore import AsyncMongoStore, Change, Conversation, Message, MongoStore, Page, Session


async def async_use(store: AsyncMongoStore) -> None:
    session: Session = await store.sessions.create("s", metadata={"k": 1})
    found: Session | None = await store.sessions.find(session.id)
    message: Message = await store.sessions.append_message("s", Message(role="user", content="hi"))
    page: Page[Message] = await store.sessions.list_messages("s", newest=True, limit=20)
    sessions: Page[Session] = await store.sessions.list(user_id="u", cursor=page.next_cursor)
    await store.sessions.update("s", name="n", metadata={"k": None})
    await store.sessions.update_message("s", message.id, content=[1])
    talks: list[Conversation] = await store.sessions.conversations("s")
    async for one in store.sessions.iter_messages("s"):
        content: object = one.content
        print(found, sessions, talks, content)
    async for change in store.sessions.watch("s"):
        token: str = change.token
        print(token)


def blocking_use(store: MongoStore) -> None:
    session: Session = store.sessions.create("s", metadata={"k": 1})
    page: Page[Message] = store.sessions.list_messages(session.id, newest=True, limit=20)
    store.sessions.in_namespace("acme").update("s", name="n", revision=session.revision)
    for message in store.sessions.iter_messages("s"):
        position: int | None = message.position
        print(page, position)
    for change in store.sessions.watch("s"):
        seen: Change = change
        print(seen)
