"""Measures which branches of `mongostore/` the tests of a run take, in all of its processes.

pytest loads it by `-p tests.branch_coverage`. SlipCover hears of each branch once, where a tracer hears of
each line each time, which doubles the time of tests. Its own plugin instruments pytest and the tests, too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from slipcover import FileMatcher, ImportManager, Slipcover, merge_coverage, print_coverage

PACKAGE = Path(__file__).parent.parent / "mongostore"
SUITES = [f"{PACKAGE / 'testing'}/*"]
UNREACHABLE = ["if TYPE_CHECKING:", r"^\s*\.\.\.$"]
PERCENT = 90


class Measurement:
    """What one process measures, or the sum of what others did."""

    def __init__(self) -> None:
        self._measured = Slipcover(branch=True, source=[str(PACKAGE)], omit=SUITES, exclude_lines=UNREACHABLE)
        self._imports = ImportManager(self._measured, FileMatcher([PACKAGE], SUITES))
        self._others = list[dict[str, Any]]()
        self._total = dict[str, Any]()

    def start(self) -> None:
        """Instrument what is imported from here on."""
        self._imports.__enter__()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what another process measured."""
        if coverage := node.workeroutput.get("branches"):
            self._others.append(json.loads(coverage))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand it to the process that asked for it, or fail if it is too little."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["branches"] = json.dumps(self._measured.get_coverage())
            return
        self._total, *others = self._others or [self._measured.get_coverage()]
        for other in others:
            merge_coverage(self._total, other)
        if not session.exitstatus and self._total["summary"]["percent_covered"] < PERCENT:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what no test took, by file."""
        terminalreporter.section(f"branches: at least {PERCENT} %")
        print_coverage(self._total, outfile=terminalreporter, skip_covered=True, missing_width=60)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start before anything imports the package."""
    measurement = Measurement()
    if "PYTEST_XDIST_WORKER" in os.environ or not early_config.known_args_namespace.numprocesses:
        measurement.start()
    early_config.pluginmanager.register(measurement)
