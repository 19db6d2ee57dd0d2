"""One person planted in every collection, and another one beside her."""

from __future__ import annotations

import bson

from mongostore import (
    AsyncMongoStore,
    Binding,
    Element,
    Event,
    Feedback,
    Identity,
    Message,
    Observation,
    RoomParticipant,
    Task,
    Turn,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)
from mongostore.documents import COLLECTIONS

ADA, BOB = "ada-7f3", "bob-2c1"
PHONE, MAIL = "+44-7700-900461", "ada-7f3@lovelace.example"
# Each of her strings begins so: her words, names and addresses, in whatever shape they are stored.
WORDS = "adaword"
HERS = (ADA.encode(), PHONE.encode(), MAIL.encode(), WORDS.encode())
THEIRS = b"bobword"
# Ids that applications give are no names; those of deleted threads and events stay for a while.
IDS = {ADA: "a1", BOB: "b1"}


def text_of(kind: str) -> str:
    return f"{WORDS} {kind}"


async def plant(store: AsyncMongoStore) -> None:
    """Store something of Ada's in every collection, of Bob's beside it, and of both in what they share."""
    for name, words in ((ADA, WORDS), (BOB, "bobword")):
        user = await store.threads.users.create(
            MAIL if name == ADA else f"{BOB}@x.example", user_id=name, metadata={"about": f"{words} user"}
        )
        await store.sessions.create(
            IDS[name], user_id=name, name=f"{words} session", data={"k": words}, participants=[name]
        )
        for number in range(3):
            message = Message(role="user", content=f"{words} message {number}")
            await store.sessions.messages.append(IDS[name], message)
        # Enough to leave the session's document, and one too large for it.
        many = [Message(role="user", content=f"{words} message {number}") for number in range(3, 303)]
        await store.sessions.messages.append_many(IDS[name], many)
        await store.sessions.messages.append(IDS[name], Message(role="user", content=words * 400_000))
        await store.sessions.context.set(IDS[name], [f"{words} context"])
        await store.threads.create(IDS[name], user_id=user.id, name=f"{words} thread")
        await store.threads.messages.merge(IDS[name], f"m-{IDS[name]}", content=f"{words} step")
        await store.threads.feedback.upsert(
            IDS[name], Feedback(message_id=f"m-{IDS[name]}", value=1, comment=f"{words} comment")
        )
        await store.threads.files.upload(f"{name}/f", f"{words} file".encode(), content_type="text/plain")
        await store.threads.elements.upsert(
            IDS[name],
            Element(
                id=f"e-{IDS[name]}", message_id=f"m-{IDS[name]}", file_key=f"{name}/f", data={"k": words}
            ),
        )
        await store.rooms.create(IDS[name], data={"k": words})
        await take_part(store, IDS[name], name, words)
        await store.keys.create(name=f"{words} key", namespaces=["*"], owner_id=name)
    await store.threads.create("role", owner_id=ADA, kind="role", name=text_of("role"))
    await store.rooms.identities.create(
        Identity(id=f"i-{ADA}", addresses={"sms": [PHONE], "mail": [MAIL]}, data={"k": text_of("identity")})
    )
    await store.rooms.verifications.upsert(
        Verification(identity_id=f"i-{ADA}", status="x", data={"k": WORDS})
    )
    await store.rooms.verifications.requests.create(
        VerificationRequest(id="q", identity_id=f"i-{ADA}", data={"k": WORDS})
    )
    await store.sessions.create("shared", user_id=BOB, participants=[ADA, BOB])
    await store.sessions.turns.append("shared", ADA, Turn(role="user", content=text_of("turn")))
    await store.sessions.turns.append("shared", BOB, Turn(role="user", content="bobword turn"))
    await store.sessions.turns.integrate("shared", lambda name, turns: [turns[0].content])
    await store.rooms.create("shared")
    for name, words in ((ADA, WORDS), (BOB, "bobword")):
        await take_part(store, "shared", name, words)


async def take_part(store: AsyncMongoStore, room_id: str, name: str, words: str) -> None:
    """Store all that a room holds of one person."""
    id, channel = IDS[name], f"c-{IDS[name]}"
    await store.rooms.participants.upsert(
        room_id, RoomParticipant(id=name, identity_id=f"i-{name}", channel_ids=[channel], data={"k": words})
    )
    await store.rooms.bindings.upsert(
        room_id, Binding(channel_id=channel, participant_id=name, metadata={"phone": f"{words} phone"})
    )
    for number in range(2):
        event = Event(
            id=f"{room_id}-{id}-{number}",
            channel_id=channel,
            participant_id=name,
            content=f"{words} {number}",
            data={"k": words},
            metadata={"k": words},
        )
        await store.rooms.events.append(room_id, event)
    await store.rooms.tasks.create(room_id, Task(id=f"t-{room_id}-{id}", data={"for": name, "k": words}))
    await store.rooms.observations.create(
        room_id, Observation(id=f"o-{room_id}-{id}", data={"of": name, "k": words})
    )
    await store.rooms.voice_deliveries.claim(
        room_id,
        VoiceDelivery(key=f"v-{id}", content_hash="h", attempt_id="a", data={"to": name, "k": words}),
    )
    await store.rooms.read_markers.advance(room_id, channel)


async def holding(store: AsyncMongoStore, texts: tuple[bytes, ...]) -> dict[str, int]:
    """Return how many documents of each collection of the database hold one of some texts."""
    counts: dict[str, int] = {}
    for name in COLLECTIONS:
        async for document in store.engine.collection(name).find({}):
            counts[name] = counts.get(name, 0) + any(text in bson.encode(document) for text in texts)
    return {name: count for name, count in counts.items() if count}
