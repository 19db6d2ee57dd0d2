"""Frameworks to test the adapters with."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

DIRECTOR_ADAPTER = "mongostore.adapters.director"


def _forget_director() -> None:
    for name in list(sys.modules):
        if name == DIRECTOR_ADAPTER or name.partition(".")[0] == "director":
            del sys.modules[name]


@pytest.fixture(scope="module")
def director_adapter() -> Iterator[Callable[[Path], ModuleType]]:
    """Imports the adapter on the `director` package of a folder; both are forgotten after the module."""
    with pytest.MonkeyPatch.context() as patch:

        def import_on(folder: Path) -> ModuleType:
            _forget_director()
            patch.setattr(sys, "path", [str(folder), *sys.path])
            return importlib.import_module(DIRECTOR_ADAPTER)

        yield import_on
    _forget_director()
