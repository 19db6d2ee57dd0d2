"""Thousands of values, packed, sent as BSON and unpacked, come back equal."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from hypothesis import HealthCheck, given, settings

from mongostore.codec import (
    decode,
    decode_members,
    encode,
    encode_members,
    encode_object,
)
from mongostore.engines.mongo import CODEC
from tests.contract.edge_cases import OBJECTS, VALUES, same


@pytest.mark.parametrize("examples", [150, pytest.param(1500, marks=pytest.mark.long)])
def test_many_values_come_back_equal(examples: int) -> None:
    values = given(content=VALUES, data=OBJECTS, metadata=OBJECTS)(come_back_equal)
    settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))(values)()


def come_back_equal(content: Any, data: dict[str, Any], metadata: dict[str, Any]) -> None:
    encoded = {
        "content": encode("content", content),
        "data": encode_object("data", data),
        "metadata": encode_members("metadata", metadata),
    }
    stored = bson.decode(bson.encode(encoded, codec_options=CODEC), CODEC)
    assert same(decode(stored["content"]), content)
    assert same(decode(stored["data"]), data)
    assert same(decode_members(stored["metadata"]), metadata)
    # No key may be taken for an operator or a path.
    assert not any("$" in key or "." in key for key in stored["metadata"])
