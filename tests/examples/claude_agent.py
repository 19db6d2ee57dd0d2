"""An agent of the Claude Agent SDK whose transcripts are kept, so that any machine can go on with them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from claude_agent_sdk import (
    ClaudeAgentOptions,
    get_session_messages_from_store,
    list_sessions_from_store,
    query,
)

from mongostore.adapters.claude_agent_sdk import MongoSessionStore

FOLDER = "/home/ada/shop"


async def main(ask: Callable[..., AsyncIterator[Any]] = query) -> None:
    """Ask, then show what is kept: without `MONGOSTORE_URI` in this process alone."""
    store = MongoSessionStore(user_of=lambda key: "ada")
    options = ClaudeAgentOptions(session_store=store, cwd=FOLDER)
    async for message in ask(prompt="Which tests fail?", options=options):
        print(type(message).__name__)

    for session in await list_sessions_from_store(store, directory=FOLDER):
        messages = await get_session_messages_from_store(store, session.session_id, directory=FOLDER)
        print(session.summary, len(messages))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
