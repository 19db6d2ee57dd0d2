"""An agent of Pydantic AI whose conversations are kept, with their branches and forks."""

import asyncio

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.models import Model

from mongostore.adapters.pydantic_ai import MongoConversationStore


async def main(model: Model | str = "openai:gpt-5-mini") -> None:
    """Ask twice, then ask otherwise: without `MONGOSTORE_URI` in this process alone."""
    store, agent = MongoConversationStore(), Agent(model)
    for question in ("Where is the Louvre?", "When does it open?"):
        conversation = await store.load("ada-1", scope="ada") or Conversation(conversation_id="ada-1")
        result = await agent.run(question, conversation=conversation)
        print(result.output)
        await store.save(result, scope="ada")

    stored = await store.load("ada-1", scope="ada")
    branch = await store.branch("ada-1", at=2, expected_revision=stored.revision if stored else None)
    await store.save(await agent.run("What does it cost?", conversation=branch))
    for record in await store.list_conversations(scope="ada"):
        print(record.conversation_id, len(record.branches), record.usage.requests)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
