"""One person in the studio: all that is stored, given out, and erased where that is allowed."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from mongostore import AsyncMongoStore, Event, Message, RoomParticipant
from mongostore.repositories.mentions import MENTIONS
from mongostore.servers.studio import people
from mongostore.servers.studio.addresses import encode_id
from mongostore.servers.studio.erasure import MEANINGS
from tests.contract.planting import ADA, plant
from tests.servers.studio.conftest import Browse, accessible, open_client
from tests.servers.studio.seed import THREAD, seed
from tests.servers.studio.serving import TOKEN, Studio

QUEEN = "queen@hearts.example"
HERE = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}


async def counted(asking: httpx.AsyncClient) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Return the plans of a dry run, and what it has counted: there; deleted; deleted and anonymized."""
    html = (await asking.get(f"/people/{QUEEN}/records")).text
    plans = dict(re.findall(r'name="(plan_\w+)" value="([^"]+)"', html))
    number = r'<td class="n">([\d,]+)</td>'
    rows = re.findall(
        rf'<td class="mono">([\w. ]+)</td>{number}{number}{number}{number}<td class="soft', html
    )
    return plans, {name: tuple(map(int, counts)) for name, *counts in rows}


async def test_all_of_a_person_is_counted_and_given_out(asking: httpx.AsyncClient) -> None:
    html = (await asking.get(f"/people/{QUEEN}/records")).text
    assert "threads" in html
    assert "Erase" not in html
    lines = [json.loads(line) for line in (await asking.get(f"/people/{QUEEN}/export")).text.splitlines()]
    assert {"users", "threads"} <= {line["collection"] for line in lines}
    assert (await asking.get("/people/nobody/export")).status_code == 404
    assert "Nothing else has this name" in (await asking.get("/people/nobody/records")).text


async def test_the_activity_of_a_person_is_drawn_by_days(
    seeded: AsyncMongoStore, asking: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    for days in (0, 0, 7, 7 * 30):
        message = Message(role="user", content="hay", created_at=now - timedelta(days=days))
        await seeded.sessions.messages.append("s", message, create={"user_id": "ada"})
    html = (await asking.get("/people/ada/records")).text
    assert "3 messages, turns and events in 26 weeks, where they take part</span>" in html
    drawn = re.findall(r'<rect class="(h\d)".*?<title>([^<]+)</title>', html)
    assert len(drawn) == 7 * 26
    days = {title: style for style, title in drawn if style != "h0"}
    assert days == {f"{now:%-d %B}: 2": "h4", f"{now - timedelta(days=7):%-d %B}: 1": "h3"}
    monkeypatch.setattr(people, "ACTIVITY_SECONDS", -1.0)
    html = (await asking.get("/people/alice/records")).text
    assert "where they take part; not all was read" in html


async def test_all_that_an_erasure_counts_is_explained(seeded: AsyncMongoStore) -> None:
    await plant(seeded)
    person = await seeded.people.get(ADA)
    for mode in ("delete", "anonymize"):
        report = await seeded.people.erase(person, mode=mode, dry_run=True)  # type: ignore[arg-type]
        assert {line.collection for line in report.lines} <= MEANINGS.keys()
    assert {mention.collection for mention in MENTIONS} <= MEANINGS.keys()


async def test_a_name_of_a_file_adds_no_header(seeded: AsyncMongoStore, asking: httpx.AsyncClient) -> None:
    name = 'a"\r\nSet-Cookie: x=y\r\n\r\n<svg onload=1>\u202egpj.html;\x00=1'
    await seeded.sessions.in_namespace("n").create(name="=1+1" + name, session_id="s", user_id=name)
    for path in ("/s/n/s/export", f"/people/{encode_id(name)}/export", "/search/export?q=svg%20%0d%0aX:1"):
        answer = await asking.get(path)
        assert answer.status_code == 200, path
        # One header, of ASCII, in one word: a file that no browser shows.
        assert re.fullmatch(
            r"attachment; filename\*=UTF-8''[\w.%~-]+\.jsonl", answer.headers["content-disposition"]
        )
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert "set-cookie" not in answer.headers
        assert "x" not in answer.headers


async def test_without_the_flag_there_is_no_erasing(asking: httpx.AsyncClient) -> None:
    answer = await asking.post(f"/people/{QUEEN}/erase", data={"confirm": QUEEN, "plan": "x"}, headers=HERE)
    assert answer.status_code == 404


async def test_a_person_is_erased_as_the_dry_run_has_counted(seeded: AsyncMongoStore) -> None:
    await seeded.rooms.create("court")
    for name in (QUEEN, "king"):
        await seeded.rooms.participants.upsert("court", RoomParticipant(id=name))
    await seeded.rooms.events.append("court", Event(channel_id="c", participant_id=QUEEN, content="Off!"))
    async with open_client(seeded, allow_erase=True) as asking:
        await asking.get("/open", params={"token": TOKEN})
        path = f"/people/{QUEEN}/erase"
        plans, counts = await counted(asking)
        assert counts["threads"] == (1, 1, 1, 0)
        # In a room that others share, the modes differ.
        assert counts["events"] == (1, 1, 0, 1)
        assert counts["participants"] == (1, 1, 0, 1)
        plan = plans["plan_delete"]
        # The dry run has changed nothing; nothing is erased by mistake, by others, or unless it was counted.
        assert await seeded.threads.exists(THREAD)
        for form, headers, status in (
            (plans | {"confirm": "queen"}, HERE, 422),
            ({"plan_delete": "1." + plan.partition(".")[2], "confirm": QUEEN}, HERE, 409),
            ({"plan_delete": plan[:-1] + "x", "confirm": QUEEN}, HERE, 409),
            ({"plan_anonymize": plan, "confirm": QUEEN, "mode": "anonymize"}, HERE, 409),
            (plans | {"confirm": QUEEN, "mode": "all"}, HERE, 422),
            (plans | {"confirm": QUEEN}, {"Origin": "https://evil.example"}, 403),
        ):
            refused = await asking.post(path, data=form, headers=headers)
            assert refused.status_code == status
            # The way back is to the page with the form, where all is counted again.
            assert f'<a class="btn pri" href="/people/{QUEEN}">Back</a>' in refused.text
        user = await seeded.threads.users.find_by_identifier(QUEEN)
        assert user is not None
        await seeded.threads.create("another", user_id=user.id)
        stale = await asking.post(path, data=plans | {"confirm": QUEEN}, headers=HERE)
        assert stale.status_code == 409
        assert await seeded.threads.exists(THREAD)

        plans, _ = await counted(asking)
        done = await asking.post(path, data=plans | {"confirm": QUEEN}, headers=HERE)
        assert done.status_code == 200
        assert "threads" in done.text
        assert not await seeded.threads.exists(THREAD)
        assert await seeded.threads.users.find_by_identifier(QUEEN) is None


async def test_a_person_whose_name_cannot_be_typed_is_erased(seeded: AsyncMongoStore) -> None:
    name = "a\n\u202eb"
    await seeded.sessions.create("theirs", user_id=name)
    async with open_client(seeded, allow_erase=True) as asking:
        await asking.get("/open", params={"token": TOKEN})
        path = f"/people/{encode_id(name)}"
        html = (await asking.get(f"{path}/records")).text
        [word] = re.findall(r"Type <code>([^<]*)</code>", html)
        plans = dict(re.findall(r'name="(plan_\w+)" value="([^"]+)"', html))
        done = await asking.post(f"{path}/erase", data=plans | {"confirm": word}, headers=HERE)
        assert done.status_code == 200
    assert not await seeded.sessions.exists("theirs")


def test_erasing_in_a_browser_is_typed_out(browse: Browse) -> None:
    with Studio(allow_erase=True) as studio:
        studio.run(seed)
        watched = browse(studio)
        page = watched.page
        watched.go(f"/people/{QUEEN}")
        page.get_by_text("Erase this person").wait_for()
        accessible(page)
        page.locator("input[name=confirm]").fill(QUEEN)
        page.get_by_role("button", name="Erase").click()
        page.get_by_text("What was done").wait_for()
        watched.check()
        assert not studio.run(lambda store: store.threads.exists(THREAD))
