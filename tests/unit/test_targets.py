"""Files of exports are at their path once they are whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mongostore.importers.targets import open_target


def end_in_the_middle(path: Path, error: type[BaseException]) -> None:
    with open_target(path) as target:
        target.write(b"half")
        raise error


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_is_cut_short_is_not_there_and_an_earlier_file_stays(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "all.zip"
    for earlier in (None, b"earlier"):
        if earlier is not None:
            path.write_bytes(earlier)
        with pytest.raises(error):
            end_in_the_middle(path, error)
        assert (path.read_bytes() if path.exists() else None) == earlier
    with open_target(path) as target:
        target.write(b"whole")
        assert path.read_bytes() == b"earlier"
    assert path.read_bytes() == b"whole"
    assert [*tmp_path.iterdir()] == [path]


def test_a_place_where_no_file_can_be_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none" / "all.zip"):
        with pytest.raises(OSError, match=f"'{path}'"), open_target(path):
            pass
    with open_target(Path(os.devnull)) as target:
        target.write(b"gone")
