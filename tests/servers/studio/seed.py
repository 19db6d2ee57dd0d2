"""What the studio's pages are tested with and drawn of: the conversations that its design shows."""

from __future__ import annotations

import base64
import io
from datetime import UTC, datetime, timedelta

from PIL import Image, ImageDraw

from mongostore import AsyncMongoStore, Message
from mongostore.models import Binding, Element, Event, Feedback, RoomParticipant, Task

NAMESPACE = "looking-glass"
SESSION = "gloves-41"
THREAD = "7c1e02af-91b0-4c55-a3e2-b02f1f4e7d10"
ROOM = "case-1871"
LONG = (
    "I compared every account of the afternoon that the hall has on record. The Mouse saw the gloves at ten past "
    "one, beside the bottle. The Lory puts them on the table at twenty past, and insists that he is older than the "
    "Mouse and must know better. The Dodo, asked for his opinion, stood for a long time with one finger pressed upon "
    "his forehead, and then declared that everybody had seen them, and that all must have prizes. "
)
TALK = [
    ("White Rabbit", "Oh dear! Oh dear! I shall be too late!"),
    ("", "Late for what? The croquet begins at four, and it is twelve minutes past two."),
    ("White Rabbit", "For the *Duchess*. She gets savage when she is kept waiting."),
    ("", "Then take the corridor with the lamps. The hall is at its end."),
]


def picture() -> bytes:
    """Return a map, as PNG."""
    image = Image.new("RGB", (656, 372), "#eceedd")
    draw = ImageDraw.Draw(image)
    for x, y in ((200, 70), (230, 150), (300, 110), (420, 120), (360, 90)):
        draw.ellipse((x - 18, y - 18, x + 18, y + 18), fill="#bfd39a")
    draw.rectangle((20, 230, 150, 350), fill="#ffffff", outline="#8a8f7a", width=2)
    draw.polygon([(480, 80), (530, 30), (580, 80)], fill="#d2876a", outline="#8a5440")
    draw.rectangle((490, 80, 570, 130), fill="#ffffff", outline="#8a8f7a", width=2)
    draw.line([(150, 280), (230, 220), (320, 180), (420, 160), (500, 110)], fill="#12855a", width=5)
    draw.ellipse((360, 300, 700, 440), fill="#9fc3cf")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


async def seed(store: AsyncMongoStore, now: datetime | None = None) -> None:
    """Store the conversations of the design, the newest a minute ago."""
    now = now or datetime.now(UTC)
    await seed_session(store, now - timedelta(minutes=1))
    await seed_thread(store, now - timedelta(hours=3))
    await seed_room(store, now - timedelta(hours=1))
    await seed_others(store, now)


async def seed_session(store: AsyncMongoStore, end: datetime) -> None:
    """Store a session of tools, tables, images and a long text."""
    sessions = store.sessions.in_namespace(NAMESPACE)
    await sessions.create(
        SESSION,
        name="White gloves, lost at the hall",
        user_id="white-rabbit",
        metadata={"locale": "en-GB", "price.eur": 0.0041, "seen": None},
    )
    begin = end - timedelta(hours=2)
    texts = [
        Message(
            role="user" if name else "assistant",
            content=text,
            data={"name": name} if name else {"model": "cheshire-small"},
            created_at=begin + timedelta(seconds=20 * number),
        )
        for number, (name, text) in enumerate(TALK * 51)
    ]
    for start in range(0, len(texts), 100):
        await sessions.messages.append_many(SESSION, texts[start : start + 100])
    image = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    model = {"model": "cheshire-small"}
    rabbit = {"name": "White Rabbit"}
    rest = [
        (
            "user",
            "Oh my ears and whiskers, how late it’s getting! I have dropped my white kid gloves and the fan, and "
            "the Duchess is waiting.",
            rabbit,
        ),
        (
            "assistant",
            "Let me see what was handed in, and where you have been today.",
            model
            | {
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {
                            "name": "lost_and_found.search",
                            "arguments": '{"items": ["gloves", "fan"], "since": "13:00"}',
                        },
                    },
                    {
                        "id": "c2",
                        "type": "function",
                        "function": {
                            "name": "map.route",
                            "arguments": '{"from": "long hall", "to": "Duchess"}',
                        },
                    },
                    {
                        "id": "c3",
                        "type": "function",
                        "function": {"name": "duchess.calendar", "arguments": '{"day": "today"}'},
                    },
                ]
            },
        ),
        ("tool", '{"found": 2, "place": "long hall", "by": "a girl, now very tall"}', {"tool_call_id": "c1"}),
        ("tool", '{"minutes": [9, 26]}', {"tool_call_id": "c2"}),
        ("tool", {"error": "timed out after 10 s"}, {"tool_call_id": "c3"}),
        (
            "assistant",
            [
                {
                    "type": "text",
                    "text": "Both were found in the long hall, on the little glass table. Two ways "
                    "lead back from there:\n\n| Way | By | Minutes |\n|---|---|--:|\n| Through the garden | the small door, "
                    "`15 in` | 9 |\n| Round by the pool | swimming | 26 |",
                },
                {"type": "image_url", "image_url": {"url": image}},
            ],
            model | {"usage": {"input": 3120, "output": 212}, "stop": "end_turn"},
        ),
        (
            "user",
            [
                {
                    "type": "text",
                    "text": "She’ll have me executed, as sure as ferrets are ferrets! Is this the girl?",
                },
                {"type": "image_url", "image_url": {"url": "https://pictures.example/alice.jpg"}},
            ],
            rabbit,
        ),
        ("assistant", LONG * 36, model),
        ("user", "And the small door? Is it still only fifteen inches high?", rabbit),
        (
            "assistant",
            "Take the small door. The key is on the table again, and if you go at once you will be there "
            'before the Duchess has finished with the\n\n```python\nif late(rabbit):  # always\n    run("garden", 9)\n```',
            model,
        ),
    ]
    for number, (role, content, data) in enumerate(rest):
        at = end - timedelta(seconds=12 * (len(rest) - number))
        await sessions.messages.append(SESSION, Message(role=role, content=content, data=data, created_at=at))


async def seed_thread(store: AsyncMongoStore, end: datetime) -> None:
    """Store a thread of steps, elements and votes."""
    user = await store.threads.users.create("queen@hearts.example")
    await store.threads.create(
        THREAD, name="Which rose trees were painted?", user_id=user.id, tags=["gardens", "audit"]
    )
    begin = end - timedelta(minutes=6)

    async def put(
        id: str, kind: str, name: str, at: float, took: float = 0, parent: str | None = None, **more: object
    ) -> None:
        start = begin + timedelta(seconds=at)
        data = {
            "type": kind,
            "name": name,
            "start": start.isoformat(),
            "end": (start + timedelta(seconds=took)).isoformat(),
        }
        content = more.pop("content", None)
        await store.threads.messages.merge(
            THREAD, id, parent_id=parent, content=content, created_at=start, data=data | more
        )

    await put(
        "q1",
        "user_message",
        "Queen of Hearts",
        0,
        content="I see by the accounts that a large rose tree stands near "
        "the entrance of the garden. Which of my trees were planted white, and who painted them?",
    )
    await put("s1", "run", "on_message", 1, 8.4, input="which trees")
    await put("s2", "tool", "find_trees", 1.2, 3.7, "s1")
    await put(
        "s3",
        "retrieval",
        "retrieve_ledger",
        1.4,
        2.61,
        "s2",
        input='{"query": "rose tree white", "top_k": 5}',
        content='[{"page": 41, "score": 0.91, "text": "planted white by mistake, No. 3"}, {"page": 42, "score": 0.77}]',
    )
    await put("s4", "llm", "embed_query", 1.4, 0.31, "s3")
    await put("s5", "llm", "rank_pages", 4.1, 0.78, "s2")
    await put("s6", "tool", "ask_gardener", 5.0, 1.0, "s1", isError=True)
    await put("s7", "llm", "compose_answer", 6.1, 3.19, "s1")
    await put(
        "a1",
        "assistant_message",
        "gardener",
        9.3,
        0,
        "s1",
        content="Three trees near the entrance were planted white "
        "by mistake, and painted red on Sunday evening by gardeners **Two**, **Five** and **Seven**. The ledger shows "
        "the bulbs beside them under tulip roots, where the cook expected onions.\n\n```sql\nselect tree, planted, "
        "painted_by from roses\nwhere planted = 'white' and colour = 'red';  -- 3 rows\n```",
    )
    await put("q2", "user_message", "Queen of Hearts", 290, content="Count them again.")
    await put("s8", "run", "on_message", 291, 3.1)
    await put(
        "a2",
        "assistant_message",
        "gardener",
        294,
        0,
        "s8",
        content="Two, then. The third is a *Rosa gallica*, and red by nature.",
    )
    files = store.threads.files
    await files.upload("threads/roses/trees.png", picture(), content_type="image/png")
    await files.upload(
        "threads/roses/roses.csv", b"tree,planted,colour\n1,white,red\n", content_type="text/csv"
    )
    await files.upload("threads/roses/garden-ledger.pdf", b"%PDF-1.4 ledger", content_type="application/pdf")
    for id, message, name, mime, display in (
        ("e1", "q1", "garden-ledger.pdf", "application/pdf", "attachment"),
        ("e2", "a1", "trees.png", "image/png", "inline"),
        ("e3", "a1", "roses.csv", "text/csv", "side"),
    ):
        element = Element(
            id=id,
            message_id=message,
            file_key=f"threads/roses/{name}",
            data={"name": name, "mime": mime, "display": display},
        )
        await store.threads.elements.upsert(THREAD, element)
    feedback = store.threads.feedback
    await feedback.upsert(
        THREAD,
        Feedback(message_id="a1", value=0, comment="Off with its head: the third tree was always red."),
    )
    await feedback.upsert(THREAD, Feedback(message_id="a2", value=1))


async def seed_room(store: AsyncMongoStore, end: datetime) -> None:
    """Store a room of several channels, with an edit, a deletion, an internal note and a failed delivery."""
    await store.rooms.create(
        ROOM, organization_id="tulgey-watch", metadata={"name": "Jabberwock seen near the tulgey wood"}
    )
    for channel, kind, participant in (
        ("sms", "sms", "alice"),
        ("web", "websocket", "humpty"),
        ("voice", "voice", "alice"),
        ("email", "email", "walrus"),
        ("desk", "internal", None),
    ):
        await store.rooms.bindings.upsert(
            ROOM, Binding(channel_id=channel, channel_type=kind, participant_id=participant)
        )
    for id, name, channels in (
        ("alice", "Alice", ["sms", "voice"]),
        ("humpty", "Humpty Dumpty", ["desk", "web"]),
        ("walrus", "The Walrus", ["email"]),
    ):
        await store.rooms.participants.upsert(
            ROOM, RoomParticipant(id=id, channel_ids=channels, data={"display_name": name})
        )
    begin = end - timedelta(minutes=30)
    kinds = {"sms": "sms", "web": "websocket", "voice": "voice", "email": "email", "desk": "internal"}
    number = 0

    async def say(channel: str, participant: str | None, body: object, **more: object) -> Event:
        nonlocal number
        number += 1
        content = {"type": "text", "body": body} if isinstance(body, str) else body
        event = Event(
            channel_id=channel,
            channel_type=kinds[channel],
            participant_id=participant,
            content=content,
            created_at=begin + timedelta(seconds=67 * number),
            **more,
        )  # type: ignore[arg-type]
        target = more.get("target_event_id")
        changed = await store.rooms.events.find(ROOM, str(target)) if target else None
        return await store.rooms.events.append(ROOM, event, target=changed)

    await say(
        "sms",
        None,
        {"type": "system", "body": "Channel attached, bound to +44 20 7946 0187"},
        type="channel_attached",
    )
    await say(
        "web",
        "humpty",
        {"type": "system", "body": "Humpty Dumpty joined as agent"},
        type="participant_joined",
    )
    eyes = await say(
        "sms",
        "alice",
        "Something with eyes of flame came whiffling through the wood. It burbled.",
        delivery_results={
            "web": {"duration_ms": 41},
            "email": {"status": "sent"},
            "voice": {"status": "sent"},
        },
    )
    await say(
        "desk",
        "humpty",
        "“Burble” is bleat, murmur and warble at once. Ask whether it had jaws and claws before we "
        "send a sword.",
        visibility="internal",
    )
    for text in (
        "Something with eyes came whiffling through the wood. It burbled.",
        "Something with eyes of flame came whiffling through the wood. It burbled.",
    ):
        await say(
            "sms",
            "alice",
            {"type": "edit", "target_event_id": eyes.id, "new_content": {"type": "text", "body": text}},
            type="edit",
            change="edit",
            target_event_id=eyes.id,
        )
    await say(
        "web",
        "humpty",
        "Beware the Jabberwock. Did you see jaws that bite, or claws that catch?",
        responds_to=eyes.id,
        delivery_results={
            "sms": {"duration_ms": 612},
            "voice": {"status": "sent"},
            "email": {"success": False, "error": "mailbox full (552)", "attempts": 3},
        },
    )
    await say(
        "voice",
        "alice",
        "Both. And there is a Tumtum tree here. I shall stand beside it and think for a while.",
        delivery_results={
            "web": {"status": "sent"},
            "sms": {"status": "sent"},
            "email": {"status": "queued"},
        },
    )
    gone = await say("email", "walrus", "The time has come, the Walrus said.", metadata={"deleted": True})
    await say(
        "email",
        "walrus",
        {"type": "delete", "target_event_id": gone.id},
        type="delete",
        change="delete",
        target_event_id=gone.id,
    )
    await say(
        "desk",
        "humpty",
        {"type": "system", "body": "Task “Send vorpal sword” opened, due 10:00"},
        type="task_created",
    )
    await say(
        "sms",
        "alice",
        "One, two! One, two! And through and through. It is done. I am coming back, galumphing.",
        delivery_results={
            "web": {"status": "sent"},
            "voice": {"status": "sent"},
            "email": {"status": "sent"},
        },
    )
    await store.rooms.tasks.create(ROOM, Task(data={"title": "Send vorpal sword"}))
    for channel in ("sms", "web"):
        await store.rooms.read_markers.advance(ROOM, channel, eyes.id)


async def seed_others(store: AsyncMongoStore, now: datetime) -> None:
    """Store more sessions, for a list to have something to show."""
    names = (
        ("tea-party", "A Mad Tea-Party", "Your hair wants cutting.", 0.3),
        ("demo", "The Torpedo’s Touch", "I feel that my soul and my tongue are numb.", 4),
        ("demo", "Seventeen Steps", "You see, but you do not observe.", 30),
        ("demo", "Doubling the Square", "Four times four are sixteen, are they not?", 31),
        ("tea-party", "The Hatter and Time", "It’s always six o’clock now.", 32),
        ("looking-glass", "Mary Ann’s errand", "I left the gloves where they were.", 52),
    )
    for number, (namespace, name, text, hours) in enumerate(names):
        sessions, at = store.sessions.in_namespace(namespace), now - timedelta(hours=hours)
        await sessions.create(f"s{number}", name=name, user_id="alice", created_at=at)
        await sessions.messages.append(f"s{number}", Message(role="user", content=text, created_at=at))
