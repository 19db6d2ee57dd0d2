"""The page that shows what the service can do, in a browser that reaches nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import absent
from tests.servers.serving import Serving

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
# Browsers are slow where much runs at once.
PATIENCE = 60_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        path = None
    if path is None:
        absent("no browser: install chromium and playwright")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.timeout(300)
def test_the_page_works_without_a_network_and_asks_the_service(
    serve: Callable[..., Serving], chromium: Any
) -> None:
    from playwright.sync_api import expect

    running = serve()
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE)
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{running.url}/docs")
    paths = httpx.get(f"{running.url}/openapi.json").json()["paths"]
    expect(page.locator(".opblock")).to_have_count(sum(map(len, paths.values())))
    expect(page).to_have_title("Sessions")

    # Somebody tries out what creates a session, as the page offers.
    block = page.locator("#operations-Sessions-create_session")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_placeholder("namespace").fill("acme")
    block.locator("textarea").fill('{"id": "tried", "name": "By hand"}')
    block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table .response-col_status").last).to_contain_text("201")
    made = httpx.get(f"{running.url}/v1/namespaces/acme/sessions/tried").json()
    assert made["name"] == "By hand"

    page.close()
    assert wrong == []
    assert all(url.startswith((running.url, "data:")) for url in asked)
