"""The thread of a user interface: steps in any order, feedback, a file shown beside a step."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mongostore import AsyncMongoStore, Element, Feedback, NotFoundError


async def main(picture: Path) -> None:
    async with AsyncMongoStore() as store:  # MONGOSTORE_URI
        threads = store.threads
        ada = await threads.users.ensure("ada@example.com", metadata={"plan": "pro"})
        await threads.merge("t1", user_id=ada.id, name="Parcels")

        # The end of a step may arrive before its start: `only_missing` keeps what is newer.
        await threads.messages.merge("t1", "answer", content="On its way: see the map.")
        await threads.messages.merge("t1", "answer", only_missing=True, parent_id="question", content="")
        await threads.messages.merge("t1", "question", content="Where is parcel 17?", data={"role": "user"})

        await threads.files.upload("t1/map", picture, content_type="image/png")
        await threads.elements.upsert("t1", Element(id="map", message_id="answer", file_key="t1/map"))
        await threads.feedback.upsert("t1", Feedback(message_id="answer", value=1, comment="quick"))

        for thread in await threads.list(user_id=ada.id, text="parcel", vote=1, limit=20):
            print(thread.id, thread.name)
        for message in await threads.messages.list("t1"):
            print(message.id, message.parent_id, message.feedback and message.feedback.value)
        async for chunk in threads.files.iter_content("t1/map", start=1024):
            print(len(chunk), "bytes")

        await threads.delete("t1")
        try:
            await threads.messages.merge("t1", "answer", content="late")
        except NotFoundError as error:
            print(error)  # a deleted thread stays deleted


if __name__ == "__main__":
    asyncio.run(main(Path("map.png")))
