"""A studio in this process, and one that a browser opens."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe

from mongostore import AsyncMongoStore
from mongostore.servers.studio import create_app
from tests.conftest import absent
from tests.servers.studio.seed import seed
from tests.servers.studio.serving import TOKEN, Studio

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
# Browsers are slow where much runs at once.
PATIENCE = 60_000


@pytest.fixture
async def seeded() -> AsyncIterator[AsyncMongoStore]:
    """A store with the conversations of the design."""
    async with AsyncMongoStore("mongomock://") as store:
        await seed(store)
        yield store


@pytest.fixture
async def asking(seeded: AsyncMongoStore) -> AsyncIterator[httpx.AsyncClient]:
    """A client that has opened the studio of that store."""
    async with open_client(seeded) as opened:
        await opened.get("/open", params={"token": TOKEN})
        yield opened


def open_client(store: AsyncMongoStore, **options: Any) -> httpx.AsyncClient:
    """A client of a studio in this process, which asks for pages as browsers do."""
    app = create_app(store, **({"token": TOKEN} | options))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Accept": "text/html"}
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        absent("no browser: install chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


EMBEDDED = pytest.param("embedded", id="embedded")
SERVER = pytest.param("server", id="server", marks=[pytest.mark.server, pytest.mark.long])


@pytest.fixture(scope="module", params=[EMBEDDED, SERVER])
def launch(request: pytest.FixtureRequest, databases: list[str]) -> Callable[..., Studio]:
    """Makes studios of empty stores of an engine."""
    if request.param == "embedded":
        return Studio
    uri = request.getfixturevalue("server_uri")

    def start(**options: Any) -> Studio:
        databases.append(f"test_{uuid4().hex[:16]}")
        return Studio(uri, databases[-1], **options)

    return start


@pytest.fixture(scope="module")
def studio(launch: Callable[[], Studio]) -> Iterator[Studio]:
    """A studio of the design's conversations."""
    with launch() as serving:
        serving.run(seed)
        yield serving


class Watched:
    """A page of a browser, with all that it has asked for and complained about."""

    def __init__(self, context: Any, url: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.url = url
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on(
            "console", lambda texts: self.complaints.append(texts.text) if texts.type == "error" else None
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on(
            "dialog", lambda dialog: (self.complaints.append(f"dialog {dialog.message}"), dialog.dismiss())
        )

    def go(self, path: str) -> Any:
        """Open a page of the studio, and return the answer."""
        return self.page.goto(self.url + path)

    def check(self) -> None:
        """Assert that nothing was complained about, nothing came from elsewhere, nothing is out of sight."""
        assert self.complaints == []
        assert [one for one in self.requests if not one.startswith(self.url)] == []
        # The bars stay where they are while parts of the page scroll.
        size = self.page.evaluate(
            "(({ scrollWidth, scrollHeight }) => [scrollWidth, scrollHeight])(document.documentElement)"
        )
        window = self.page.evaluate("[innerWidth, innerHeight]")
        assert all(part <= most for part, most in zip(size, window, strict=True))


Browse = Callable[..., Watched]


def accessible(page: Any) -> None:
    """Assert that axe finds nothing serious."""
    # A page that loads itself again would be gone while it is looked at.
    page.evaluate("for (let last = setTimeout(() => 0); last; last--) clearTimeout(last)")
    found = Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in serious] == []


@pytest.fixture
def browse(chromium: Any) -> Iterator[Any]:
    """Opens a studio in a browser of a size and a theme."""
    contexts = []

    def start(serving: Studio, *, width: int = 1440, scheme: str = "light", **options: Any) -> Watched:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce", **options
        )
        contexts.append(context)
        watched = Watched(context, serving.url)
        watched.page.goto(serving.opening)
        watched.page.wait_for_url(f"{serving.url}/")
        return watched

    yield start
    for context in contexts:
        context.close()
