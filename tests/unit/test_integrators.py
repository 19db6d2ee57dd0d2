"""Integrators: what they read of chat turns, and the default one."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore.integrators import integrator_for
from mongostore.integrators.transcripts import parts_of, text_of
from mongostore.models import Turn
from mongostore.settings import IntegratorName, Settings


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a text", "a text"),
        (None, ""),
        ([{"type": "text", "text": "a"}, {"image": 1}, "x", {"text": 2}, {"text": "b"}], "a\nb"),
        ([], ""),
        ({"é": 1}, '{"é": 1}'),
        (7, "7"),
    ],
)
def test_the_text_of_a_turn_is_what_a_person_would_read(content: Any, text: str) -> None:
    assert text_of(content) == text


@pytest.mark.parametrize(
    ("texts", "parts"),
    [
        ([], []),
        (["aa", "bb", "c"], [["aa", "bb"], ["c"]]),
        (["aaaa", "b"], [["aaaa"], ["b"]]),
        (["a", "bbbbbbb", "c"], [["a"], ["bbbb"], ["c"]]),
        (["", "", "aaaa", ""], [["", "", "aaaa", ""]]),
    ],
    ids=["none", "full", "exact", "too long", "empty"],
)
def test_turns_are_read_in_parts_that_are_not_too_long(texts: list[str], parts: list[list[str]]) -> None:
    turns = [Turn(role="user", content=text, number=n) for n, text in enumerate(texts, 1)]
    read = list(parts_of(turns, 4))
    assert [[text for _, text in part] for part in read] == parts
    assert [turn for part in read for turn, _ in part] == turns


def test_keywords_say_which_turns_they_are_of_and_are_the_same_each_time() -> None:
    integrate = integrator_for(Settings(), IntegratorName.KEYWORDS)
    turns = [Turn(role="user", content="Solar panels in Lisbon", number=n) for n in (3, 4)]
    insights: Any = integrate("p", turns)
    [insight] = insights
    assert (insight["kind"], insight["first_turn"], insight["last_turn"]) == ("keywords", 3, 4)
    assert any("lisbon" in keyword.lower() for keyword in insight["keywords"])
    assert integrate("p", turns) == insights
    assert integrate("p", []) == []
