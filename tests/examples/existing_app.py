"""An application with its own client and documents of Beanie adds chats: one pool, one database."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from beanie import Document, init_beanie
from pymongo import AsyncMongoClient

from mongostore import AsyncMongoStore, CallRecord, Hooks, Message, RetryRecord


class Order(Document):
    number: int
    chat_id: str


class Metrics(Hooks):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_call(self, call: CallRecord) -> None:
        self.calls.append(call.operation)  # call.seconds for a histogram, call.error for a counter

    def on_retry(self, retry: RetryRecord) -> None:
        print("retry", retry.operation, retry.attempt, retry.reason)


async def main() -> None:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(os.environ["MONGOSTORE_URI"])
    database = client[os.environ.get("MONGOSTORE_DATABASE", "shop")]
    await init_beanie(database, document_models=[Order])
    metrics = Metrics()
    async with AsyncMongoStore(database, prefix="chat_", hooks=[metrics]) as store:
        session = await store.sessions.create(user_id="ada", metadata={"order": 17})
        await store.sessions.messages.append(session.id, Message(role="user", content="Where is it?"))
        await Order(number=17, chat_id=session.id).insert()

        Session = store.documents.Session
        for found in await Session.find(Session.user_id == "ada").to_list():
            order = await Order.find_one(Order.chat_id == found.session_id)
            print(found.messages[0].content, order and order.number)
    print(metrics.calls)
    await client.aclose()  # the store has left it open


if __name__ == "__main__":
    asyncio.run(main())
