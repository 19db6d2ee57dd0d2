"""The studio in a browser, as people use it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mongostore import AsyncMongoStore, Message, UnavailableError
from mongostore.servers.studio.addresses import encode_id
from tests.servers.studio.conftest import Browse, Watched, accessible
from tests.servers.studio.seed import NAMESPACE, ROOM, SESSION, THREAD
from tests.servers.studio.serving import Studio
from tests.servers.studio.test_hostile import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.timeout(600)

S = f"/s/{NAMESPACE}/{SESSION}"
SCREENS = {
    "overview": "/",
    "session": f"{S}?at=209",
    "session-end": S,
    "message": f"{S}/at/209",
    "stored": f"{S}/at/209/document",
    "documents": f"{S}/documents",
    "thread": f"/t/{THREAD}?at=s3",
    "steps": f"/t/{THREAD}/steps",
    "room": f"/r/{ROOM}?at=6",
    "people-of-room": f"/r/{ROOM}/people",
    "list": "/list?kind=session",
    "search": "/search?q=gloves",
    "feedback": "/feedback",
    "people": "/people",
    "person": "/people/queen@hearts.example",
}
# Where pictures of the screens are put, for somebody to look at them.
PICTURES = os.environ.get("MONGOSTORE_TEST_PICTURES")


@pytest.mark.parametrize(
    ("launch", "width", "scheme"),
    [
        ("embedded", 1440, "light"),
        pytest.param("embedded", 420, "dark", marks=pytest.mark.long),
        pytest.param("server", 1440, "dark", marks=[pytest.mark.server, pytest.mark.long]),
        pytest.param("server", 420, "light", marks=[pytest.mark.server, pytest.mark.long]),
    ],
    indirect=["launch"],
)
def test_every_screen_is_whole_and_accessible(
    studio: Studio, browse: Browse, width: int, scheme: str
) -> None:
    watched = browse(studio, width=width, scheme=scheme)
    for name, path in SCREENS.items():
        assert watched.go(path).status == 200
        # Numbers follow their page.
        watched.page.locator("#cards [role=status]").wait_for(state="detached")
        look_at(watched, f"{name}-{width}-{scheme}")
        watched.check()


def look_at(watched: Watched, name: str) -> None:
    """Check what a page shows, and make a picture of it where somebody wants to look at it."""
    if PICTURES:
        watched.page.wait_for_timeout(300)
        watched.page.screenshot(path=Path(PICTURES) / f"{name}.png")
    accessible(watched.page)


@pytest.mark.long
@pytest.mark.parametrize("launch", ["embedded"], indirect=True)
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (420, "dark")])
def test_every_state_is_whole_and_accessible(
    launch: Callable[[], Studio], browse: Browse, tmp_path: Path, width: int, scheme: str
) -> None:
    async def fill(store: AsyncMongoStore) -> None:
        many = [Message(role=("user", "assistant")[n % 2], content=f"Said {n}.") for n in range(30)]
        await store.sessions.messages.append_many("torn", many, create={"name": "Torn"})
        broken = {"messages.18.role": 7}
        await store.engine.collection("sessions").update_one({}, {"$set": broken})

    async def fail() -> None:
        raise UnavailableError("no server answers")

    def look(name: str, path: str | None = None) -> None:
        if path is not None:
            watched.go(path)
        look_at(watched, f"{name}-{width}-{scheme}")

    with launch() as serving:
        watched = browse(serving, width=width, scheme=scheme)
        look("empty", "/")
        serving.run(fill)
        look("unreadable", "/s/default/torn?at=18")
        watched.check()
        page = watched.page
        if width == 420:
            page.get_by_role("button", name="Open navigation").click()
            look("navigation")
            page.keyboard.press("Tab")
            page.keyboard.press("Escape")
            assert page.evaluate("document.activeElement.ariaLabel") == "Open navigation"
        page.keyboard.press("?")
        page.get_by_role("dialog", name="Keys").wait_for()
        look("keys")
        page.keyboard.press("Escape")
        page.keyboard.press("Control+k")
        page.get_by_role("option").first.wait_for()
        look("palette")
        look("missing", "/s/default/unknown")
        look("no-such-address", "/s/default/torn?at=x")
        serving.store.open = fail  # type: ignore[method-assign]
        look("unavailable", "/s/default/torn")
        page.context.clear_cookies()
        del serving.store.open
        look("login", "/")


@pytest.mark.long
@pytest.mark.parametrize("launch", ["embedded"], indirect=True)
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (420, "dark")])
def test_an_html_export_opens_from_a_file_with_no_request(
    studio: Studio, browse: Browse, tmp_path: Path, width: int, scheme: str
) -> None:
    for name, path in (("session", S), ("thread", f"/t/{THREAD}"), ("room", f"/r/{ROOM}")):
        watched = browse(studio, width=width, scheme=scheme)
        page = watched.page
        watched.go(path)
        page.locator("#export").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="HTML").click()
        file = tmp_path / f"{name}.html"
        download.value.save_as(file)
        # The studio's page asks for what is new until it is left.
        page.goto("about:blank")
        watched.requests.clear()
        page.goto(file.as_uri())
        assert [one[:80] for one in watched.requests if not one.startswith((file.as_uri(), "data:"))] == []
        assert watched.complaints == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        look_at(watched, f"export-{name}-{width}-{scheme}")


@pytest.mark.parametrize(
    "launch",
    [
        pytest.param("server", marks=pytest.mark.server),
        pytest.param("embedded", marks=pytest.mark.long),
    ],
    indirect=True,
)
def test_what_is_written_is_seen_at_once_and_once(launch: Callable[[], Studio], browse: Browse) -> None:
    async def fill(store: AsyncMongoStore) -> None:
        await store.sessions.create("live", name="Live")
        await store.sessions.messages.append_many(
            "live", [Message(role="user", content=f"message {n}") for n in range(60)]
        )

    async def write(store: AsyncMongoStore) -> None:
        await store.sessions.messages.append("live", Message(id="new", role="assistant", content="It gro"))

    async def grow(store: AsyncMongoStore) -> None:
        await store.sessions.messages.update("live", "new", content="It grows")

    async def delete(store: AsyncMongoStore) -> None:
        await store.sessions.messages.delete("live", "new")

    with launch() as studio:
        studio.run(fill)
        watched = browse(studio)
        page = watched.page
        watched.go("/s/default/live")
        page.get_by_text("Following.").wait_for()
        assert page.locator(".brand .db").inner_text() == studio.database
        studio.run(write)
        page.locator("#m60").get_by_text("It gro").wait_for()
        studio.run(grow)
        page.locator("#m60").get_by_text("It grows").wait_for()
        assert page.locator("#m60").count() == 1

        # Somebody scrolls up to read; what comes waits and is counted, and moves nothing.
        page.locator("#scroll").evaluate("one => { one.scrollTop = 0 }")
        page.get_by_text("Paused while you read.").wait_for()
        studio.run(
            lambda store: store.sessions.messages.append("live", Message(role="user", content="later"))
        )
        page.get_by_role("button", name="1 new").wait_for()
        assert page.locator("#scroll").evaluate("one => one.scrollTop") == 0
        page.keyboard.press("f")
        page.get_by_text("Following.").wait_for()
        studio.run(delete)
        page.locator("#m60").wait_for(state="detached")
        watched.check()


def test_a_room_is_followed_too(studio: Studio, browse: Browse) -> None:
    from mongostore import Event

    watched = browse(studio)
    watched.go(f"/r/{ROOM}")
    watched.page.get_by_text("Following.").wait_for()
    studio.run(
        lambda store: store.rooms.events.append(
            ROOM,
            Event(channel_id="sms", participant_id="alice", content={"type": "text", "body": "Callooh!"}),
        )
    )
    watched.page.get_by_text("Callooh!").wait_for()
    watched.check()


def test_keys_do_what_they_say(studio: Studio, browse: Browse) -> None:
    watched = browse(studio)
    page = watched.page
    watched.go(f"{S}?at=205")
    page.get_by_text("Following.").wait_for()
    page.keyboard.press("j")
    assert page.locator(".here").get_attribute("id") == "m209"
    page.locator("#rail").get_by_text("Message 209").wait_for()
    page.keyboard.press("k")
    assert page.locator(".here").get_attribute("id") == "m205"
    page.keyboard.press("t")
    opened = page.locator("#m205 details[open]").count()
    page.keyboard.press("t")
    assert {opened, page.locator("#m205 details[open]").count()} == {0, 3}
    # The tail has sent nothing of what the page shows.
    assert page.locator(".newbar").count() == 0
    assert page.locator("#m205").get_by_text("not on this page").count() == 0
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    accessible(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.get_by_role("dialog", name="Jump to").wait_for()
    page.keyboard.type("which rose trees")
    page.get_by_role("option", name=re.compile("Which rose trees")).wait_for()
    accessible(page)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"/t/{THREAD}"))
    page.keyboard.press("/")
    page.keyboard.type("tumtum j k ?")
    assert page.locator("#ask").input_value() == "tumtum j k ?"
    page.locator("#ask").fill("tumtum")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/search\?q=tumtum$"))
    page.locator("mark").first.wait_for()
    page.keyboard.press("Home")
    page.keyboard.press("j")
    page.locator(".hit.here").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"/r/{ROOM}"))
    watched.check()


def test_filters_stand_beside_the_words_and_are_taken_away(studio: Studio, browse: Browse) -> None:
    watched = browse(studio)
    page = watched.page
    watched.go("/search?q=gloves role:user since:30d")
    assert page.locator("#words").input_value() == "gloves"
    page.keyboard.press("/")
    page.keyboard.press("End")
    page.keyboard.type(" fan")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"q=gloves\+fan"))
    assert page.locator(".tok").all_inner_texts() == ["role:user", "since:30d"]
    page.locator("#words").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Backspace")
    page.wait_for_url(re.compile(r"q=gloves%20fan%20role%3Auser$"))
    page.get_by_role("link", name="Take away role:user").click()
    page.wait_for_url(re.compile(r"q=gloves%20fan$"))
    watched.check()


def test_a_document_is_copied_whole(studio: Studio, browse: Browse) -> None:
    watched = browse(studio)
    page = watched.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    watched.go(f"{S}/at/209/document")
    page.get_by_role("button", name="Copy").click()
    page.locator("#said").get_by_text("Code copied").wait_for(state="attached")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert len(copied) > 5000
    assert "base64,iVBOR" in copied
    watched.check()


def test_the_palette_opens_what_was_typed_however_late_its_answers_come(
    studio: Studio, browse: Browse
) -> None:
    watched = browse(studio)
    page = watched.page
    watched.go(S)
    held: list[Route] = []
    page.route("**/list?*palette=true*", lambda route: held.append(route))
    page.keyboard.press("Control+k")
    page.get_by_role("dialog", name="Jump to").wait_for()
    page.keyboard.type("which rose trees")
    page.keyboard.press("Enter")
    while not (held and held[-1].request.url.endswith("q=which%20rose%20trees")):
        page.wait_for_timeout(10)
    # The newest question is answered first, and those before it after it.
    for route in reversed(held):
        route.continue_()
    page.wait_for_url(re.compile(f"/t/{THREAD}"))
    watched.check()


def test_without_script_pages_are_read_and_left(studio: Studio, browse: Browse) -> None:
    watched = browse(studio, java_script_enabled=False)
    page = watched.page
    page.locator("#list").get_by_text("White gloves").click()
    page.get_by_role("link", name="Messages 114–163").click()
    page.locator("#m163").wait_for()
    page.locator("#ask").fill("tumtum")
    page.locator("#ask").press("Enter")
    page.locator("mark").first.wait_for()
    watched.check()


BAD = '"><script>alert(1)</script><img src=x onerror=alert(1)>\u202e'


@pytest.fixture(scope="module")
def hostile(launch: Callable[[], Studio]) -> Iterator[Studio]:
    """A studio of contents that want to run, to load or to deceive, in every house and every member."""

    async def fill(store: AsyncMongoStore) -> None:
        from mongostore import Element, Event, Feedback, RoomParticipant

        everything = "\n\n".join(HOSTILE.values())
        bad = BAD
        await store.sessions.create(
            bad[:100], name=bad, user_id=bad, description=bad, metadata={bad: bad}, data={bad: bad}
        )
        await store.sessions.context.set(bad[:100], [{bad: everything}])
        messages = [Message(role="user", content=text) for text in (*HOSTILE.values(), everything)]
        messages.append(
            Message(
                role=bad,
                content={bad: bad},
                data={
                    "name": bad,
                    "model": bad,
                    "tool_calls": [{"id": bad, "function": {"name": bad, "arguments": bad}}],
                },
            )
        )
        messages.append(Message(role="tool", content=bad, data={"tool_call_id": bad}))
        messages.append(
            Message(
                role="user",
                content=[{"type": "image_url", "image_url": {"url": f"https://tracker.example/{bad}"}}],
            )
        )
        await store.sessions.messages.append_many(bad[:100], messages)
        user = await store.threads.users.create(bad, metadata={bad: bad})
        await store.threads.create(bad[:90], name=bad, user_id=user.id, tags=[bad], metadata={bad: bad})
        await store.threads.messages.merge(
            bad[:90],
            bad[:80],
            content=everything,
            data={"type": "run", "name": bad, "start": bad, "end": bad, "input": bad},
        )
        await store.threads.elements.upsert(
            bad[:90],
            Element(
                message_id=bad[:80],
                file_key=bad[:70],
                data={"name": bad, "mime": bad, "display": bad, "url": "javascript:alert(1)"},
            ),
        )
        await store.threads.files.upload(bad[:70], b"<script>alert(1)</script>", content_type="text/html")
        await store.threads.feedback.upsert(bad[:90], Feedback(message_id=bad[:80], value=0, comment=bad))
        await store.rooms.create(bad[:60], metadata={"name": bad}, organization_id=bad[:50])
        await store.rooms.participants.upsert(
            bad[:60], RoomParticipant(id=bad[:40], data={"display_name": bad})
        )
        for text in HOSTILE.values():
            await store.rooms.events.append(
                bad[:60],
                Event(
                    channel_id=bad[:30],
                    channel_type=bad[:30],
                    participant_id=bad[:40],
                    content={"type": "text", "body": text},
                    delivery_results={bad: {"success": False, "error": bad}},
                ),
            )

    with launch() as serving:
        serving.run(fill)
        yield serving


def test_hostile_content_neither_runs_nor_loads(hostile: Studio, browse: Browse) -> None:
    watched = browse(hostile)
    page = watched.page
    links = page.locator("#list .conv").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert len(links) == 3
    parts = {
        "s": ("participants", "conversations", "context", "documents", "at/20", "at/20/document"),
        "t": ("steps", "elements", "feedback", f"documents/{encode_id(BAD[:80])}"),
        "r": ("people", "tasks", "observations", "at/3"),
    }
    paths = [*links, *(f"{link}/{part}" for link in links for part in parts[link[1]])]
    paths += ["/", "/people", "/feedback", "/list?q=script", "/search?q=script", "/search?q=alert"]
    for path in paths:
        assert watched.go(path).status == 200, path
        page.wait_for_load_state("load")
        assert page.locator("script").count() == 1
        assert (
            page.locator("[onerror], [onload], [onclick], [style], iframe, object, embed, base").count() == 0
        )
        found = page.locator("main a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
        assert all(re.match(r"(/|\?|#|https?:|mailto:)", href) for href in found)
        # The stored document of an event, and the page of a person, are known by their links.
        paths += {
            href
            for href in found
            if re.match(r"/([tr]/.*/documents|people)/[^/?]+$", href) and href not in paths
        }
        watched.check()
    assert {"/t/", "/r/", "/pe"} == {
        path[:3] for path in paths if "/documents/" in path or "/people/" in path
    }


def test_what_runs_in_a_page_is_the_studios_script_alone(studio: Studio, browse: Browse) -> None:
    """The policy itself holds, were a template to let something through."""
    watched = browse(studio)
    page = watched.page
    reports = page.evaluate(
        """async () => {
            const seen = [];
            document.addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
            const add = (tag, members) => document.body.append(Object.assign(document.createElement(tag), members));
            add("img", { src: "https://tracker.example/x.png" });
            add("link", { rel: "stylesheet", href: "https://tracker.example/x.css" });
            const script = document.createElement("script");
            try { script.textContent = "window.hacked = 1"; document.body.append(script); } catch { seen.push("trusted-types"); }
            try { document.body.setAttribute("onclick", "window.hacked = 2"); } catch { seen.push("trusted-types"); }
            document.body.click();
            fetch("https://tracker.example/").catch(() => null);
            for (let tries = 0; tries < 100 && new Set(seen).size < 4; tries++) await new Promise((resolve) => setTimeout(resolve, 100));
            return [seen, window.hacked ?? null];
        }"""
    )
    seen, hacked = reports
    assert hacked is None
    assert {"img-src", "style-src-elem", "connect-src", "trusted-types"} <= set(seen)
