"""The sidebar of a chat: newest first, page by page, searched, renamed, deleted and brought back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mongostore import AsyncMongoStore, ConflictError, InvalidDocumentError, Page, Session


async def load(store: AsyncMongoStore, user: str, cursor: str | None = None) -> Page[Session]:
    return await store.sessions.list(user_id=user, limit=30, cursor=cursor)


async def search(store: AsyncMongoStore, user: str, words: str) -> list[str]:
    month = datetime.now(UTC) - timedelta(days=30)
    page = await store.sessions.list(user_id=user, text=words, metadata={"archived": False}, since=month)
    return [f"{session.name}: {session.last.text if session.last else ''}" for session in page]


async def badge(store: AsyncMongoStore, user: str) -> str:
    count = await store.sessions.count(user_id=user, limit=100)
    return "99+" if count == 100 else str(count)


async def rename(store: AsyncMongoStore, session: Session, name: str) -> Session:
    try:
        return await store.sessions.update(session.id, name=name, revision=session.revision)
    except ConflictError:
        return await store.sessions.get(session.id)  # another user was faster: show that name


async def delete_and_restore(store: AsyncMongoStore, session_id: str) -> list[str]:
    await store.sessions.soft_delete(session_id)
    assert await store.sessions.find(session_id) is None
    deleted = [session.id for session in await store.sessions.list(deleted=True)]
    await store.sessions.undelete(session_id)
    await store.sessions.delete(session_id)  # for good
    return deleted


async def list_all(store: AsyncMongoStore, user: str) -> tuple[list[str], list[InvalidDocumentError]]:
    unreadable: list[InvalidDocumentError] = []
    sessions = store.sessions.iter(user_id=user, errors=unreadable)
    return [session.id async for session in sessions], unreadable
