"""What the log says of a replica set's primary."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mongostore.engines.failover import FailoverLog


def topology(primary: str | None, *others: str) -> Any:
    """Return an event after which a set has this primary."""
    servers = {(host, 27017): SimpleNamespace(server_type_name="RSSecondary") for host in others}
    if primary:
        servers[primary, 27017] = SimpleNamespace(server_type_name="RSPrimary")
    return SimpleNamespace(new_description=SimpleNamespace(server_descriptions=lambda: servers))


def test_a_new_primary_is_logged_with_the_old_one(caplog: pytest.LogCaptureFixture) -> None:
    log = FailoverLog("mongodb://a,b")
    for event in topology("a", "b"), topology(None, "a", "b"), topology("b", "a"):
        log.description_changed(event)

    [record] = caplog.records
    assert (record.name, record.levelname) == ("mongostore.failover", "WARNING")
    assert record.getMessage() == "the primary is now b:27017 (was a:27017, for 0.0 s nobody)"
    assert vars(record)["address"] == "mongodb://a,b"


@pytest.mark.parametrize("primaries", [["a"], ["a", "a"], [None, "a"], ["a", None, "a"], [None, None]])
def test_the_first_primary_and_the_same_one_again_are_not(
    primaries: list[str | None], caplog: pytest.LogCaptureFixture
) -> None:
    log = FailoverLog("mongodb://a,b")
    for primary in primaries:
        log.description_changed(topology(primary, "c"))

    assert caplog.records == []
