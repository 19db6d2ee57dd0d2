"""The studio where something is wrong: a store that does not answer, documents of other hands."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from mongostore import AsyncMongoStore, Message
from tests.servers.studio.conftest import open_client
from tests.servers.studio.serving import TOKEN, Studio


async def test_a_store_that_does_not_answer_is_said_and_asked_again() -> None:
    target = "mongodb://secret:password@127.0.0.1:1/chat"
    store = AsyncMongoStore(target, client_options={"serverSelectionTimeoutMS": 100}, timeout=1)
    async with open_client(store) as asking:
        answer = await asking.get("/")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "MongoDB does not answer" in answer.text
        assert 'data-retry="5"' in answer.text
        assert "password" not in answer.text
        assert (await asking.put("/")).headers["allow"] == "GET, HEAD"
        problem = await asking.get("/", headers={"Accept": "application/json"})
        assert problem.json()["status"] == 503


async def test_what_cannot_be_read_stands_in_its_place_without_its_values() -> None:
    async with AsyncMongoStore("mongomock://") as store, open_client(store) as asking:
        await asking.get("/open", params={"token": TOKEN})
        await store.sessions.create("s", name="Tea")
        await store.sessions.messages.append_many(
            "s", [Message(id=f"i{n}", role="user", content=f"text {n}") for n in range(5)]
        )
        sessions = store.engine.collection("sessions")
        await sessions.update_one({}, {"$set": {"messages.2.role": 7, "messages.2.content": "a secret"}})
        page = (await asking.get("/s/default/s")).text
        assert re.findall(r'<article class="msg[^>]* id="(m\d)"', page) == ["m0", "m1", "m2", "m3", "m4"]
        assert "One message could not be read" in page
        assert 'href="#m2"' in page
        assert "a secret" not in page
        alone = await asking.get("/s/default/s/at/2")
        assert alone.status_code == 500
        assert "This message cannot be read" in alone.text
        [link] = re.findall(r'href="([^"]+)">Show it as stored', page)
        assert "a secret" in (await asking.get(link)).text
        exported = (await asking.get("/s/default/s/export?form=html")).text
        assert re.findall(r'<article class="msg[^>]* id="(m\d)"', exported) == ["m0", "m1", "m2", "m3", "m4"]
        lines = (await asking.get("/s/default/s/export")).text
        assert '"record": "unreadable"' in lines

        await sessions.update_one({}, {"$set": {"name": 5}})
        listed = (await asking.get("/list?fragment=true")).text
        assert "1 unreadable" in listed


def test_the_command_prints_an_address_that_opens_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-m", "mongostore", "studio", "--no-browser", "--port", "0"]
    with log.open("wb") as written:
        process = subprocess.Popen(command, stdout=written, stderr=written)
    try:
        deadline = time.monotonic() + 60
        while not (texts := re.search(r"listening at (\S+)/open\?token=(\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        url, token = texts.groups()
        assert url.startswith("http://127.0.0.1:")
        with httpx.Client(base_url=url, headers={"Accept": "text/html"}) as browser:
            assert browser.get("/").status_code == 401
            assert browser.get("/open", params={"token": token}).status_code == 200
            assert "Nothing stored" in browser.get("/").text
            assert browser.get("/", headers={"Host": "evil.example"}).status_code == 403
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    # What is logged has neither the token nor ids.
    lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
    assert lines
    assert not any(token in line for line in lines)


def test_open_tails_do_not_hold_up_the_end() -> None:
    async def fill(store: AsyncMongoStore) -> None:
        await store.sessions.create("s")

    with Studio() as studio, httpx.Client(base_url=studio.url, headers={"Accept": "text/html"}) as browser:
        studio.run(fill)
        browser.get("/open", params={"token": TOKEN})
        with browser.stream("GET", "/s/default/s/live") as answer:
            lines = answer.iter_lines()
            assert next(lines) == ": begun"
            studio.run(
                lambda store: store.sessions.messages.append("s", Message(role="user", content="<b>hi"))
            )
            put = next(line for line in lines if line.startswith("data:"))
            assert "&lt;b&gt;hi" in put
            studio.end()
            assert [line for line in lines if line.startswith("data:")] == []
        assert studio.is_over(5)
