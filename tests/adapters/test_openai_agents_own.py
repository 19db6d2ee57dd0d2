"""The session tests of the OpenAI Agents SDK, as its source distribution carries them, on our sessions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.sdists import outcomes, source_of

HERE = Path(__file__).parent
SESSIONS = [
    *("memory/test_session.py", "memory/test_session_limit.py", "memory/test_session_context_wrapper.py"),
    *("memory/test_session_persistence_sanitize.py", "test_hitl_session_scenario.py"),
]
COMPACTION = [
    *("memory/test_openai_responses_compaction_session.py", "memory/test_compaction_suffix.py"),
    "memory/test_compaction_model_visibility.py",
]
# What asks for SQLite's connections, locks, rows and words is named so, but for these.
OF_SQLITE = {
    f"test_settled_{call}_failure_invalidates_response_chain[{how}]"
    for call in ("pop", "clear")
    for how in ("cancelled", "error")
}


@pytest.mark.parametrize(
    ("files", "passing", "failing"),
    [(SESSIONS, 97, 18), (COMPACTION, 171, 4)],
)
@pytest.mark.parametrize("engine", ["in process", pytest.param("server", marks=pytest.mark.server)])
@pytest.mark.long
def test_the_sdks_own_tests_pass_on_our_sessions(
    files: list[str],
    passing: int,
    failing: int,
    engine: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    databases: list[str],
) -> None:
    source, report = source_of("openai-agents"), tmp_path / "report.xml"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "PYTHONPATH": os.pathsep.join(map(str, [HERE, source, HERE.parents[1]])),
    }
    if engine == "server":
        databases.append(f"agents_{os.getpid()}")
        environment["MONGOSTORE_STAND_IN_URI"] = request.getfixturevalue("server_uri")
        environment["MONGOSTORE_STAND_IN_DATABASE"] = databases[-1]
    options = ["-p", "openai_agents_plugin", "-p", "no:cacheprovider", "--junitxml", str(report)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, *(f"tests/{name}" for name in files)],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    passed, failed = outcomes(report)
    unexpected = {name for name in failed if not name.startswith("test_sqlite_session_")} - OF_SQLITE
    assert unexpected == set(), done.stdout[-20000:]
    assert passed >= passing
    assert len(failed) <= failing
