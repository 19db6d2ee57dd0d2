"""What the pages show of servers does what it shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable

import pytest

from mongostore.adapters.threadmem import RoleThread
from tests.conftest import absent
from tests.docs.pages import SITE, read_blocks
from tests.servers.serving import Serving

SHOWS = "http://127.0.0.1:8000"
SESSIONS = [
    block for block in read_blocks(SITE / "frameworks" / "sessions-service.md") if block.language != "text"
]


def test_the_sessions_service_is_started_and_asked_as_shown(serve: Callable[..., Serving]) -> None:
    if shutil.which("curl") is None:
        absent("no curl")
    start, curl, *_ = SESSIONS
    assert start.code == "mongostore serve sessions --port 8000\n"
    running = serve()
    ran = subprocess.run(
        ["sh", "-ec", curl.code.replace(SHOWS, running.url)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    decoder, answers, rest = json.JSONDecoder(), [], ran.stdout
    while rest:
        answer, end = decoder.raw_decode(rest)
        answers.append(answer)
        rest = rest[end:]
    made, turns, integrated, undeleted = answers
    assert turns == {"chat_turn_count": 1}
    assert (made["name"], undeleted["name"], undeleted["deleted_at"]) == ("Refund", "Refund", None)
    [insight] = integrated["session"]["participants"][0]["insights"]
    assert "duplicate charge" in insight["keywords"]


def test_the_server_of_role_threads_is_started_as_shown(
    serve: Callable[..., Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "mongostore serve threadmem --port 8090\n" in (SITE / "frameworks" / "threadmem.md").read_text()
    running = serve(what="threadmem")
    [token] = re.findall(r"AGENTSEA_HUB_API_KEY=(\S+)\n", running.log)
    monkeypatch.setenv("AGENTSEA_HUB_API_KEY", token)
    thread = RoleThread(remote=running.url, name="Bills")
    thread.post("user", "hello", private=True, metadata={"k": 1})
    [found] = RoleThread.find(remote=running.url)
    assert (found.owner_id, found.name) == ("me", "Bills")
    assert [(message.text, message.private) for message in found.messages()] == [("hello", True)]
    assert token not in running.log.partition("\n")[2]
