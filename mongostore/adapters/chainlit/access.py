"""The threads to which the user of Chainlit may write, by its context or by the request that runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import ContextVar

from chainlit.auth import get_current_user, reuseable_oauth
from chainlit.context import context_var
from chainlit.session import BaseSession, ws_sessions_id
from chainlit.user import PersistedUser, User
from fastapi import Depends

from mongostore.errors import InvalidValueError
from mongostore.models import Thread
from mongostore.store import AsyncMongoStore

# The user of a request to Chainlit's application: its routes for feedback have no context.
_requested_by: ContextVar[str | None] = ContextVar("mongostore_chainlit_user", default=None)


def follow_requests() -> None:
    """Have the routes of Chainlit's application record the user of the request that they answer."""
    # Imported here, since it is the application, which does much when it is imported.
    from chainlit.server import app

    app.dependency_overrides.setdefault(get_current_user, _current_user)


async def _current_user(
    token: str = Depends(reuseable_oauth),
) -> AsyncIterator[User | PersistedUser | None]:
    user = await get_current_user(token)
    before = _requested_by.set(None if user is None else user.identifier)
    try:
        yield user
    finally:
        _requested_by.reset(before)


def find_session() -> BaseSession | None:
    """Return the session of Chainlit that this code runs for; None without a user."""
    context = context_var.get(None)
    return None if context is None or context.session.user is None else context.session


async def find_thread(store: AsyncMongoStore, thread_id: str) -> Thread | None:
    """Return a thread; None if there is none, for an address may name anything, even an impossible id."""
    with suppress(InvalidValueError):
        return await store.threads.find(thread_id)
    return None


async def may_write(store: AsyncMongoStore, thread_id: str | None) -> bool:
    """Return whether a thread is that of the user of the request that runs, or of Chainlit's context.

    Without either, as in a script, it may be written to. A context may be that of an earlier request.
    """
    session, user = find_session(), _requested_by.get()
    sessions = [session] if user is None and session is not None else [*ws_sessions_id.values()]
    if user is None and session is not None and session.user is not None:
        user = session.user.identifier
    if user is None:
        return True
    thread = None if thread_id is None else await find_thread(store, thread_id)
    if thread is None or thread.user_identifier is None:
        # Its first message may claim it a moment later: a request has no session, but its user has one there.
        return thread_id is not None and any(
            one.thread_id == thread_id and one.user is not None and one.user.identifier == user
            for one in sessions
        )
    return bool(thread.user_identifier == user)
