"""What is kept of the items that were set last."""

from __future__ import annotations

from mongostore.recent import Recent


def test_the_item_set_the_longest_time_ago_goes_first() -> None:
    recent = Recent[str, int](2)
    for name, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        recent[name] = value
    assert recent == {"a": 3, "c": 4}
    assert recent.pop("a", None) == 3
    recent["d"] = 5
    assert recent == {"c": 4, "d": 5}
