"""The steps of a thread, and where they are shown."""

from __future__ import annotations

from mongostore.models import Element, ThreadMessage
from mongostore.servers.studio.steps import thread_turns, waterfall


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


def test_a_run_without_an_answer_stands_for_all_in_it_once() -> None:
    asked = ThreadMessage(id="asked", content="Where?", data={"type": "user_message"})
    steps = [
        run("first", None, "08:00:00", "08:00:04"),
        run("search", "first", "08:00:01", "08:00:03"),
        run("second", None, "09:00:00", "09:00:02"),
    ]
    answer = ThreadMessage(
        id="said", parent_id="second", content="There.", data={"type": "assistant_message"}
    )
    ids = ("first", "search", "second", "said")
    elements = [Element(id=f"of {id}", message_id=id) for id in ids]
    turns = thread_turns([asked, *steps, answer], elements, "/t/x", at="search")
    assert [(turn.label, turn.anchor) for turn in turns] == [("1", "m1"), ("2", "sfirst"), ("3", "m3")]
    assert [[line.id for line in turn.steps] for turn in turns] == [[], ["first", "search"], ["second"]]
    held = [[one.id for one in turn.elements] for turn in turns]
    assert held == [[], ["of first", "of search"], ["of said", "of second"]]
    assert [turn.is_here for turn in turns] == [False, True, False]
