"""The studio's pages, asked for without a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import unquote_plus

import httpx
import pytest

from mongostore import AsyncMongoStore, Event, Feedback, Message, NotFoundError
from mongostore.cli.conversations import Conversation, House, iter_parts
from mongostore.repositories.threads import AsyncThreadMessages
from mongostore.servers.studio import create_app
from mongostore.servers.studio.addresses import decode_id, encode_id
from mongostore.servers.studio.content import to_json
from tests.servers.studio.conftest import open_client
from tests.servers.studio.seed import NAMESPACE, ROOM, SESSION, THREAD, picture
from tests.servers.studio.serving import TOKEN

S = f"/s/{NAMESPACE}/{SESSION}"
IMAGE = {
    "type": "image_url",
    "image_url": {"url": f"data:image/png;base64,{base64.b64encode(picture()).decode()}"},
}
PAGES = [
    *("/", "/list", "/list?kind=thread", S, f"{S}?at=209", f"{S}?before=60", f"{S}?after=3", f"{S}/at/209"),
    *(f"{S}/participants", f"{S}/context", f"{S}/conversations", f"{S}/documents", f"{S}?all=211"),
    *(
        f"/t/{THREAD}",
        f"/t/{THREAD}?at=s3",
        f"/t/{THREAD}/steps",
        f"/t/{THREAD}/elements",
        f"/t/{THREAD}/feedback",
    ),
    *(f"/r/{ROOM}", f"/r/{ROOM}?at=6", f"/r/{ROOM}?channel=sms", f"/r/{ROOM}/at/6", f"/r/{ROOM}/people"),
    *("/people", "/people/queen@hearts.example", "/people/alice", "/feedback", "/feedback?value=down"),
    *("/deleted", "/search", "/search?q=gloves", "/search?q=gloves+since:30d"),
    *(f"/r/{ROOM}/tasks", f"/r/{ROOM}/observations"),
]


async def test_every_page_answers_under_the_policy(asking: httpx.AsyncClient) -> None:
    for path in PAGES:
        answer = await asking.get(path)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        [nonce] = re.findall(r"script-src 'nonce-([^']+)'", policy)
        assert re.findall(r'<script[^>]*nonce="([^"]*)"', answer.text) == [nonce]
        assert answer.text.count("<script") == 1
        assert not re.search(r"<[^>]*\s(style|on\w+)=", answer.text), path
        assert answer.headers["cache-control"] == "no-store"


async def test_each_answer_has_its_own_nonce(asking: httpx.AsyncClient) -> None:
    policies = {(await asking.get("/")).headers["content-security-policy"] for _ in range(3)}
    assert len(policies) == 3


@pytest.mark.parametrize("most", [3, pytest.param(1000, marks=pytest.mark.long)])
async def test_every_link_of_every_page_leads_somewhere(asking: httpx.AsyncClient, most: int) -> None:
    seen: dict[str, int] = {}
    forms = Counter[str]()
    for path in PAGES:
        html = (await asking.get(path)).text
        for href in re.findall(r'(?:href|src)="([^"#]+)', html):
            link = str(httpx.URL(f"http://127.0.0.1{path}").join(href.replace("&amp;", "&")))
            assert link.startswith("http://127.0.0.1/"), link
            # Links that differ in their numbers and the values of their queries lead through the same code.
            form = re.sub(r"\d+|=[^&]*", "", link)
            if link not in seen and forms[form] < most:
                forms[form] += 1
                seen[link] = (await asking.get(link)).status_code
    assert {link: status for link, status in seen.items() if status != 200} == {}
    assert len(seen) > 40


async def test_tool_results_stand_with_their_calls(asking: httpx.AsyncClient) -> None:
    html = (await asking.get(f"{S}?at=209")).text
    assert 'id="m206"' in html
    assert '<article class="msg" id="m206"' not in html
    assert "timed out after 10 s" in html
    alone = (await asking.get(f"{S}/at/206")).text
    assert "a girl, now very tall" in alone


async def test_a_long_text_is_shortened_until_the_whole_is_asked_for(asking: httpx.AsyncClient) -> None:
    short, whole = [(await asking.get(path)).text for path in (f"{S}?at=211", f"{S}?all=211")]
    assert "Show all" in short
    assert "Show all" not in whole
    assert short.count("all must have prizes") < whole.count("all must have prizes") == 36


async def test_positions_are_addresses(asking: httpx.AsyncClient) -> None:
    for at in (0, 100, 213):
        html = (await asking.get(f"{S}?at={at}")).text
        assert f'<article class="msg here" id="m{at}"' in html


async def test_images_inside_of_messages_are_images_of_known_types_alone(
    seeded: AsyncMongoStore, asking: httpx.AsyncClient
) -> None:
    image = await asking.get(f"{S}/at/209/images/0")
    assert image.headers["content-type"] == "image/png"
    assert "sandbox" in image.headers["content-security-policy"]
    svg = "data:image/svg+xml;base64," + base64.b64encode(b'<svg onload="alert(1)"/>').decode()
    await seeded.sessions.create("svg")
    await seeded.sessions.messages.append(
        "svg", Message(role="user", content=[{"type": "image_url", "image_url": {"url": svg}}])
    )
    drawing = await asking.get("/s/default/svg/at/0/images/0")
    assert drawing.headers["content-type"] == "application/octet-stream"
    assert drawing.headers["content-disposition"].startswith("attachment")


async def test_files_are_attachments_but_to_image_elements(asking: httpx.AsyncClient) -> None:
    picture, table = (f"/files/{encode_id(f'threads/roses/{name}')}" for name in ("trees.png", "roses.csv"))
    opened = await asking.get(picture)
    assert opened.headers["content-disposition"].startswith("attachment")
    drawn = await asking.get(picture, headers={"Sec-Fetch-Dest": "image", "Sec-Fetch-Site": "same-origin"})
    assert drawn.headers["content-type"] == "image/png"
    text = await asking.get(table, headers={"Sec-Fetch-Dest": "image", "Sec-Fetch-Site": "same-origin"})
    assert text.headers["content-type"] == "application/octet-stream"
    part = await asking.get(table, headers={"Range": "bytes=5-11"})
    assert (part.status_code, part.text, part.headers["content-range"]) == (206, "planted", "bytes 5-11/32")
    assert (await asking.get(table, headers={"Range": "bytes=99-"})).status_code == 416
    for range in ("bytes=7-5", "bytes=-5", "lines=1-2"):
        whole = await asking.get(table, headers={"Range": range})
        assert (whole.status_code, len(whole.content)) == (200, 32)


async def test_what_is_not_there_is_said_as_a_page_and_as_a_problem(asking: httpx.AsyncClient) -> None:
    page = await asking.get("/s/default/nothing")
    assert page.status_code == 404
    assert "There is no such session" in page.text
    problem = await asking.get("/s/default/nothing", headers={"Accept": "application/json"})
    assert problem.json()["status"] == 404


async def test_one_message_without_a_text_is_counted_and_shown(
    seeded: AsyncMongoStore, asking: httpx.AsyncClient
) -> None:
    for number, content in enumerate(("", " \n", None)):
        message = Message(role="user", content=content)
        await seeded.sessions.messages.append(f"bare{number}", message, create=True)
        html = (await asking.get(f"/s/default/bare{number}")).text
        assert "<span>1 message</span>" in html
        assert html.count("No text.") == 1
    assert "No text." not in (await asking.get(f"/s/{NAMESPACE}/{SESSION}")).text


def test_a_studio_says_where_its_database_is() -> None:
    def locate(uri: str) -> tuple[str, str]:
        studio = create_app(AsyncMongoStore(uri), token=TOKEN).state.studio
        return studio.host, studio.database

    assert locate("mongod:///srv/data") == ("this machine", "")
    assert locate("mongodb://ada:secret@db.example:27018/chat") == ("db.example:27018", "")
    assert locate("mongomock://") == ("this process", "in memory")


async def test_an_empty_store_says_how_to_begin(store_uri: str, database: str) -> None:
    async with AsyncMongoStore(store_uri, database) as store, open_client(store) as asking:
        await asking.get("/open", params={"token": TOKEN})
        html = (await asking.get("/")).text
    assert "Nothing stored in" in html
    commands = re.findall(r"mongostore (demo|import).*--uri (\S+) --database (\w+)", html)
    # What is in the memory of this process no other one fills.
    if store_uri.startswith("mongomock"):
        assert commands == []
    else:
        assert commands == [(verb, store.address, database) for verb in ("demo", "import")]


IDS = [
    "plain",
    "",
    ".",
    "..",
    "a/b",
    "ä ö?#%",
    "~",
    "x" * 300,
    "\ud800",
    "../../etc",
    "a\x00b",
    "%2e%2e",
    "😀",
]


@pytest.mark.parametrize("id", IDS, ids=ascii)
def test_an_id_comes_back_from_its_address(id: str) -> None:
    segment = encode_id(id)
    assert decode_id(segment) == id
    assert str(httpx.URL("http://h/a/").join(segment)) == f"http://h/a/{segment}"


@pytest.mark.parametrize("id", [id for id in IDS if id and "\ud800" not in id], ids=ascii)
async def test_a_session_of_any_id_has_a_page(id: str) -> None:
    async with AsyncMongoStore("mongomock://") as store, open_client(store) as asking:
        await asking.get("/open", params={"token": TOKEN})
        await store.sessions.create(id)
        await store.sessions.messages.append(id, Message(role="user", content="here it is"))
        [link] = re.findall(r'class="conv" href="([^"]+)"', (await asking.get("/list?fragment=true")).text)
        assert "here it is" in (await asking.get(link)).text


@pytest.mark.parametrize("id", [id for id in IDS if id and "\ud800" not in id] + ["a&b+c"], ids=ascii)
async def test_each_address_of_a_thread_message_leads_to_it(id: str) -> None:
    async with AsyncMongoStore("mongomock://") as store, open_client(store) as asking:
        await asking.get("/open", params={"token": TOKEN})
        data = {"type": "assistant_message"}
        await store.threads.messages.merge(
            "t", id, content=[IMAGE, {"type": "text", "text": "first"}], data=data
        )
        await store.threads.feedback.upsert("t", Feedback(id="f", message_id=id, value=1))
        await store.threads.messages.merge("t", "last", content="last", data=data)
        for page in ("/t/t", "/t/t/feedback", "/feedback", "/search?q=first"):
            html = (await asking.get(page)).text
            links = {unescape(link) for link in re.findall(r'(?:href|data-path)="([^"]*\?at=[^"]+)"', html)}
            here = {(await asking.get(link)).text.count('class="msg here" id="m1"') for link in links}
            assert here == ({0, 1} if page == "/t/t" else {1}), page
        [image] = re.findall(r'<img src="([^"]+)"', (await asking.get("/t/t")).text)
        assert (await asking.get(unescape(image))).headers["content-type"] == "image/png"


async def test_an_image_in_an_event_and_all_of_a_long_step_are_shown() -> None:
    async with AsyncMongoStore("mongomock://") as store, open_client(store) as asking:
        await asking.get("/open", params={"token": TOKEN})
        await store.rooms.create("r")
        await store.rooms.events.append("r", Event(channel_id="c", content=[IMAGE]))
        [image] = re.findall(r'<img src="([^"]+)"', (await asking.get("/r/r")).text)
        assert (await asking.get(image)).headers["content-type"] == "image/png"
        assert (await asking.get("/r/r/at/1/images/0")).status_code == 404
        text = "long " * 2_000 + "end."
        await store.threads.messages.merge("t", "m", content=text, data={"type": "assistant_message"})
        html = (await asking.get("/t/t")).text
        assert "end." not in html
        [more] = re.findall(r'class="showall" href="([^"]+)"', html)
        assert "end.</p>" in (await asking.get(more)).text


async def test_the_person_that_is_typed_is_shown() -> None:
    async with AsyncMongoStore("mongomock://") as store, open_client(store) as asking:
        await asking.get("/open", params={"token": TOKEN})
        for who in ("find", "a b/c"):
            await store.threads.users.create(who)
            html = (await asking.get("/people")).text
            [action] = re.findall(r'<form class="filters row wrap" action="([^"]+)"', html)
            found = await asking.get(action, params={"who": who}, follow_redirects=True)
            assert f'<h1 class="cut">{who}</h1>' in found.text


async def test_older_conversations_follow_page_by_page_without_gaps() -> None:
    async with AsyncMongoStore("mongomock://") as store, open_client(store) as asking:
        await asking.get("/open", params={"token": TOKEN})
        for number in range(130):
            sessions = store.sessions.in_namespace(f"n{number % 3}")
            await sessions.create(f"s{number}")
        for number in range(20):
            await store.threads.create(f"t{number}")
            await store.rooms.create(f"r{number}")
        found: list[str] = []
        path = "/list?fragment=true"
        while path:
            html = (await asking.get(path)).text
            found += re.findall(r'class="conv" href="([^"]+)"', html)
            more = re.search(r'class="more" href="([^"]+)"', html)
            path = more[1].replace("&amp;", "&") + "&fragment=true" if more else ""
        assert len(found) == len(set(found)) == 170


async def test_a_search_finds_words_in_all_houses(asking: httpx.AsyncClient) -> None:
    for words, path in (
        ("GLOVES fan duchess", "at=204#m204"),
        ("tumtum", f"/r/{ROOM}?at=7#e7"),
        ("onions", "at=a1"),
    ):
        html = (await asking.get("/search", params={"q": words})).text
        assert path in html
        assert "<mark>" in html
    assert "Nothing was found." in (await asking.get("/search", params={"q": "snark"})).text
    assert "at=209" not in (await asking.get("/search", params={"q": "gloves role:user"})).text


async def test_an_export_of_a_search_has_all_that_it_finds(
    seeded: AsyncMongoStore, asking: httpx.AsyncClient
) -> None:
    await seeded.sessions.create("far")
    for start in range(0, 1_100, 100):
        some = [Message(role="user", content=f"{'jabberwock' if start else 'xyzzy'} {n}") for n in range(100)]
        await seeded.sessions.messages.append_many("far", some)
    first = seeded.engine.collection("session_segments")
    await first.update_one({"session": "default/far", "start": 0}, {"$set": {"messages.5.role": 7}})
    lines = (await asking.get("/search/export", params={"q": "xyzzy"})).text.splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["record"] for record in records] == ["Session", *["Message"] * 99, "unreadable"]


async def test_a_file_of_a_thread_that_is_deleted_meanwhile_breaks_off(
    seeded: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = AsyncThreadMessages.iter

    async def read_late(self: AsyncThreadMessages, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        await seeded.threads.delete(THREAD)
        async for message in read(self, *arguments, **options):
            yield message

    monkeypatch.setattr(AsyncThreadMessages, "iter", read_late)
    conversation = Conversation(House.THREADS, await seeded.threads.get(THREAD))
    transport = httpx.ASGITransport(create_app(seeded, token=TOKEN))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as asking:
        await asking.get("/open", params={"token": TOKEN})
        with pytest.raises(RuntimeError):
            await asking.get(f"/t/{THREAD}/export?form=md")
    with pytest.raises(NotFoundError):
        _ = [part async for part in iter_parts(seeded, conversation, 0, [])]


async def test_the_sessions_of_all_namespaces_are_listed() -> None:
    async with AsyncMongoStore("mongomock://") as store, open_client(store) as asking:
        await asking.get("/open", params={"token": TOKEN})
        names = [f"n{number:02}" for number in range(45)]
        for name in names:
            await store.sessions.in_namespace(name).create("s", user_id="ada")
        key = await store.keys.create(name="k", namespaces=names)
        async with open_client(store, token=None) as of_key:
            of_key.headers["Authorization"] = f"Bearer {key.token}"
            for client, path in ((asking, "/people/ada"), (asking, "/list?user=ada"), (of_key, "/list")):
                found: set[str] = set()
                while path:
                    html = (await client.get(f"{path}{'&' if '?' in path else '?'}fragment=true")).text
                    found |= {*re.findall(r'class="conv" href="/s/(n\d\d)/s"', html)}
                    path = unescape("".join(re.findall(r'class="more" href="([^"]+)"', html)[-1:]))
                assert found == {*names}


async def test_a_search_counts_what_its_page_has_found(
    seeded: AsyncMongoStore, asking: httpx.AsyncClient
) -> None:
    def counts(html: str) -> dict[str, str]:
        text = html.replace('<span class="cut">', "")
        return dict(re.findall(r'>([^<>]+?)(?: |</span>)<span class="n(?:um)?">(\d+\+?)</span>', text))

    html = (await asking.get("/search", params={"q": "gloves"})).text
    houses = {"All": "2", "Sessions": "2", "Threads": "0", "Rooms": "0"}
    facets = {"user": "2", "assistant": "2", "looking-glass": "2", "white-rabbit": "1", "alice": "1"}
    assert counts(html) == houses | facets
    # A filter is added to those that are there, and taken away where it is set.
    html = (await asking.get("/search", params={"q": "gloves role:user namespace:looking-glass"})).text
    links = {unquote_plus(link) for link in re.findall(r'/search\?q=([^"&]+)', html)}
    assert {"gloves namespace:looking-glass", "gloves role:user"} <= links
    assert "gloves role:user namespace:looking-glass user:alice" in links
    assert counts(html)["user"] == "2"
    # What is typed beside the filters of a page is added to them, and the last of a key counts.
    typed = {"filters": "role:user kind:session", "q": "gloves role:tool"}
    html = (await asking.get("/search", params=typed)).text
    values = re.findall(r'id="words"[^>]* value="([^"]+)"|name="filters" value="([^"]+)"', html)
    assert values == [("gloves", ""), ("", "role:tool kind:session")]
    assert re.findall(r'class="tok" href="/search\?q=([^"]+)"', html) == ["gloves%20kind%3Asession"]
    assert 'filter on" href="/search?q=gloves%20role%3Atool"' in html
    # Of houses that are not on a page of many, nothing is known.
    for number in range(21):
        await seeded.sessions.create(f"g{number}", name="More gloves")
    html = (await asking.get("/search", params={"q": "gloves"})).text
    assert {key: counts(html).get(key) for key in houses} == {
        "All": "20+",
        "Sessions": "20+",
        "Threads": None,
        "Rooms": None,
    }


async def test_a_search_finds_a_name_and_a_message_far_back(
    seeded: AsyncMongoStore, asking: httpx.AsyncClient
) -> None:
    await seeded.sessions.create("named", name="The Walrus")
    await seeded.sessions.messages.append("far", Message(role="user", content="Callooh, Callay"), create=True)
    for start in range(0, 1_200, 400):
        many = [Message(role="assistant", content=f"word {start + n}") for n in range(400)]
        await seeded.sessions.messages.append_many("far", many)
    for words, path in (("walrus", "/s/default/named"), ("CALLOOH", "/s/default/far")):
        html = (await asking.get("/search", params={"q": words})).text
        assert f'class="t cut" href="{path}"' in html
        assert "In the name, or in a message further back." in html


async def test_all_that_a_search_finds_is_given_out(
    seeded: AsyncMongoStore, asking: httpx.AsyncClient
) -> None:
    for number in range(25):
        many = [Message(role="user", content="More gloves") for _ in range(6)]
        await seeded.sessions.messages.append_many(f"g{number}", many, create=True)
    await seeded.sessions.create("empty", name="No gloves")

    async def lines(query: str) -> list[str]:
        answer = await asking.get("/search/export", params={"q": query})
        assert answer.headers["content-disposition"].startswith("attachment;")
        return [str(json.loads(line)["record"]) for line in answer.text.splitlines()]

    # More than a page shows: 27 conversations with words, and one by its name alone.
    assert Counter(await lines("gloves")) == {"Session": 28, "Message": 25 * 6 + 4}
    assert Counter(await lines("gloves role:assistant")) == {"Session": 1, "Message": 2}
    assert await lines("onions") == ["Thread", "ThreadMessage"]
    assert await lines("tumtum") == ["Room", "Event"]
    assert await lines("") == await lines("snark") == []


async def test_a_search_shows_when_and_takes_a_time(
    seeded: AsyncMongoStore, asking: httpx.AsyncClient
) -> None:
    old = Message(role="user", content="Old gloves", created_at=datetime.now(UTC) - timedelta(days=100))
    await seeded.sessions.messages.append("old", old, create=True)
    html = (await asking.get("/search", params={"q": "gloves"})).text
    [chart] = re.findall(r'aria-label="Messages by day">(.*?)</svg>', html, re.DOTALL)
    counts = [int(count) for count in re.findall(r"<title>[^<]*: (\d+)</title>", chart)]
    assert len(counts) <= 28
    assert (counts[0], sum(counts)) == (1, 5)
    for since, is_found in (("200d", True), ("30d", False), ("2000-01-01", True), ("2999-01-01", False)):
        html = (await asking.get("/search", params={"q": f"gloves since:{since}"})).text
        assert (
            "/s/default/old" in re.sub("<aside class=.side.*?</aside>", "", html, flags=re.DOTALL)
        ) is is_found
    # What is no time is a word, and the page says so.
    html = (await asking.get("/search", params={"q": "gloves since:monday"})).text
    assert "Nothing was found" in html
    assert "“since:monday” was looked for as a word: since: takes days, such as 30d" in html
    html = (await asking.get("/search", params={"q": "gloves kind:sessions since:30d"})).text
    assert "“kind:sessions” was looked for as a word: kind: takes session, thread or room" in html
    assert "since: takes" not in html


async def test_any_words_can_be_searched(asking: httpx.AsyncClient) -> None:
    for words in ("<script>alert(1)</script>", "(", "\\", "[a-", "a" * 500, "role:", "\x1b"):
        answer = await asking.get("/search", params={"q": words})
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text


async def test_an_export_has_every_message(asking: httpx.AsyncClient, seeded: AsyncMongoStore) -> None:
    lines = [json.loads(line) for line in (await asking.get(f"{S}/export")).text.splitlines()]
    assert [line["record"] for line in lines] == ["Session"] + 214 * ["Message"]
    sessions = seeded.sessions.in_namespace(NAMESPACE)
    stored = [message async for message in sessions.messages.iter(SESSION)]
    assert [line["content"] for line in lines[1:]] == [message.content for message in stored]
    text = await asking.get(f"{S}/export?form=md")
    assert text.headers["content-disposition"].startswith("attachment")
    assert "## 209. assistant" in text.text
    for path, head, part in ((f"/t/{THREAD}", "Thread", "ThreadMessage"), (f"/r/{ROOM}", "Room", "Event")):
        lines = [json.loads(line) for line in (await asking.get(f"{path}/export")).text.splitlines()]
        assert [line["record"] for line in lines] == [head] + 12 * [part]


async def test_an_html_export_is_one_file_that_asks_for_nothing(asking: httpx.AsyncClient) -> None:
    for path, anchors in (
        (S, [f"m{n}" for n in range(214)]),
        (f"/t/{THREAD}", ["m1"]),
        (f"/r/{ROOM}", ["e0"]),
    ):
        answer = await asking.get(f"{path}/export?form=html")
        assert answer.headers["content-disposition"].startswith("attachment")
        html = answer.text
        assert html.endswith("</main></body></html>\n")
        assert {*anchors} <= {*re.findall(r' id="([em]\d+)"', html)}
        assert not re.search(r"<script|<link|<button class=\"btn|\son\w+=", html)
        style = re.search("<style>(.*?)</style>", html, re.DOTALL)
        assert style
        addresses = [*re.findall(r'(?:src|href)="([^"]*)"', html), *re.findall(r'url\("?([^")]*)', style[1])]
        around = ("#", "data:image/", "data:font/")
        assert [one[:80] for one in addresses if not one.startswith((*around, "http", "mailto:"))] == []
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in html


async def test_an_html_export_leaves_nothing_out(asking: httpx.AsyncClient) -> None:
    html = (await asking.get(f"{S}/export?form=html")).text
    assert "Show all" not in html
    assert html.count("all must have prizes") >= 36
    assert "data:image/png;base64," in html


async def test_what_is_shown_can_be_seen_as_it_is_stored(asking: httpx.AsyncClient) -> None:
    for page in (f"{S}/at/209", f"/r/{ROOM}/at/6", f"/t/{THREAD}?at=s3"):
        [link] = re.findall(r'href="([^"]+)">As stored', (await asking.get(page)).text)
        assert "created_at" in (await asking.get(link)).text


async def test_the_map_of_a_long_session_shows_where_much_is_said() -> None:
    async with AsyncMongoStore("mongomock://") as store, open_client(store) as asking:
        await asking.get("/open", params={"token": TOKEN})
        many = [Message(role="user", content="x" * (3000 if n < 200 else 10)) for n in range(800)]
        await store.sessions.messages.append_many("s", many, create=True)
        html = (await asking.get("/s/default/s/map")).text
    bars = re.findall(r'at=(\d+)".*?<rect class="a"[^>]* width="([\d.]+)"', html)
    assert bars[0][0] == "0"
    assert 5 < len(bars) <= 100
    assert float(bars[0][1]) > 3 * float(bars[-1][1])


async def test_the_map_leads_to_every_message(asking: httpx.AsyncClient) -> None:
    html = (await asking.get(f"{S}/map?first=164&last=213")).text
    assert [int(at) for at in re.findall(r'at=(\d+)"', html)] == list(range(214))
    assert html.count('class="e"') == 1
    assert "the window shows 164 to 213" in html


async def test_the_numbers_are_counted_once_for_all_who_ask(asking: httpx.AsyncClient) -> None:
    html = (await asking.get("/cards?days=7")).text
    assert "counted just now" in html
    assert "7 sessions, 1 thread, 1 room" in html
    assert len(re.findall(r'<rect class="h\d"', html)) == 168
    assert "2 votes" in html
    lines = (await asking.get("/statistics.csv?days=7")).text.splitlines()
    assert lines[0] == "day,sessions,threads,rooms,people"
    assert len(lines) == 8
    total = sum(int(cell) for line in lines[1:] for cell in line.split(",")[1:4])
    assert f'<div class="big">{total}</div>' in html


async def test_feedback_is_shown_with_its_question_and_answer(asking: httpx.AsyncClient) -> None:
    html = (await asking.get("/feedback?value=down")).text
    assert "Off with its head" in html
    drawn = (await asking.get("/feedback/votes")).text
    assert "2 votes in 30 days, 50% up" in drawn
    assert re.findall(r"\d+ \w+: (1 up, 1 down|1 up, 0 down|0 up, 1 down)", drawn)
    assert "Which of my trees were planted" in html
    assert "No comment" not in html
    assert "painted red on Sunday evening by gardeners Two, Five" in html
    assert re.findall(r'<td class="any">(\w+)</td>', drawn) == ["audit", "gardens"]
    assert "Down, by tag" in drawn
    assert "Up, by tag" in (await asking.get("/feedback/votes?value=up")).text


async def test_all_feedback_is_given_out(seeded: AsyncMongoStore, asking: httpx.AsyncClient) -> None:
    for number in range(30):
        parts = [{"type": "text", "text": "**Hay**"}, {"type": "text", "text": f"{number}"}]
        await seeded.threads.messages.merge("more", f"n{number}", content=parts, data={"role": "assistant"})
        await seeded.threads.feedback.upsert("more", Feedback(message_id=f"n{number}", value=1))
    everything = (await asking.get("/feedback/export")).text.splitlines()
    assert len(everything) == 32
    assert {json.loads(line)["answered"] for line in everything} >= {f"Hay {n}" for n in range(30)}
    downs = await asking.get("/feedback/export?value=down")
    assert downs.headers["content-disposition"].endswith("feedback%20down.jsonl")
    [down] = map(json.loads, downs.text.splitlines())
    assert (down["record"], down["value"], down["thread_id"]) == ("Feedback", 0, THREAD)
    assert down["asked"].startswith("I see by the accounts")
    assert down["answered"].startswith("Three trees near the entrance")


async def test_a_step_is_shown_in_the_answer_that_it_has_led_to(asking: httpx.AsyncClient) -> None:
    html = (await asking.get(f"/t/{THREAD}?at=s3")).text
    [answer] = re.findall(r'<article class="msg here".*?</article>', html, re.DOTALL)
    [step] = re.findall(r'<a class="stp"[^>]* aria-current="true".*?</a>', answer, re.DOTALL)
    assert "retrieve_ledger" in step


async def test_a_document_is_sent_whole_and_shown_without_the_files_in_it(asking: httpx.AsyncClient) -> None:
    path = f"{S}/at/209/document"
    page = (await asking.get(path)).text
    assert "data:image/png;base64,… " in page
    assert f'data-src="{path}"' in page
    sent = await asking.get(path, headers={"Accept": "application/json"})
    assert sent.json()["content"][1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


def test_json_is_as_short_as_lines_are_for_people() -> None:
    assert to_json({"day": "today", "n": [1, 2, None]}) == '{"day": "today", "n": [1, 2, null]}'
    long = {"model": "cheshire-small", "usage": {"input": 3120}, "url": "data:image/png;base64,AAAA"}
    lines = ["{", ' "model": "cheshire-small",', ' "usage": {"input": 3120},']
    assert to_json(long) == "\n".join([*lines, ' "url": "data:image/png;base64,… 4 characters"', "}"])
