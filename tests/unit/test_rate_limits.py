"""How often a caller may ask, and which addresses are of this machine alone."""

from __future__ import annotations

import pytest

from mongostore.errors import ConfigurationError
from mongostore.servers.access import is_loopback
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.rate_limits import RateLimit


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True)),
        *(("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("localhost.example", False), ("", False)),
    ],
)
def test_an_address_of_this_machine_is_told_from_others(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local


@pytest.mark.parametrize("rate", ["", "often", "100", "x/minute", "100/moment"])
def test_what_is_no_rate_is_refused_with_an_example(rate: str) -> None:
    with pytest.raises(ConfigurationError, match="such as 100/minute"):
        RateLimit(rate)


async def test_a_caller_is_refused_the_request_after_the_last_and_told_when_to_come_back() -> None:
    limit = RateLimit("2/hour")
    await limit.count("key a")
    await limit.count("key a")
    with pytest.raises(ProblemError) as refused:
        await limit.count("key a")
    assert refused.value.status_code == 429
    assert refused.value.headers is not None
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 3600


async def test_each_caller_is_counted_alone() -> None:
    limit = RateLimit("1/hour")
    await limit.count("key a")
    await limit.count("address a")
    with pytest.raises(ProblemError):
        await limit.count("address a")
