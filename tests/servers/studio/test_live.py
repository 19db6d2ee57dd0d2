"""What a tail sends, as a page that follows it needs it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from mongostore import AsyncMongoStore, Event, Message
from mongostore.servers import served_store
from mongostore.servers.studio import live
from tests.servers.studio.conftest import open_client
from tests.servers.studio.serving import TOKEN, Studio

CALL = {"id": "c1", "function": {"name": "look", "arguments": "{}"}}


def sent(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the events of a tail."""
    lines = answer.iter_lines()
    for line in lines:
        if line.startswith("event: "):
            yield line.removeprefix("event: "), json.loads(next(lines).removeprefix("data: "))


def test_a_tail_begins_with_what_its_page_does_not_show() -> None:
    async def fill(store: AsyncMongoStore) -> None:
        asked = Message(id="a", role="user", content="Where are they?")
        called = Message(id="b", role="assistant", data={"tool_calls": [CALL]})
        found = Message(id="c", role="tool", content="on the table", data={"tool_call_id": "c1"})
        await store.sessions.messages.append_many("s", [asked, called, found], create=True)

    async def change(store: AsyncMongoStore) -> None:
        await store.sessions.messages.update("s", "a", content="Where is it?")
        await store.sessions.messages.append("s", Message(role="user", content="Well?"))

    async def call(store: AsyncMongoStore) -> None:
        again = [{**CALL, "id": "c2"}]
        await store.sessions.messages.append("s", Message(role="assistant", data={"tool_calls": again}))
        result = Message(role="tool", content="under the chair", data={"tool_call_id": "c2"})
        await store.sessions.messages.append("s", result)

    with Studio() as studio, httpx.Client(base_url=studio.url, headers={"Accept": "text/html"}) as browser:
        studio.run(fill)
        browser.get("/open", params={"token": TOKEN})
        page = browser.get("/s/default/s").text
        output = re.search(r'data-last="(\d+)" data-since="([^"]+)"', page)
        assert output
        studio.run(change)
        query = {"after": output[1], "since": output[2]}
        with browser.stream("GET", "/s/default/s/live", params=query) as answer:
            events = sent(answer)
            first, second = next(events), next(events)
            assert (first[0], first[1]["label"], second[1]["label"]) == ("put", "0", "3")
            assert "Where is it?" in first[1]["html"]
            studio.run(call)
            called, found = next(events), next(events)
            assert called[1]["label"] == found[1]["label"] == "4"
            assert "not on this page" not in found[1]["html"]
            assert "under the chair" in found[1]["html"]


def test_an_edit_of_an_event_is_sent_with_the_event() -> None:
    async def fill(store: AsyncMongoStore) -> None:
        await store.rooms.create("r")
        await store.rooms.events.append("r", Event(id="e", channel_id="c", content="It burbled."))

    async def edit(store: AsyncMongoStore) -> None:
        target = await store.rooms.events.get("r", "e")
        target = target.model_copy(update={"content": "It whiffled."})
        change = Event(
            channel_id="c", change="edit", target_event_id="e", content={"new_content": "It whiffled."}
        )
        await store.rooms.events.append("r", change, target=target)

    with Studio() as studio, httpx.Client(base_url=studio.url, headers={"Accept": "text/html"}) as browser:
        studio.run(fill)
        browser.get("/open", params={"token": TOKEN})
        with browser.stream("GET", "/r/r/live", params={"after": 0}) as answer:
            events = sent(answer)
            studio.run(edit)
            (kind, target), (_, event) = next(events), next(events)
            assert (kind, target["label"], event["label"]) == ("change", "0", "1")
            assert "It whiffled." in target["html"]


async def test_who_follows_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_store, "STREAM_SECONDS", 0.05)
    async with AsyncMongoStore("mongomock://") as store:
        key = await store.keys.create(name="k", namespaces=["*"])
        await store.sessions.create("s")
        await store.rooms.create("r")
        headers = {"Authorization": f"Bearer {key.token}"}
        async with open_client(store, token=None) as asking:
            for path in ("/s/default/s/live", "/r/r/live"):
                tail = await asyncio.wait_for(asking.get(path, headers=headers), 60)
                assert tail.text.startswith(": begun")
            await store.keys.delete(key.id)
            assert (await asking.get("/r/r/live", headers=headers)).status_code == 401


def test_what_many_tails_send_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = live.write

    def count_write(template: str, **context: Any) -> Any:
        written.append(template)
        return write(template, **context)

    async def say(store: AsyncMongoStore) -> None:
        await store.sessions.messages.append("s", Message(role="user", content="Curiouser!"), create=True)

    monkeypatch.setattr(live, "write", count_write)
    with Studio() as studio, httpx.Client(base_url=studio.url, headers={"Accept": "text/html"}) as browser:
        studio.run(say)
        browser.get("/open", params={"token": TOKEN})
        with ExitStack() as stack:
            answers = [stack.enter_context(browser.stream("GET", "/s/default/s/live")) for _ in range(5)]
            tails = [sent(answer) for answer in answers]
            first = [next(tail) for tail in tails]
            assert written == ["item.html"]
            studio.run(say)
            second = [next(tail) for tail in tails]
        assert written == ["item.html"] * 2
        # Each has what is its own, though the text is the same.
        for number, puts in enumerate((first, second)):
            assert [put["id"] for _, put in puts] == [f"m{number}"] * 5
            assert all(f'id="m{number}"' in put["html"] for _, put in puts)
