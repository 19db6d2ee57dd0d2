"""An agent of the OpenAI Agents SDK whose conversation is kept: run it twice, and it goes on."""

import asyncio
import os

from agents import Agent, RunConfig, Runner
from agents.models.interface import Model

from mongostore.adapters.openai_agents import MongoSession


async def main(model: Model | str = "gpt-5-mini") -> None:
    """Ask twice, then show what is kept: without `MONGOSTORE_URI` in this process alone."""
    session = MongoSession(
        "ada-1", os.environ.get("MONGOSTORE_URI", "mongomock://"), user_id="ada", name="Paris"
    )
    agent, config = Agent(name="guide", model=model), RunConfig(tracing_disabled=True)
    for question in ("Where is the Louvre?", "When does it open?"):
        result = await Runner.run(agent, question, session=session, run_config=config)
        print(result.final_output)

    sessions = await session.sessions()
    for each in await sessions.list(user_id="ada"):
        print(each.id, each.name, each.count, each.last.text if each.last else "")
    await session.close()


if __name__ == "__main__":
    asyncio.run(main())
