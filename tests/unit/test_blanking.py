"""What stays of a value whose words go."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore.people.vocabulary import Vocabulary

OTHERS = [{"content": {"type": "text", "body": "ok"}, "role": "member", "of": "ada"}]
WORDS = Vocabulary(OTHERS, {"ada"}, {"sms", "ada"})


@pytest.mark.parametrize(
    ("value", "blank"),
    [
        ({"content": {"type": "text", "body": "my words"}}, {"content": {"type": "text", "body": ""}}),
        ({"role": "member", "other": "member"}, {"role": "member", "other": ""}),
        ({"of": "ada", "ada": 1}, {"of": ""}),
        ({"channel": "sms", "list": ["sms", "ada", "x"]}, {"channel": "sms", "list": ["sms", "", ""]}),
        ({"at": "2026-01-02T03:04:05Z", "born": "1815-12-10"}, {"at": "2026-01-02T03:04:05Z", "born": ""}),
        (
            {"flag": True, "none": None, "age": 36, "share": 0.5},
            {"flag": True, "none": None, "age": 0, "share": 0},
        ),
        ([], []),
    ],
    ids=str,
)
def test_shape_and_kinds_stay_and_words_go(value: Any, blank: Any) -> None:
    assert WORDS.blank(value) == blank
