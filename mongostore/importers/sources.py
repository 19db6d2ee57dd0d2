"""The sources: their names, how each is read, and what the readers share."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Final

from mongostore.errors import ConfigurationError
from mongostore.importers.report import Report
from mongostore.importers.units import Unit

_MODULES: Final = {
    "chainlit": "chainlit",
    "director": "director",
    "chatgpt": "chatgpt",
    "claude": "claude",
    "librechat": "librechat",
    "mongostore": "mongostore",
    "openai": "openai",
    "openwebui": "openwebui",
    "langchain": "langchain",
    "agents": "agents",
    "roomkit": "roomkit",
    "sharegpt": "sharegpt",
    "threadmem": "threadmem",
}

# The beginnings of files of gzip, bzip2 and xz.
_COMPRESSED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")


class SourceError(ConfigurationError):
    """A source cannot be read as what it is said to be, or not to its end."""


@dataclass(frozen=True)
class Options:
    """The choices that the formats leave open.

    Attributes:
        namespace: The namespace of the sessions.
        user_id: The user of all that is imported, instead of that of the source.
        files: The folder in which the source keeps its files.
        database: The database of a source that is a MongoDB server.
        tables: The names of the source's tables or collections, by those that it has as a rule.
        keys: The names of the source's keys, by those that it has as a rule.
        with_deleted: Whether to take softly deleted threads, too.
        with_temporary: Whether to take conversations that are to expire, too.
    """

    namespace: str = "default"
    user_id: str | None = None
    files: Path | None = None
    database: str | None = None
    tables: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    source_timezone: str = "UTC"
    with_deleted: bool = False
    with_temporary: bool = False


@dataclass
class Reading:
    """A source that is being read.

    Attributes:
        location: A path or URI.
        report: Collects each row that does not become a unit.
        stack: Closes files and deletes copies when the import ends.
        total: The number of units, once it is known.
    """

    location: str
    options: Options
    report: Report
    stack: ExitStack
    total: int | None = None

    @property
    def path(self) -> Path:
        """The location as a path that exists."""
        path = Path(self.location)
        if not path.exists():
            raise SourceError(f"there is no file {self.location!r}")
        if path.is_file():
            refuse_compressed(path)
        return path


Read = Callable[[Reading], Generator[Unit]]


def refuse_compressed(path: Path) -> None:
    """Check that a file is not compressed as a whole."""
    with path.open("rb") as file:
        if file.read(6).startswith(_COMPRESSED):
            raise SourceError(f"{path.name} is compressed: unpack it first")


def names() -> list[str]:
    """Return the names of the sources."""
    return sorted(_MODULES)


def find_reader(name: str) -> Read:
    """Return the function that reads a source."""
    if name not in _MODULES:
        raise ConfigurationError(f"source: {name!r} is none of {', '.join(names())}")
    read: Read = import_module(f"mongostore.importers.{_MODULES[name]}").read
    return read
