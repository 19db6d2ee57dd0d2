"""A deployment that a store does not open on, told by its first answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mongostore import ConfigurationError
from mongostore.engines.capabilities import ask_capabilities

# It is not asked for anything.
SESSIONS: Any = None


def client_of(hello: dict[str, Any], topology: str) -> Any:
    async def command(name: str) -> dict[str, Any]:
        return hello

    description = SimpleNamespace(topology_type_name=topology)
    return SimpleNamespace(admin=SimpleNamespace(command=command), topology_description=description)


@pytest.mark.parametrize("others", [{"hosts": ["a:1", "b:1"]}, {"hosts": ["a:1"], "passives": ["b:1"]}])
async def test_one_member_of_several_is_refused_by_name(others: dict[str, Any]) -> None:
    client = client_of({"setName": "rs0", "isWritablePrimary": True, **others}, "Single")
    with pytest.raises(ConfigurationError) as refused:
        await ask_capabilities(client, SESSIONS, "mongodb://a:1")
    assert str(refused.value).startswith("mongodb://a:1: directConnection=true reaches one of 2 members")
    assert str(refused.value).endswith("write replicaSet=rs0 in its place")


async def test_a_secondary_is_refused() -> None:
    hello = {"setName": "rs0", "secondary": True, "hosts": ["a:1", "b:1"], "me": "a:1"}
    client = client_of(hello, "Single")
    with pytest.raises(ConfigurationError, match="it is a secondary"):
        await ask_capabilities(client, SESSIONS, "mongodb://a:1")
