"""One of two processes that serve the room `r` by RoomKit; its user has the channel of its number.

Arguments: URI, database, number of the process, how many messages its user sends.
"""

import asyncio
import sys
from typing import Any

from roomkit import InboundMessage, RoomKit, TextContent, WebSocketChannel
from roomkit.models.event import RoomEvent

from mongostore import AsyncMongoStore
from mongostore.adapters.roomkit import MongoConversationStore, MongoRoomLockManager


def hearing(store: AsyncMongoStore, channel: str) -> Any:
    """Return what notes, where all processes do, what is sent to the user of a channel."""

    async def hear(connection: str, event: RoomEvent) -> None:
        record = {"channel": channel, "index": event.index, "id": event.id}
        await store.engine.database["heard"].update_one(
            {"_id": "r"}, {"$push": {"notes": record}}, upsert=True
        )

    return hear


async def main() -> None:
    """Serve the room, and send some messages two at a time."""
    uri, database = sys.argv[1:3]
    number, amount = map(int, sys.argv[3:])
    async with AsyncMongoStore(uri, database) as store:
        kit = RoomKit(
            store=MongoConversationStore(store=store),
            lock_manager=MongoRoomLockManager(store=store),
        )
        for channel in ("ws-0", "ws-1"):
            socket = WebSocketChannel(channel)
            kit.register_channel(socket)
            socket.register_connection(f"{channel}-user", hearing(store, channel), room_id="r")
        sys.stdin.readline()

        async def send(first: int) -> None:
            for n in range(first, amount, 2):
                content = TextContent(body=f"{number}:{n}")
                message = InboundMessage(
                    channel_id=f"ws-{number}", sender_id=f"user-{number}", content=content
                )
                result = await kit.process_inbound(message, room_id="r")
                assert not result.blocked, result

        await asyncio.gather(send(0), send(1))
        await kit.close()


asyncio.run(main())
