"""The stubs of the blocking twins, which are written from the async classes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import stubs

CORES = '''
from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal as Number
from typing import Generic, TypeVar

R = TypeVar("R")
V = TypeVar("V")
COLOUR = "red"


class Stored: ...


class AsyncShelf(Generic[V]):
    async def get(self, key: str, /, colour: str = COLOUR, *, size: Number | None = None) -> V:
        """Return one."""

    async def list(self, given: AsyncIterable[V]) -> list[V]: ...

    async def iter(self, **names: int) -> AsyncIterator[V]:
        yield ...

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[AsyncBooks]: ...


class AsyncRow(AsyncShelf[R]): ...


class AsyncBooks(AsyncRow[Stored]):
    @property
    def others(self) -> AsyncBooks: ...

    def narrowed(self, name: str) -> AsyncBooks: ...
'''

TWINS = '''
from __future__ import annotations

from cores import AsyncBooks
from mongostore.portal import mirror_context
from mongostore.sync.mirror import Mirror, mirror_scope


class Books(Mirror[AsyncBooks]):
    """Blocking books."""

    sequels: Books
    narrowed = mirror_scope(AsyncBooks.narrowed)
    hold = mirror_context(AsyncBooks.hold)
'''

STUB = '''
import builtins
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from decimal import Decimal as Number

from cores import AsyncBooks, Stored

from mongostore.sync.mirror import Mirror

class Books(Mirror[AsyncBooks]):
    """Blocking books."""

    sequels: Books

    def narrowed(self, name: str) -> Books: ...
    @contextmanager
    def hold(self) -> Iterator[Books]: ...
    def get(self, key: str, /, colour: str = "red", *, size: Number | None = None) -> Stored:
        """Return one."""

    def list(self, given: AsyncIterable[Stored]) -> builtins.list[Stored]: ...
    def iter(self, **names: int) -> Iterator[Stored]: ...
    @property
    def others(self) -> Books: ...
'''


@pytest.mark.parametrize("name", stubs.MIRRORING)
def test_the_stub_is_that_of_its_module_as_it_is(name: str) -> None:
    module = importlib.import_module(name)
    written = stubs.path_of(module).read_text(encoding="utf-8")
    assert written == stubs.stub_of(module), "it is stale: run `python -m tests.stubs`"


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(cores: str, twins: str) -> str:
        for name, source in (("cores", cores), ("twins", twins)):
            (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        return stubs.stub_of(importlib.import_module("twins"))

    yield write
    for name in ("cores", "twins"):
        sys.modules.pop(name, None)


def test_a_stub_has_the_verbs_of_its_core_in_blocking_form(stub: Callable[[str, str], str]) -> None:
    header, _, body = stub(CORES, TWINS).partition("\n")
    assert "python -m tests.stubs" in header
    assert body.strip() == STUB.strip()


@pytest.mark.parametrize(
    ("member", "line", "error", "message"),
    [
        (
            "async def ask(self) -> AsyncGenerator[int]: ...",
            "",
            TypeError,
            "AsyncGenerator has no blocking form",
        ),
        ("async def seek(self) -> Nothing: ...", "", NameError, "cores has no Nothing"),
        ("def count(self) -> int: ...", "", TypeError, "count has no usual blocking form"),
        ("", "    def count(self): return 1", TypeError, "Books does not only mirror: def count"),
        ("", "    limit = 1", TypeError, "Books does not only mirror: limit = 1"),
        ("", "def count(): return 1", TypeError, "twins does not only mirror"),
    ],
    ids=["no blocking form", "an unknown name", "a function of a core", "a method", "a value", "a function"],
)
def test_there_is_no_stub_of_what_does_not_only_mirror_or_cannot_be_blocking(
    stub: Callable[[str, str], str], member: str, line: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        stub(f"{CORES}\n    {member}", TWINS + line)
