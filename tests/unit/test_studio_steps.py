"""The waterfall of a thread's steps."""

from __future__ import annotations

from mongostore.models import ThreadMessage
from mongostore.servers.studio.steps import waterfall


def run(id: str, parent_id: str | None, start: str, end: str) -> ThreadMessage:
    times = {"start": f"2026-01-01T{start}+00:00", "end": f"2026-01-01T{end}+00:00"}
    return ThreadMessage(id=id, parent_id=parent_id, data={"type": "run", "name": id, **times})


def test_each_run_has_a_scale_of_its_own() -> None:
    steps = [
        run("first", None, "08:00:00", "08:00:04"),
        run("search", "first", "08:00:01", "08:00:03"),
        run("second", None, "20:00:00", "20:00:02"),
    ]
    lines = waterfall(steps, {step.id: step for step in steps})
    assert [(line.id, line.left, line.width) for line in lines] == [
        ("first", 0.0, 200.0),
        ("search", 50.0, 100.0),
        ("second", 0.0, 200.0),
    ]
