"""Numbers as drawings."""

from __future__ import annotations

import pytest

from mongostore.servers.studio.charts import heat, line, short, stacked, steps, up_and_down


@pytest.mark.parametrize("most", [0, 1, 3, 4, 5, 7, 99, 100, 101, 12_345, 3e9])
def test_the_lines_behind_a_chart_are_few_and_reach_the_highest(most: float) -> None:
    found = steps(most)
    assert found[0] == 0
    assert found[-1] >= most
    assert 2 <= len(found) <= 6


def test_columns_stand_on_each_other_within_the_drawing() -> None:
    chart = stacked([("a", "A", [1, 2]), ("b", "B", [0, 5])], ("x", "y"), width=100, height=50)
    first, second = chart.columns
    assert [box.style for box in second.boxes] == ["y"]
    low, high = first.boxes
    assert high.y + high.height == pytest.approx(low.y, abs=0.2)
    assert all(0 <= box.y <= box.y + box.height <= 50 for one in chart.columns for box in one.boxes)
    assert second.boxes[0].x + second.boxes[0].width <= 100


def test_votes_stand_above_and_below_a_line() -> None:
    chart = up_and_down([("a", "A", 3, 1)], width=100, height=60)
    up, down = chart.columns[0].boxes
    assert up.y + up.height == pytest.approx(chart.base, abs=0.2)
    assert down.y > chart.base
    assert down.y + down.height <= 60


def test_nothing_is_drawn_of_nothing() -> None:
    assert stacked([], ("x",), width=10, height=30).columns == []
    assert up_and_down([], width=10, height=30).columns == []
    assert line([], width=10, height=10) == ""
    assert line([0, 0], width=10, height=10) == "0.0,9.0 10.0,9.0"
    assert {box.style for box in heat([0] * 168, 24, width=330)} == {"h0"}
    assert [box.style for box in heat([1, 4, 0], 3, width=330)] == ["h2", "h4", "h0"]
    assert [short(value) for value in (0, 950, 1500, 2e6)] == ["0", "950", "1.5k", "2M"]
