"""The first command sets up a fresh clone, and the Chainlit application of the tutorial serves people."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from http.cookiejar import CookieJar
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest

from tests.conftest import absent
from tests.docs.following import Reader
from tests.docs.pages import README, ROOT, SITE, read_blocks
from tests.environments import run_apart


# That the wheel can be installed and used is asked in every run, in tests/unit/test_packaging.py.
@pytest.mark.long
def test_the_first_command_sets_everything_up_and_runs_the_demo(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    first = next(block.code for block in read_blocks(README) if block.language == "sh")
    ran = run_apart(tmp_path, "sh", "-ec", first)
    assert ran.returncode == 0, ran.stderr
    assert "Seventeen Steps" in ran.stdout


def test_the_docker_command_starts_the_file_that_is_there() -> None:
    assert "docker compose up -d --wait" in README.read_text()
    assert (ROOT / "docker-compose.yml").is_file()


def ask(browser: OpenerDirector, url: str, content: bytes | None = None, kind: str = "") -> Any:
    headers = {"Content-Type": kind} if kind else {}
    with browser.open(Request(url, content, headers), timeout=60) as response:
        return json.load(response)


@pytest.mark.parametrize(
    "engine", ["embedded", pytest.param("folder", marks=[pytest.mark.server, pytest.mark.long])]
)
def test_chainlit_runs_as_shown_and_people_log_in(
    request: pytest.FixtureRequest, engine: str, tmp_path: Path
) -> None:
    if find_spec("chainlit") is None:
        absent("Chainlit is not installed")
    application, start = read_blocks(SITE / "tutorial" / "chainlit-app.md")
    assert read_blocks(SITE / "frameworks" / "chainlit.md") == [application]
    if engine == "folder":
        request.getfixturevalue("mongod_binary")
    else:
        start = replace(start, code=re.sub(r"MONGOSTORE_URI=\S+ ", "", start.code))
    ids = []
    for _ in range(2):
        with Reader(tmp_path) as reader:
            reader.follow(application)
            url = reader.start(start.code)
            browser = build_opener(HTTPCookieProcessor(CookieJar()))
            form = urlencode({"username": "ada", "password": "secret"}).encode()
            assert ask(browser, f"{url}/login", form, "application/x-www-form-urlencoded")["success"]
            user = ask(browser, f"{url}/user")
            listing = json.dumps({"pagination": {"first": 20}, "filter": {}}).encode()
            assert ask(browser, f"{url}/project/threads", listing, "application/json")["data"] == []
            log = reader.log
            assert not re.search("ERROR|Traceback|Warning", log), log
            ids.append((user["identifier"], user["id"]))
    assert {identifier for identifier, _ in ids} == {"ada"}
    # In a folder they are remembered.
    assert len({*ids}) == (2 if engine == "embedded" else 1)
