"""The chart of the benches has each ratio, both of its sides, the day and the machine."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tests.bench.chart import bars_of, describe_machine, draw
from tests.bench.comparisons import Race, Rate
from tests.bench.measurement import Row

LINES = [
    ("sessions", Row("append <600 B>", 150, 100, 1.7)),
    ("sessions", Row("read", 300, 100, 1.5)),
    ("sessions", Row("memory", 300, 100, 9, unit="KiB", compare="difference")),
    (
        "rooms",
        Race("commit", {"mongo": Rate(1, 2, 900), "sqlite": Rate(2, 3, 450)}, "per_second", 1, ("sqlite",)),
    ),
]


def test_each_ratio_is_drawn_with_both_of_its_sides() -> None:
    bars = [bar for bench, line in LINES for bar in bars_of(bench, line)]
    chart = ElementTree.fromstring(draw(bars, "1 May 2026, 2 cores"))
    texts = ["".join(element.itertext()) for element in chart.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[1] == "1 May 2026, 2 cores. Medians, both sides in turns."
    assert texts[3:] == [
        *("Sessions, beside bare PyMongo", "append <600 B>", "1.50x", "150 / 100 µs"),
        *("read", "3.00x", "300 / 100 µs"),
        *("Rooms, beside the framework's own store on SQLite", "commit", "0.50x", "900 / 450 calls/s"),
    ]
    lengths = [
        float(bar.attrib["width"])
        for bar in chart.iter("{http://www.w3.org/2000/svg}rect")
        if bar.attrib["class"].startswith("bar")
    ]
    assert lengths == [170, 340, 57]


@pytest.mark.server
def test_the_machine_is_named_by_its_cores_and_versions(server_uri: str) -> None:
    described = describe_machine(server_uri)
    for word in (" cores ", "Python 3.", "PyMongo 4.", "MongoDB "):
        assert word in described
