"""The tests of the Claude Agent SDK about its session stores, as its source carries them, on our store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.sdists import outcomes, source_of

HERE = Path(__file__).parent
FILES = [
    f"tests/test_{name}.py"
    for name in (
        *("session_helpers_store", "session_resume", "session_import", "session_summary"),
        *("session_store_conformance", "transcript_mirror"),
    )
]
# They set the private `_mtimes` of the in-memory store.
SET_TIMES = {
    f"test_continue_{what}[{loop}]"
    for what in ("picks_most_recent", "skips_sidechain_sessions", "tie_break_is_deterministic")
    for loop in ("asyncio", "trio")
}
TESTS = 355


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", ["in process", pytest.param("server", marks=pytest.mark.server)])
def test_the_sdks_own_tests_pass_on_our_store(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest, databases: list[str]
) -> None:
    source, report = source_of("claude-agent-sdk"), tmp_path / "report.xml"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "PYTHONPATH": os.pathsep.join(map(str, [HERE, source / "src", source, HERE.parents[1]])),
    }
    if engine == "server":
        databases.append(f"claude_{os.getpid()}")
        environment["MONGOSTORE_STAND_IN_URI"] = request.getfixturevalue("server_uri")
        environment["MONGOSTORE_STAND_IN_DATABASE"] = databases[-1]
    options = ["-p", "claude_agent_sdk_plugin", "-p", "no:cacheprovider", "--junitxml", str(report)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, *FILES],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    passed, failed = outcomes(report)
    assert failed <= SET_TIMES, done.stdout[-20000:]
    assert passed >= TESTS - len(SET_TIMES)
