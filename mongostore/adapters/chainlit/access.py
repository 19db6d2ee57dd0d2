"""The threads to which the user in Chainlit's context may write."""

from __future__ import annotations

from contextlib import suppress

from chainlit.context import context_var
from chainlit.session import BaseSession

from mongostore.errors import InvalidValueError
from mongostore.models import Thread
from mongostore.store import AsyncMongoStore


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
    """Return whether a thread is that of the user in Chainlit's context, if there is one."""
    session = find_session()
    if session is None or session.user is None:
        return True
    thread = None if thread_id is None else await find_thread(store, thread_id)
    if thread is None or thread.user_identifier is None:
        # Its first message may claim it a moment later.
        return bool(session.thread_id == thread_id)
    return bool(thread.user_identifier == session.user.identifier)
