"""Softly deleted sessions in the studio come back; where it is allowed, conversations go for good."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from mongostore import AccessDeniedError, AsyncMongoStore, Element, Message, UnavailableError
from mongostore.repositories.sessions import AsyncSessions
from mongostore.servers.studio import create_app, erasure
from mongostore.servers.studio.addresses import encode_id
from tests.servers.studio.conftest import Browse, Watched, accessible, open_client
from tests.servers.studio.seed import NAMESPACE, ROOM, SESSION, THREAD, seed
from tests.servers.studio.serving import TOKEN, Studio
from tests.servers.studio.test_browser import BAD
from tests.servers.studio.test_pages import IDS

S, T, R = f"/s/{NAMESPACE}/{SESSION}", f"/t/{THREAD}", f"/r/{ROOM}"
HERE = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
ELSEWHERE = (
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1:3000"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
)
PICTURES = os.environ.get("MONGOSTORE_TEST_PICTURES")


@pytest.fixture
async def erasing(seeded: AsyncMongoStore) -> AsyncIterator[httpx.AsyncClient]:
    """A client that has opened a studio which deletes."""
    async with open_client(seeded, allow_erase=True) as opened:
        await opened.get("/open", params={"token": TOKEN})
        yield opened


async def confirmation(asking: httpx.AsyncClient, path: str) -> dict[str, str]:
    """Return the form of a deletion, filled in as its page asks for."""
    html = (await asking.get(f"{path}/delete")).text
    [plan] = re.findall(r'name="plan" value="([^"]+)"', html)
    [word] = re.findall(r"Type <code>([^<]*)</code>", html)
    return {"plan": plan, "confirm": unescape(word)}


async def test_a_deleted_session_is_shown_and_comes_back(store_uri: str, database: str) -> None:
    async with AsyncMongoStore(store_uri, database) as store, open_client(store) as asking:
        await asking.get("/open", params={"token": TOKEN})
        tea = store.sessions.in_namespace("tea")
        for name in ("open", "gone"):
            await tea.create(name, name=f"The {name} one", user_id="ada")
            await tea.messages.append(name, Message(role="user", content=f"{name} was said"))
        assert "No session is deleted" in (await asking.get("/deleted")).text
        await tea.soft_delete("gone")
        gone = await tea.find("gone", deleted=True)
        assert gone is not None
        assert gone.deleted_at is not None
        when = f"{gone.deleted_at:%H:%M:%S}"

        listed = await asking.get("/deleted")
        assert re.findall(r'class="t cut" dir="auto" href="([^"]+)"', listed.text) == ["/s/tea/gone"]
        assert when in listed.text
        assert "/s/tea/gone" in (await asking.get("/deleted?namespace=tea&user=ada")).text
        for filters in ("namespace=other", "user=king"):
            html = (await asking.get(f"/deleted?{filters}")).text
            assert "Nothing fits" in html
            assert "/s/tea/gone/undelete" not in html
        for path in ("/s/tea/gone", "/s/tea/gone/participants", "/s/tea/gone/at/0"):
            hidden = await asking.get(path)
            assert hidden.status_code == 404
            assert "This session was deleted on" in hidden.text
            assert when in hidden.text
            assert "1 message." in hidden.text
            assert "gone was said" not in hidden.text
            assert 'action="/s/tea/gone/undelete"' in hidden.text
        problem = await asking.get("/s/tea/gone", headers={"Accept": "application/json"})
        assert problem.json()["status"] == 404

        back = await asking.post("/s/tea/gone/undelete", headers=HERE)
        assert (back.status_code, back.headers["location"]) == (303, "/s/tea/gone")
        assert "gone was said" in (await asking.get("/s/tea/gone")).text
        assert await tea.exists("gone")
        assert "No session is deleted" in (await asking.get("/deleted")).text


async def test_deleted_sessions_follow_page_by_page() -> None:
    async with AsyncMongoStore("mongomock://") as store, open_client(store) as asking:
        await asking.get("/open", params={"token": TOKEN})
        for number in range(120):
            sessions = store.sessions.in_namespace(f"n{number % 3}")
            await sessions.create(f"s{number}")
            if number % 12:
                await sessions.soft_delete(f"s{number}")
        for first, step in (("/deleted", 1), ("/deleted?namespace=n1", 3)):
            found, path = list[str](), first
            while path:
                html = (await asking.get(path)).text
                found += re.findall(r'/s(\d+)/undelete"', html)
                path = unescape("".join(re.findall(r'class="more" href="(/deleted[^"]+)"', html)))
            expected = [n for n in range(119, -1, -1) if n % 12 and (step == 1 or n % 3 == 1)]
            assert [int(number) for number in found] == expected


async def test_only_what_is_deleted_comes_back(asking: httpx.AsyncClient, seeded: AsyncMongoStore) -> None:
    there = await asking.post(f"{S}/undelete", headers=HERE)
    assert there.status_code == 409
    assert "is not deleted" in there.text
    assert f'href="{S}">Back</a>' in there.text
    gone = await asking.post(f"/s/{NAMESPACE}/unknown/undelete", headers=HERE)
    assert gone.status_code == 404
    assert "There is no such session" in gone.text


async def test_a_server_that_forbids_it_is_said(
    asking: httpx.AsyncClient, seeded: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise AccessDeniedError("not authorized on secret to execute command")

    monkeypatch.setattr(type(seeded.sessions), "undelete", refuse)
    refused = await asking.post(f"{S}/undelete", headers=HERE)
    assert "MongoDB does not allow that" in refused.text
    assert "secret" not in refused.text


async def test_a_form_is_not_sent_again_where_the_store_does_not_answer(
    asking: httpx.AsyncClient, seeded: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise UnavailableError("no server answers")

    monkeypatch.setattr(type(seeded.sessions), "undelete", fail)
    failed = await asking.post(f"{S}/undelete", headers=HERE)
    assert failed.status_code == 503
    assert "MongoDB does not answer" in failed.text
    assert "data-retry" not in failed.text
    assert f'href="{S}">Back</a>' in failed.text


async def test_pages_from_elsewhere_change_nothing(
    seeded: AsyncMongoStore, erasing: httpx.AsyncClient
) -> None:
    form = await confirmation(erasing, S)
    sessions = seeded.sessions.in_namespace(NAMESPACE)
    for headers in ELSEWHERE:
        assert (await erasing.post(f"{S}/delete", data=form, headers=headers)).status_code == 403
    assert await sessions.exists(SESSION)
    await sessions.soft_delete(SESSION)
    for headers in ELSEWHERE:
        assert (await erasing.post(f"{S}/undelete", headers=headers)).status_code == 403
    async with open_client(seeded, allow_erase=True) as stranger:
        assert (await stranger.post(f"{S}/undelete", headers=HERE)).status_code == 401
        assert (await stranger.post(f"{S}/delete", data=form, headers=HERE)).status_code == 401
    # A link or an image is no form.
    assert (await erasing.get(f"{S}/undelete")).status_code == 404
    assert not await sessions.exists(SESSION)


async def test_a_key_brings_back_and_deletes_in_its_namespaces_alone(seeded: AsyncMongoStore) -> None:
    key = await seeded.keys.create(name="tea", namespaces=["tea-party"])
    demo, tea = seeded.sessions.in_namespace(NAMESPACE), seeded.sessions.in_namespace("tea-party")
    await demo.soft_delete(SESSION)
    await tea.soft_delete("s0")
    transport = httpx.ASGITransport(create_app(seeded, allow_erase=True), raise_app_exceptions=False)
    headers = {"Accept": "text/html", "Authorization": f"Bearer {key.token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as asking:
        html = (await asking.get("/deleted")).text
        assert "/s/tea-party/s0/undelete" in html
        assert SESSION not in html
        for path in (S, T, R):
            foreign = await asking.get(path)
            assert foreign.status_code == 404
            assert "was deleted" not in foreign.text
            assert (await asking.post(f"{path}/delete", headers=HERE)).status_code == 404
        assert (await asking.post(f"{S}/undelete", headers=HERE)).status_code == 404
        assert (await asking.get(f"/deleted?namespace={NAMESPACE}")).status_code == 404
        assert (await asking.post("/s/tea-party/s0/undelete", headers=HERE)).status_code == 303
    assert await tea.exists("s0")
    assert not await demo.exists(SESSION)


async def test_without_the_flag_there_is_no_deleting(
    seeded: AsyncMongoStore, asking: httpx.AsyncClient
) -> None:
    for path in (S, T, R):
        assert f"{path}/delete" not in (await asking.get(path)).text
        assert (await asking.get(f"{path}/delete")).status_code == 404
        answer = await asking.post(f"{path}/delete", data={"confirm": "x"}, headers=HERE)
        assert answer.status_code in (404, 405)
    await seeded.sessions.in_namespace(NAMESPACE).soft_delete(SESSION)
    for path in (S, "/deleted"):
        assert "/delete" not in (await asking.get(path)).text.replace("/deleted", "")


async def test_a_conversation_is_deleted_as_it_was_counted(
    seeded: AsyncMongoStore, erasing: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = seeded.sessions.in_namespace(NAMESPACE)
    await seeded.threads.files.upload("a-file", b"rose", content_type="text/plain")
    await seeded.threads.elements.upsert(THREAD, Element(message_id="s3", file_key="a-file"))
    count = (await sessions.get(SESSION)).count
    assert f'<td>messages</td><td class="n">{count}</td>' in (await erasing.get(f"{S}/delete")).text
    elements = (await seeded.threads.elements.list(THREAD)).items
    files = [one.file_key for one in elements if one.file_key is not None]
    html = (await erasing.get(f"{T}/delete")).text
    assert f'<td>elements</td><td class="n">{len(elements)}</td>' in html
    assert f'<td>files</td><td class="n">{len(files)}</td>' in html
    for path, exists, then in (
        (S, lambda: sessions.exists(SESSION), "/list?kind=session"),
        (T, lambda: seeded.threads.exists(THREAD), "/list?kind=thread"),
        (R, lambda: seeded.rooms.exists(ROOM), "/list?kind=room"),
    ):
        assert f'href="{path}/delete"' in (await erasing.get(path)).text
        form, another = await confirmation(erasing, path), await confirmation(erasing, "/s/tea-party/s0")
        for changed, status in (
            ({"confirm": "x"}, 422),
            ({"confirm": ""}, 422),
            ({"plan": ""}, 409),
            ({"plan": form["plan"][:-1] + "x"}, 409),
            ({"plan": another["plan"]}, 409),
        ):
            refused = await erasing.post(f"{path}/delete", data=form | changed, headers=HERE)
            assert refused.status_code == status
            assert f'href="{path}">Back</a>' in refused.text
            assert await exists()
        with monkeypatch.context() as patched:
            patched.setattr(erasure, "PLAN_SECONDS", -1)
            late = await erasing.post(f"{path}/delete", data=form, headers=HERE)
            assert late.status_code == 409
        done = await erasing.post(f"{path}/delete", data=form, headers=HERE)
        assert (done.status_code, done.headers["location"]) == (303, then)
        assert not await exists()
        assert (await erasing.get(path)).status_code == 404
        assert (await erasing.post(f"{path}/delete", data=form, headers=HERE)).status_code == 404
    assert "a-file" in files
    assert not any([await seeded.threads.files.exists(name) for name in files])


async def test_more_than_was_counted_stays(seeded: AsyncMongoStore, erasing: httpx.AsyncClient) -> None:
    form = await confirmation(erasing, S)
    sessions = seeded.sessions.in_namespace(NAMESPACE)
    await sessions.messages.append(SESSION, Message(role="user", content="wait"))
    assert (await erasing.post(f"{S}/delete", data=form, headers=HERE)).status_code == 409
    assert await sessions.exists(SESSION)


async def test_what_another_process_has_counted_is_deleted_for_the_same_key(seeded: AsyncMongoStore) -> None:
    tea = seeded.sessions.in_namespace("tea-party")
    mine, others = [await seeded.keys.create(name="tea", namespaces=["tea-party"]) for _ in range(2)]
    one, two = [open_client(seeded, token=None, allow_erase=True) for _ in range(2)]
    async with one, two:
        one.headers["Authorization"] = f"Bearer {mine.token}"
        await two.post("/open", data={"key": mine.token}, headers=HERE)
        form = await confirmation(one, "/s/tea-party/s0")
        foreign = {**HERE, "Authorization": f"Bearer {others.token}"}
        refused = await two.post("/s/tea-party/s0/delete", data=form, headers=foreign)
        assert refused.status_code == 409
        assert await tea.exists("s0")
        assert (await two.post("/s/tea-party/s0/delete", data=form, headers=HERE)).status_code == 303
    assert not await tea.exists("s0")


async def test_what_cannot_be_read_is_deleted_all_the_same(
    seeded: AsyncMongoStore, erasing: httpx.AsyncClient, asking: httpx.AsyncClient
) -> None:
    for house, path, key in (
        ("sessions", "/s/default/torn", "default/torn"),
        ("threads", "/t/torn", "torn"),
        ("rooms", "/r/torn", "torn"),
    ):
        verbs, documents = getattr(seeded, house), seeded.engine.collection(house)
        await verbs.create("torn")
        await documents.update_one({"_id": key}, {"$set": {"metadata": "torn"}})
        page = await erasing.get(path)
        assert "cannot be read" in page.text
        assert f'href="{path}/delete"' in page.text
        assert f'href="{path}/delete"' not in (await asking.get(path)).text
        assert "nothing of it can be counted" in (await erasing.get(f"{path}/delete")).text
        form = await confirmation(erasing, path)
        # By then it is another one.
        await documents.update_one({"_id": key}, {"$set": {"metadata": {}}})
        assert (await erasing.post(f"{path}/delete", data=form, headers=HERE)).status_code == 409
        await documents.update_one({"_id": key}, {"$set": {"metadata": "torn"}})
        assert (await erasing.post(f"{path}/delete", data=form, headers=HERE)).status_code == 303
        assert not await verbs.exists("torn")


async def test_no_session_is_to_go_for_a_message_that_cannot_be_read(
    seeded: AsyncMongoStore, erasing: httpx.AsyncClient
) -> None:
    await seeded.sessions.messages.append("s", Message(role="user"), create=True)
    torn = {"$set": {"messages.0.role": 7}}
    await seeded.engine.collection("sessions").update_one({"_id": "default/s"}, torn)
    page = await erasing.get("/s/default/s/at/0")
    assert "This message cannot be read" in page.text
    assert "/delete" not in page.text.replace("/deleted", "")


async def test_another_conversation_of_that_id_stays(
    seeded: AsyncMongoStore, erasing: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def begin_thread(id: str) -> None:
        await seeded.threads.messages.merge(id, f"{id} message", begun_at=datetime.now(UTC))

    for path, house, begin in (
        ("/s/default/new", seeded.sessions, seeded.sessions.create),
        ("/t/new", seeded.threads, begin_thread),
        ("/r/new", seeded.rooms, seeded.rooms.create),
    ):
        await begin("new")
        form = await confirmation(erasing, path)
        await house.delete("new")
        await begin("new")
        assert (await erasing.post(f"{path}/delete", data=form, headers=HERE)).status_code == 409
        assert await house.exists("new")
    # One that was looked at as a deleted one may be in use again.
    await seeded.sessions.soft_delete("new")
    form = await confirmation(erasing, "/s/default/new")
    await seeded.sessions.undelete("new")
    assert (await erasing.post("/s/default/new/delete", data=form, headers=HERE)).status_code == 409
    form = await confirmation(erasing, "/s/default/new")

    delete = AsyncSessions.delete

    async def delete_late(self: AsyncSessions, *arguments: Any, **options: Any) -> bool:
        await delete(self, "new")
        await self.create("new")
        return await delete(self, *arguments, **options)

    monkeypatch.setattr(AsyncSessions, "delete", delete_late)
    assert (await erasing.post("/s/default/new/delete", data=form, headers=HERE)).status_code == 409
    assert await seeded.sessions.exists("new")


@pytest.mark.parametrize(
    "id", [*(id for id in IDS if id and "\ud800" not in id), BAD, "a\nb", " a"], ids=ascii
)
async def test_a_session_of_any_id_comes_back_and_goes(id: str) -> None:
    async with AsyncMongoStore("mongomock://") as store, open_client(store, allow_erase=True) as asking:
        await asking.get("/open", params={"token": TOKEN})
        await store.sessions.create(id)
        path = f"/s/default/{encode_id(id)}"
        for verb in ("undelete", "delete"):
            await store.sessions.soft_delete(id)
            for page in ("/deleted", path, f"{path}/delete"):
                html = (await asking.get(page)).text
                assert html.count("<script") == 1
                assert "<img" not in html
            form = await confirmation(asking, path)
            # What is typed is a line of text that can be seen.
            assert form["confirm"].isprintable()
            done = await asking.post(f"{path}/{verb}", data=form, headers=HERE)
            assert done.headers["location"] == (path if verb == "undelete" else "/deleted")
            assert await store.sessions.exists(id) == (verb == "undelete")
        assert await store.sessions.find(id, deleted=None) is None


def look(watched: Watched, name: str) -> None:
    """Check what a page shows, and make a picture of it where somebody wants to look at it."""
    if PICTURES:
        watched.page.screenshot(path=Path(PICTURES) / f"{name}.png")
    accessible(watched.page)
    watched.check()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("launch", "width", "scheme"),
    [
        ("embedded", 1440, "light"),
        pytest.param("embedded", 420, "dark", marks=pytest.mark.long),
        pytest.param("server", 1440, "dark", marks=[pytest.mark.server, pytest.mark.long]),
    ],
    indirect=["launch"],
)
def test_a_session_comes_back_and_goes_in_a_browser(
    launch: Callable[..., Studio], browse: Browse, width: int, scheme: str
) -> None:
    async def fill(store: AsyncMongoStore) -> None:
        await seed(store)
        await store.sessions.in_namespace(NAMESPACE).soft_delete(SESSION)
        await store.sessions.in_namespace("tea-party").soft_delete("s0")

    with launch(allow_erase=True) as studio:
        studio.run(fill)
        watched = browse(studio, width=width, scheme=scheme)
        page = watched.page
        page.wait_for_load_state()
        page.keyboard.press("Control+k")
        page.get_by_role("option", name="Deleted sessions").wait_for()
        look(watched, f"palette-{width}-{scheme}")
        page.get_by_role("option", name="Deleted sessions").click()
        page.get_by_role("heading", name="Deleted sessions").wait_for()
        page.wait_for_load_state()
        look(watched, f"deleted-{width}-{scheme}")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.get_by_text("This session was deleted on").wait_for()
        # A page that is not found is an error to a browser.
        watched.complaints.clear()
        look(watched, f"deleted-session-{width}-{scheme}")
        page.go_back()
        row = page.locator(".hit", has=page.locator(f"a[href='{S}']"))
        row.get_by_role("button", name="Undelete").click()
        page.locator(".msg").first.wait_for()
        assert page.url == studio.url + S
        look(watched, f"undeleted-{width}-{scheme}")
        page.get_by_role("link", name="Delete", exact=True).click()
        page.get_by_role("heading", name="Delete this session for good").wait_for()
        look(watched, f"delete-{width}-{scheme}")
        page.locator("input[name=confirm]").fill(SESSION)
        page.locator("input[name=confirm]").press("Enter")
        page.wait_for_url("**/list?kind=session")
        for kind, path in (("thread", T), ("room", R)):
            watched.go(f"{path}/delete")
            look(watched, f"delete-{kind}-{width}-{scheme}")
        for id in ("x" * 100, BAD):
            studio.run(lambda store, id=id: store.sessions.create(id))
            watched.go(f"/s/default/{encode_id(id)}/delete")
            box = page.locator("label code").bounding_box()
            assert box["x"] + box["width"] <= width
            watched.check()
        assert not studio.run(lambda store: store.sessions.in_namespace(NAMESPACE).exists(SESSION))
