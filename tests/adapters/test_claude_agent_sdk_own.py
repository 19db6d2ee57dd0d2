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
# It counts on an append that ends within two steps of the event loop.
COUNTS_STEPS = {"test_eager_flush_mode_appends_per_frame_before_result"}
# They look after five steps of asyncio's loop, in which no server has answered.
COUNT_STEPS_OF_READS = {
    "test_load_concurrency_is_bounded[asyncio]",
    "test_gap_fill_bounded_concurrency[asyncio]",
}


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
    may_fail, total = SET_TIMES | COUNTS_STEPS, 355
    if engine == "server":
        may_fail |= COUNT_STEPS_OF_READS
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
    assert failed - may_fail == set(), done.stdout[-20000:]
    assert passed >= total - len(may_fail)
