"""JSON files that are read an item at a time."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from mongostore.importers import json_files
from mongostore.importers.json_files import TornError, iter_items, iter_records
from mongostore.importers.sources import SourceError

VALUES: list[Any] = [
    {"a": [1, {"b": None}]},
    "text \ud83d \U0001f4e6",
    17,
    -1.5e300,
    True,
    None,
    [],
    {},
    "",
    123456789,
]


@pytest.fixture(params=[1, 2, 7, 1024 * 1024])
def _pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "READ_CHARACTERS", request.param)


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("sign", [b"", b"\xef\xbb\xbf", b" \r\n "])
def test_items_of_a_list_come_one_by_one(indent: int | None, sign: bytes) -> None:
    content = sign + json.dumps(VALUES, indent=indent).encode()
    assert list(iter_items(io.BytesIO(content))) == VALUES
    assert [value for _, value in iter_records(io.BytesIO(content))] == VALUES


@pytest.mark.usefixtures("_pieces")
def test_another_value_is_one_item() -> None:
    assert list(iter_items(io.BytesIO(b'{"a": [1, 2]}'))) == [{"a": [1, 2]}]


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("rest", [b"", b"{", b'{"a": tru', b'{"a": "text', b"nonsense]", b'{"a": 1}'])
def test_items_before_a_torn_one_are_kept(rest: bytes) -> None:
    items = iter_items(io.BytesIO(b'[{"kept": 1}, ' + rest))
    assert next(items) == {"kept": 1}
    with pytest.raises(TornError, match=r"^item [12]"):
        list(items)


def test_a_larger_item_than_is_allowed_is_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "READ_CHARACTERS", 16)
    monkeypatch.setattr(json_files, "MAX_ITEM_CHARACTERS", 1000)
    allowed, large = "x" * 900, "x" * 100_000
    file = io.BytesIO(json.dumps([allowed, large]).encode())
    items = iter_items(file)
    assert next(items) == allowed
    with pytest.raises(SourceError, match="more than 1,000 characters"):
        next(items)
    # The reader of the text takes the file in blocks of eight kilobytes.
    assert file.tell() <= 16 * 1024


def test_lines_are_numbered_and_torn_ones_named() -> None:
    lines = b'\xef\xbb\xbf{"a": 1}\r\n\n{"a": \n7\n\xff\n[1]'
    found = [
        (number, "torn" if isinstance(value, TornError) else value)
        for number, value in iter_records(io.BytesIO(lines))
    ]
    assert found == [(1, {"a": 1}), (3, "torn"), (4, 7), (5, "torn"), (6, [1])]
