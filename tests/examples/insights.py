"""Insights from the turns of participants: each turn counts once, however many workers run this."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mongostore import AsyncMongoStore, IntegrationStatus, Turn


async def summarize(participant_id: str, turns: Sequence[Turn]) -> list[str]:
    return [f"{participant_id}, {len(turns)} turns: {turns[-1].content}"]


async def main() -> None:
    async with AsyncMongoStore() as store:  # MONGOSTORE_URI
        sessions = store.sessions.in_namespace("acme")
        await sessions.create("s1", participants=["ada"])
        await sessions.participants.ensure("s1", "bob")
        turns = [Turn(role="user", content=text) for text in ("Hi", "My bill?")]
        print([turn.number for turn in await sessions.turns.append_many("s1", "ada", turns)])

        integration = await sessions.turns.integrate("s1", summarize)
        for result in integration.results:
            if result.status is IntegrationStatus.FAILED:
                print(result.participant_id, result.error)
        print((await sessions.participants.get("s1", "ada")).insights)
        print([turn.content for turn in await sessions.turns.list("s1", "ada", newest=True, limit=1)])

        await sessions.context.set("s1", {"system": "Be brief."})
        print(await sessions.context.find("s1"))


if __name__ == "__main__":
    asyncio.run(main())
