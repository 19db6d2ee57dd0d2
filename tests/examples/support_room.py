"""A support case over two channels: one timeline, exact order, each text message stored once."""

from __future__ import annotations

import asyncio

from mongostore import AlreadyExistsError, AsyncMongoStore, Binding, Event, RoomParticipant


async def receive_sms(store: AsyncMongoStore, number: str, text: str, sms_id: str) -> Event | None:
    rooms = store.rooms
    room = await rooms.find_by_binding("sms", [number], status=["active", "paused"])
    if room is None:
        room = await rooms.create(organization_id="acme", metadata={"topic": "parcel"})
        await rooms.bindings.upsert(room.id, Binding(channel_id="sms", participant_id=number))
        await rooms.participants.upsert(room.id, RoomParticipant(id=number, channel_ids=["sms"]))
    event = Event(channel_id="sms", participant_id=number, content=text, idempotency_key=sms_id)
    try:
        return await rooms.events.append(room.id, event)
    except AlreadyExistsError:
        return None  # the carrier delivered it twice


async def main() -> None:
    async with AsyncMongoStore() as store:  # MONGOSTORE_URI
        asked = await receive_sms(store, "+4930123", "My parcel is lost.", "sms-1")
        assert asked is not None
        assert asked.room_id is not None
        room_id = asked.room_id
        print("again:", await receive_sms(store, "+4930123", "My parcel is lost.", "sms-1"))

        edit = Event(channel_id="sms", type="edit", change="edit", target_event_id=asked.id)
        corrected = asked.model_copy(update={"content": "My parcel 17 is lost."})
        await store.rooms.events.append(room_id, edit, target=corrected)

        page = await store.rooms.events.list(room_id, types=["message"], newest=True, limit=20)
        print([(event.index, event.content) for event in page])
        print("unread at the desk:", await store.rooms.read_markers.count_unread(room_id, "desk", limit=100))
        await store.rooms.read_markers.advance(room_id, "desk")

        async for event in store.rooms.events.watch(room_id, after=-1):
            print("live", event.index, event.type)
            if event.type == "edit":
                break
        await store.rooms.update(room_id, status="closed")


if __name__ == "__main__":
    asyncio.run(main())
