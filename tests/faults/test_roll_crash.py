"""A writer that dies at any moment leaves a session that is whole, and that others go on with."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from subprocess import Popen
from typing import Any

import pytest

from mongostore import AsyncMongoStore, Message, Turn
from mongostore.repositories.sessions import TailLimits

Readers = list[Callable[[AsyncMongoStore, str], Awaitable[list[Message]]]]
Content = tuple[str, str]

LIMITS = TailLimits(keep=4, full=8, full_bytes=16 * 1024, embed_bytes=1500, context_embed_bytes=1500)
PARTS = ("session_segments", "session_overflows", "session_turns", "session_insights")
COLLECTIONS = {"sessions": "_id", **dict.fromkeys(PARTS, "session")}


def without_output() -> dict[str, Any]:
    return {"turns": [], "insights": [], "marker": None}


class Model:
    """What a session must be after some steps of the scenario."""

    def __init__(self) -> None:
        self.state = "absent"
        self.messages: list[Content | None] = []
        self.context: str | None = None
        self.participants: dict[str, dict[str, Any]] = {}

    def do(self, verb: str, *rest: Any) -> None:
        match verb, *rest:
            case ["create"]:
                self.__init__()
                self.state = "open"
            case "append", pairs:
                self.messages += map(tuple, pairs)
            case (("edit" | "upsert"), id, content):
                ranks = [i for i, message in enumerate(self.messages) if message and message[0] == id]
                if ranks:
                    self.messages[ranks[0]] = id, content
                else:
                    self.messages.append((id, content))
            case "delete", ids:
                self.messages = [
                    message if message and message[0] not in ids else None for message in self.messages
                ]
            case ["clear"]:
                self.messages = []
            case ["truncate"]:
                self.messages = []
                self.participants = {name: without_output() for name in self.participants}
            case "bind", name:
                self.participants[name] = without_output()
            case "unbind", name:
                del self.participants[name]
            case "turns", name, contents:
                self.participants[name]["turns"] += contents
            case "integrate", name:
                count = len(self.participants[name]["turns"])
                self.participants[name] |= {
                    "insights": [f"{name} {n + 1}" for n in range(count)],
                    "marker": count,
                }
            case "context", value:
                self.context = value
            case ["drop_context"]:
                self.context = None
            case ["remove"]:
                self.state = "deleted"
            case ["restore"]:
                self.state = "open"
            case ["purge"]:
                self.__init__()

    @property
    def positions(self) -> list[tuple[int, str, str]]:
        return [(position, *message) for position, message in enumerate(self.messages) if message]


async def observe(store: AsyncMongoStore, session_id: str, readers: Readers) -> dict[str, Any]:
    """Look at a session in every way; soft deletion is undone for it."""
    session = await store.sessions.find(session_id)
    state = "open" if session else "absent"
    if not session and session_id in [one.id for one in (await store.sessions.list(deleted=True)).items]:
        state, session = "deleted", await store.sessions.undelete(session_id)
    if session is None:
        return {"state": state, "messages": [], "context": None, "participants": {}}
    views = [
        [(message.position, message.id, message.content) for message in await read(store, session_id)]
        for read in readers
    ]
    assert views[0] == views[1] == views[2]
    assert session.count == len(views[0])
    newest = (await store.sessions.messages.list(session_id, newest=True, limit=1)).items
    assert (session.last and session.last.id) == (newest[0].id if newest else None)
    context = await store.sessions.context.get(session_id) if session.has_context else None
    participants = {}
    for one in session.participants:
        turns = [turn async for turn in store.sessions.turns.iter(session_id, one.id)]
        assert [turn.number for turn in turns] == [*range(1, one.turn_count + 1)]
        contents = [turn.content for turn in turns]
        participants[one.id] = {
            "turns": contents,
            "insights": one.insights,
            "marker": one.integrated_until,
        }
    return {"state": state, "messages": views[0], "context": context, "participants": participants}


def expected(model: Model) -> dict[str, Any]:
    return {
        "state": model.state,
        "messages": model.positions,
        "context": model.context,
        "participants": model.participants,
    }


@pytest.mark.server
@pytest.mark.long
@pytest.mark.parametrize("tail_limits", [LIMITS], ids=["small-tails"])
async def test_a_crash_before_any_write_keeps_what_was_acknowledged_and_stops_nobody(
    child: Callable[..., Popen[str]],
    readers: Readers,
    server_uri: str,
    server_store: AsyncMongoStore,
    database: str,
    tail_limits: TailLimits,
) -> None:
    sessions = server_store.sessions
    scenario = child("scenario.py", server_uri, database, json.dumps(asdict(tail_limits)))
    crashes = 0
    for line in scenario.stdout or ():
        received = json.loads(line)
        id, steps = received["session"], received["steps"]
        done = Model()
        for step in steps[:-1]:
            done.do(*step)
        seen = await observe(server_store, id, readers)
        # Turns that were stored and not counted come before the next ones.
        pending = steps[-1][2] if steps[-1][0] == "turns" and seen == expected(done) else []
        if seen != expected(done):
            done.do(*steps[-1])
            assert seen == expected(done), f"killed before write {id}, in {steps[-1]}"
        crashes += 1

        if done.state == "absent":
            await sessions.create(id)
        for n in range(9):
            await sessions.messages.append(id, Message(id=f"after {n}", role="user", content="more"))
            done.messages.append((f"after {n}", "more"))
        for name in [*done.participants]:
            turn = await sessions.turns.append(id, name, Turn(role="user", content="after"))
            if pending and name == steps[-1][1] and turn.number == len(done.participants[name]["turns"]) + 1:
                pending = []
            if pending and name == steps[-1][1]:
                done.do(*steps[-1])
            done.do("turns", name, ["after"])
            found = [one.content async for one in sessions.turns.iter(id, name)]
            assert found == done.participants[name]["turns"]
            assert turn.number == len(found)
            done.do("unbind", name)
            assert await sessions.participants.delete(id, name)
        first = next(message[0] for message in done.messages if message)
        await sessions.messages.update(id, first, content="changed")
        done.do("edit", first, "changed")
        assert await sessions.messages.delete(id, "after 0")
        done.do("delete", ["after 0"])
        assert (await observe(server_store, id, readers))["messages"] == done.positions
        assert await sessions.delete(id)
        for collection, field in COLLECTIONS.items():
            # But for the tombstone of a session that was created lately, which has an end.
            of_session = {field: f"default/{id}", "expires_at": {"$not": {"$type": "date"}}}
            left = await server_store.engine.database[collection].count_documents(of_session)
            assert left == 0, (
                f"{left} documents left in {collection}, killed before write {id}, in {steps[-1]}"
            )
    assert scenario.wait() == 0, scenario.stderr and scenario.stderr.read()
    assert crashes > len(steps)
