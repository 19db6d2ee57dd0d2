"""Plays one scenario again and again, each time killed before a later one of its writes.

Sessions are named by the number of the fatal write. Says for each of them which steps were begun; all but
the last one of them were acknowledged.

Arguments: URI, database, limits of tails: values of half BIG are too large to be embedded.
"""

import json
import sys
from collections.abc import Callable, Sequence

from common import Killer, limits_of, play_until_killed

from mongostore import AsyncMongoStore, Message, Turn

BIG = 3000

# Verbs with their arguments; messages are written as (id, content).
STEPS = [
    ["create"],
    *(["append", [[f"m{n}", f"text {n}"]]] for n in range(9)),
    ["append", [[f"m{n}", f"text {n}"] for n in range(9, 16)]],
    ["edit", "m1", "edited in a segment"],
    ["edit", "m15", "edited as the newest"],
    ["edit", "m14", "edited in the tail"],
    ["delete", ["m2"]],
    ["delete", ["m3", "m13"]],
    ["delete", ["m15"]],
    ["upsert", "m0", "put in its place"],
    ["upsert", "m16", "put at the end"],
    ["append", [["m17", "b" * BIG]]],
    ["edit", "m17", "c" * BIG],
    ["edit", "m17", "small by now"],
    ["edit", "m4", "d" * BIG],
    ["append", [["m18", "e" * BIG], ["m19", "small"], ["m20", "f" * BIG]]],
    ["delete", ["m4", "m20"]],
    ["context", "small"],
    ["context", "g" * BIG],
    ["context", "h" * BIG],
    ["drop_context"],
    ["context", "i" * BIG],
    ["remove"],
    ["restore"],
    ["truncate"],
    ["bind", "p"],
    *(["append", [[f"n{n}", f"text {n}"]]] for n in range(5)),
    ["turns", "p", ["one", "two", "k" * BIG]],
    ["integrate", "p"],
    ["bind", "q"],
    ["turns", "q", ["other"]],
    ["append", [["n5", "text 5"]]],
    ["integrate", "q"],
    ["turns", "p", [f"turn {n}" for n in range(9)]],
    ["integrate", "p"],
    ["turns", "q", ["l" * BIG, "another"]],
    ["unbind", "p"],
    ["bind", "p"],
    ["turns", "p", ["anew"]],
    ["unbind", "q"],
    ["truncate"],
    ["turns", "p", ["anew again"]],
    ["integrate", "p"],
    *(["append", [[f"n{n}", f"text {n}"]]] for n in range(6, 9)),
    ["clear"],
    ["turns", "p", ["on"]],
    ["append", [[f"o{n}", "j" * BIG if n == 2 else f"text {n}"] for n in range(9)]],
    ["purge"],
    ["create"],
    ["append", [["p", "text"]]],
    ["remove"],
    ["purge"],
]


async def insights_of(participant: str, turns: Sequence[Turn]) -> list[str]:
    """Make one insight of each turn."""
    return [f"{participant} {turn.number}" for turn in turns]


async def do(store: AsyncMongoStore, session_id: str, verb: str, *rest: object) -> None:
    """Run one step."""
    sessions = store.sessions
    match verb, *rest:
        case ("create",):
            await sessions.create(session_id)
        case "append", pairs:
            messages = [Message(id=id, role="user", content=content) for id, content in pairs]
            await sessions.messages.append_many(session_id, messages)
        case "edit", id, content:
            await sessions.messages.update(session_id, id, content=content)
        case "upsert", id, content:
            await sessions.messages.upsert(session_id, Message(id=id, role="user", content=content))
        case "delete", ids:
            assert await sessions.messages.delete_many(session_id, ids) == len(ids)
        case ("clear",):
            assert await sessions.messages.truncate(session_id)
        case "context", value:
            await sessions.context.set(session_id, value)
        case ("drop_context",):
            assert await sessions.context.delete(session_id)
        case ("remove",):
            assert await sessions.soft_delete(session_id)
        case ("restore",):
            await sessions.undelete(session_id)
        case ("truncate",):
            await sessions.truncate(session_id)
        case "bind", participant:
            assert await sessions.participants.ensure(session_id, participant)
        case "unbind", participant:
            assert await sessions.participants.delete(session_id, participant)
        case "turns", participant, contents:
            turns = [Turn(role="user", content=content) for content in contents]
            await sessions.turns.append_many(session_id, participant, turns)
        case "integrate", participant:
            results = (await sessions.turns.integrate(session_id, insights_of)).results
            assert [result.participant_id for result in results if result.turns_integrated] == [participant]
        case ("purge",):
            assert await sessions.delete(session_id)


def main() -> None:
    """Run it to the end, one more write each time."""
    uri, database = sys.argv[1:3]
    limits = limits_of(sys.argv[3])
    assert limits.embed_bytes == limits.context_embed_bytes == BIG // 2

    async def play(fatal: int, killer: Killer, begin: Callable[[], object]) -> None:
        async with AsyncMongoStore(uri, database, tail_limits=limits) as store:
            killer.countdown = fatal
            for step in STEPS:
                begin()
                await do(store, str(fatal), *step)

    for fatal, begun in play_until_killed(play):
        sys.stdout.write(json.dumps({"session": str(fatal), "steps": STEPS[:begun]}) + "\n")


main()
