"""A pytest plugin for the tests of the Claude Agent SDK: our store stands in the place of its in-memory one.

`MONGOSTORE_STAND_IN_URI` names the server where transcripts are kept; without it they are in the process.
"""

from __future__ import annotations

import os
import time
from typing import Any
from uuid import uuid4

import claude_agent_sdk
import sniffio

from mongostore import MongoStore
from mongostore.adapters.claude_agent_sdk import MongoSessionStore

URI = os.environ.get("MONGOSTORE_STAND_IN_URI", "mongomock://tests")
DATABASE = os.environ.get("MONGOSTORE_STAND_IN_DATABASE", "claude")
STORE = MongoStore(URI, DATABASE)
STORE.open()
# These look after 5 to 50 steps of the event loop, in which no server has answered, and no thread.
STEP_COUNTERS = (
    "test_eager_flush_mode_appends_per_frame_before_result",
    "test_load_concurrency_is_bounded",
    "test_gap_fill_bounded_concurrency",
    "test_cancelled_after_mkdtemp_cleans_temp_dir",
)


class StandIn(MongoSessionStore):
    """Our store with the blocking helpers of `InMemorySessionStore`."""

    def __init__(self) -> None:
        self.name = uuid4().hex
        self.projects = set[str]()
        super().__init__(URI, DATABASE, namespace=self.name)

    async def _run(self, verb: Any) -> Any:
        counts_steps = any(name in os.environ["PYTEST_CURRENT_TEST"] for name in STEP_COUNTERS)
        if sniffio.current_async_library() == "asyncio" and not counts_steps:
            return await super()._run(verb)
        return STORE.portal.run(verb(STORE.core))

    async def append(self, key: Any, entries: Any) -> None:
        self.projects.add(key["project_key"])
        await super().append(key, entries)
        # The tests want times of two appends to differ; the embedded engine takes less than 1 ms for both.
        time.sleep(0.001)

    def get_entries(self, key: Any) -> list[Any]:
        return STORE.portal.run(self._load(STORE.core, key)) or []

    @property
    def size(self) -> int:
        return sum(len(STORE.portal.run(self._list(STORE.core, one))) for one in self.projects)

    def clear(self) -> None:
        for project_key in self.projects:
            for session in STORE.portal.run(self._list(STORE.core, project_key)):
                key: Any = {"project_key": project_key, "session_id": session.id}
                STORE.portal.run(self._delete(STORE.core, key))


claude_agent_sdk.InMemorySessionStore = StandIn  # type: ignore[misc,assignment]


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Give the appends of a busy server more time than the second that the SDK's tests give its memory."""
    for item in items:
        if (wait_until := getattr(item.module, "_wait_until", None)) is not None:
            wait_until.__kwdefaults__["timeout"] = 20.0
