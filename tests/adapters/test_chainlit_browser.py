"""The real Chainlit on the real server, driven in a browser as people do."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient

from tests.conftest import absent
from tests.ports import free_port

CHILDREN = Path(__file__).parent / "children"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
SETTINGS = """
[project]
[features]
allow_thread_sharing = true
favorites = true
[features.spontaneous_file_upload]
enabled = true
accept = ["*/*"]
max_files = 5
max_size_mb = 10
[UI]
name = "Assistant"
cot = "full"
[meta]
generated_by = "{version}"
"""
# Browsers are slow where much runs at once.
PATIENCE = 60

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(600),
]


class Application:
    """Chainlit, which can be restarted."""

    def __init__(self, folder: Path, uri: str, database: str) -> None:
        self.folder = folder
        self.database = database
        self._log = folder / "log"
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        remaining = {name: value for name, value in os.environ.items() if not name.startswith("CHAINLIT_")}
        self._environment = remaining | {
            "MONGOSTORE_URI": uri,
            "MONGOSTORE_DATABASE": database,
            "CHAINLIT_AUTH_SECRET": "s" * 64,
        }
        (folder / ".chainlit").mkdir()
        (folder / ".chainlit" / "config.toml").write_text(SETTINGS.format(version=version("chainlit")))
        (folder / "public" / "elements").mkdir(parents=True)
        shutil.copy(CHILDREN / "Counter.jsx", folder / "public" / "elements")
        shutil.copy(CHILDREN / "chainlit_app.py", folder / "app.py")

    def start(self) -> None:
        command = [sys.executable, "-m", "chainlit", "run", "app.py", "--headless", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5).close()
            except OSError:
                assert self._process.poll() is None, self.log
                assert time.monotonic() < deadline, self.log
                time.sleep(0.2)
            else:
                return

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


@pytest.fixture(scope="module")
def application(
    server_uri: str, databases: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Application]:
    try:
        version("chainlit")
    except PackageNotFoundError:
        absent("Chainlit is not installed")
    databases.append(f"test_{uuid4().hex[:16]}")
    running = Application(tmp_path_factory.mktemp("chainlit"), server_uri, databases[-1])
    running.start()
    yield running
    running.stop()


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
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Visits:
    """People, each in a browser of their own, and what failed while they were there."""

    def __init__(self, application: Application, chromium: Any) -> None:
        self.application = application
        self.failed: list[str] = []
        self.logged = ""
        self._chromium = chromium
        self._contexts: list[Any] = []
        self._begin = len(application.log)

    def log_in(self, name: str) -> Any:
        """Log somebody in, and return their page."""
        self._contexts.append(self._chromium.new_context(viewport={"width": 1400, "height": 1200}))
        page = self._contexts[-1].new_page()
        page.set_default_timeout(PATIENCE * 1000)
        # Fonts of others.
        page.route(re.compile(r"^https?://(?!localhost)"), lambda route: route.abort())
        page.on("response", self._record)
        page.on("requestfailed", self._record_file)
        page.goto(self.application.url)
        page.fill("#email", name)
        page.fill("#password", "secret")
        page.click("button[type=submit]")
        # Sent once it is connected.
        page.get_by_text("Welcome").wait_for()
        return page

    def end(self) -> None:
        while self._contexts:
            self._contexts.pop().close()
        lines = self.application.log[self._begin :].splitlines()
        self.logged = "\n".join(line for line in lines if re.search("ERROR|Traceback|never retrieved", line))

    def forgive(self) -> None:
        """Forget what has failed so far."""
        self.failed.clear()
        self._begin = len(self.application.log)

    def _record(self, response: Any) -> None:
        # Before they are logged in nobody is anybody.
        if response.status >= 400 and not response.url.endswith("/user"):
            self.failed.append(f"{response.status} {response.url}")

    def _record_file(self, request: Any) -> None:
        # Leaving a page aborts what it still loads.
        if "/files/" in request.url and request.failure != "net::ERR_ABORTED":
            self.failed.append(request.url)


@pytest.fixture
def visits(application: Application, chromium: Any) -> Iterator[Visits]:
    visits = Visits(application, chromium)
    yield visits
    visits.end()
    assert visits.failed == []
    assert visits.logged == ""


@pytest.fixture
def somebody() -> str:
    return f"ada-{uuid4().hex[:8]}"


def say(page: Any, text: str, count: int = 1) -> str:
    """Say something, and return the thread that it is said in once it is answered."""
    page.click("#chat-input")
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    page.get_by_text(f"Answer {count} to {text}").wait_for()
    page.wait_for_url("**/thread/*")
    thread = str(page.url.rpartition("/")[2])
    page.locator(f"#thread-history #thread-{thread}").wait_for()
    return thread


def choose(page: Any, thread: str, item: str) -> None:
    """Choose from the menu of a thread in the sidebar."""
    page.hover(f"#thread-{thread}")
    page.click(f"#thread-{thread} #thread-options")
    page.click(f"#{item}")


def search(page: Any, text: str) -> None:
    """Search in the dialog, which asks for all threads when it is opened, until that is answered."""

    def is_answer(response: Any) -> bool:
        is_search = response.url.endswith("/project/threads")
        return is_search and json.dumps(text) in (response.request.post_data or "")

    with page.expect_response(is_answer):
        page.locator("[role=dialog] input").fill(text)


def check_elements(page: Any, text: str, count: int) -> None:
    """Check that all elements of an answer are shown, the picture with its pixels."""
    page.get_by_text(f"notes on {text}").wait_for()
    page.get_by_text(f"counted {count}").wait_for()
    page.wait_for_function(
        "() => [...document.querySelectorAll('img.inline-image')].some(one => one.naturalWidth === 40)"
    )


def check_steps(page: Any, text: str) -> None:
    """Check that the nested steps of an answer are shown when they are opened."""
    for name in ("outer", "inner"):
        output = page.get_by_text(f"{name} of {text}")
        deadline = time.monotonic() + PATIENCE
        # What is drawn anew while it is clicked stays closed.
        while not output.is_visible():
            assert time.monotonic() < deadline, f"{name} is not shown"
            button = page.locator(f"#step-{name}").last
            if button.get_attribute("aria-expanded") == "false":
                button.click()
            page.wait_for_timeout(500)


def test_a_conversation_is_whole_after_a_reload_a_resume_and_a_restart(
    application: Application, visits: Visits, somebody: str, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    page = visits.log_in(somebody)
    thread = say(page, "Hello there")
    check_elements(page, "Hello there", 1)
    check_steps(page, "Hello there")
    page.click(".negative-feedback-off")
    page.locator("[role=dialog] textarea").fill("not what I asked")
    with page.expect_response("**/feedback") as response:
        page.click("#submit-feedback")
    assert response.value.ok
    page.wait_for_selector(".negative-feedback-on")

    page.reload()
    page.wait_for_selector(".negative-feedback-on")
    check_elements(page, "Hello there", 1)
    check_steps(page, "Hello there")

    page.click("#new-chat-button")
    page.click("#confirm")
    # The thread that was open has been welcomed, too.
    page.get_by_text("Answer 1 to Hello there").wait_for(state="detached")
    page.get_by_text("Welcome").wait_for()
    page.click(f"#thread-{thread} a")
    check_elements(page, "Hello there", 1)
    expect(page.get_by_text("Welcome")).to_have_count(1)
    # What the session knew is known again.
    (tmp_path / "my list.txt").write_bytes(b"eggs, milk")
    page.set_input_files("#upload-button-input", tmp_path / "my list.txt")
    page.get_by_text("my list.txt").wait_for()
    assert say(page, "And now?", 2) == thread
    check_elements(page, "And now?", 2)

    application.stop()
    application.start()
    page.reload()
    page.get_by_text("Answer 2 to And now?").wait_for()
    check_elements(page, "Hello there", 1)
    check_elements(page, "And now?", 2)
    page.wait_for_selector(".negative-feedback-on")
    with page.expect_download() as download:
        page.get_by_text("my list.txt").click()
    assert download.value.suggested_filename == "my list.txt"
    assert Path(download.value.path()).read_bytes() == b"eggs, milk"
    page.click(".negative-feedback-on")
    assert say(page, "Still here?", 3) == thread


@pytest.mark.long
def test_threads_are_found_renamed_shared_and_deleted(
    application: Application, visits: Visits, somebody: str, server_uri: str
) -> None:
    from playwright.sync_api import expect

    page = visits.log_in(somebody)
    first = say(page, "All about parcels")
    page.click("#new-chat-button")
    page.click("#confirm")
    page.get_by_text("Answer 1 to All about parcels").wait_for(state="detached")
    page.get_by_text("Welcome").wait_for()
    second = say(page, "All about letters")
    ids = "() => [...document.querySelectorAll('#thread-history li')].map(one => one.id)"
    assert page.evaluate(ids) == [f"thread-{second}", f"thread-{first}"]

    choose(page, first, "rename-thread")
    page.locator("[role=dialog] input").fill("Lost (and found)")
    page.locator("[role=dialog] button").filter(has_text="Confirm").click()
    page.locator("#thread-history").get_by_text("Lost (and found)").wait_for()

    for text, found in (("FOUND)", first), ("outer of all about LETTERS", second)):
        page.click("#search-chats-button")
        search(page, text)
        expect(page.locator("[role=dialog] [role=option]")).to_have_count(1)
        page.locator("[role=dialog] [role=option]").click()
        page.wait_for_url(f"**/thread/{found}")
        check_elements(page, "All about letters" if found == second else "All about parcels", 1)

    shared = f"{application.url}/project/share/{first}"
    assert page.request.get(shared).status == 404
    choose(page, first, "share-thread")
    with page.expect_response("**/project/thread/share") as response:
        page.locator("[role=dialog] button").filter(has_text="Share").click()
    assert response.value.ok
    received = page.request.get(shared).json()
    assert (received["name"], received["metadata"]["is_shared"]) == ("Lost (and found)", True)
    page.keyboard.press("Escape")

    choose(page, first, "delete-thread")
    with page.expect_response("**/project/thread") as response:
        page.click("[role=alertdialog] button >> nth=-1")
    assert response.value.ok
    page.wait_for_selector(f"#thread-{first}", state="detached")
    page.reload()
    page.wait_for_selector(f"#thread-{second}")
    assert page.evaluate(ids) == [f"thread-{second}"]
    with MongoClient[dict[str, Any]](server_uri) as client:
        database = client[application.database]
        of_first = {"$in": [first, re.compile(f"^threads/{first}/")]}
        for collection, member in (
            ("messages", "thread_id"),
            ("elements", "thread_id"),
            ("files.files", "filename"),
        ):
            assert database[collection].count_documents({member: of_first}) == 0
            assert database[collection].count_documents({}) > 0


@pytest.mark.long
def test_a_favourite_is_offered_until_it_is_none(visits: Visits, somebody: str) -> None:
    page = visits.log_in(somebody)
    say(page, "Say it again")
    page.locator("[data-step-type=user_message]").hover()
    page.click(".favorite-message")
    page.wait_for_selector(".favorite-message.text-yellow-500")
    page.reload()
    page.wait_for_selector(".favorite-message.text-yellow-500")
    page.click(".favorite-popover-wrapper button")
    page.locator("[role=dialog]").get_by_text("Say it again").wait_for()
    page.keyboard.press("Escape")
    page.locator("[data-step-type=user_message]").hover()
    page.click(".favorite-message")
    page.wait_for_selector(".favorite-message.text-yellow-500", state="detached")
    page.reload()
    page.get_by_text("Answer 1 to Say it again").wait_for()
    assert page.locator(".favorite-message.text-yellow-500").count() == 0


@pytest.mark.long
def test_nobody_sees_what_is_anothers(application: Application, visits: Visits, somebody: str) -> None:
    page = visits.log_in(somebody)
    thread = say(page, "My secret")
    other = visits.log_in(f"{somebody}-not")
    say(other, "My own")
    assert other.locator("#thread-history li").count() == 1
    other.click("#search-chats-button")
    search(other, "secret")
    other.wait_for_timeout(500)
    assert other.locator("[role=dialog] [role=option]").count() == 0
    assert other.request.get(f"{application.url}/project/thread/{thread}").status >= 400
    deleted = other.request.delete(f"{application.url}/project/thread", data={"threadId": thread})
    assert deleted.status >= 400
    other.goto(f"{application.url}/thread/{thread}")
    other.wait_for_selector("#chat-input")
    other.wait_for_timeout(2000)
    assert other.get_by_text("My secret").count() == 0
    page.reload()
    check_elements(page, "My secret", 1)
    visits.end()
    assert [one for one in visits.failed if thread not in one] == []
    assert re.fullmatch("(.*ERROR - chainlit - Authorization for the thread failed.\n?)*", visits.logged)
    visits.forgive()
