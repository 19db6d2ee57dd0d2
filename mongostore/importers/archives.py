"""Exports that are a zip file, a folder with the same files, or one of these files alone."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import IO, Any

from mongostore.importers.json_files import TornError, iter_items
from mongostore.importers.sources import Reading, SourceError
from mongostore.importers.tables import temporary_folder

# Of a file in a zip; a zip that is cut short has it, too.
_ZIP_START = b"PK\x03\x04"
_IN_MEMORY_BYTES = 16 * 1024 * 1024


class Archive:
    """The files of an export, by their names; those of a zip in it have its name as a folder."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._path = reading.path
        self._files: _Files = {}
        if self._path.is_dir():
            paths = (
                path for path in sorted(self._path.rglob("*")) if path.is_file() and not path.is_symlink()
            )
            self._add_all({path.relative_to(self._path).as_posix(): (None, path) for path in paths})
        elif _is_zip(self._path):
            self._add_all(_Zip(self._path, reading.stack).files())
        else:
            self._files[self._path.name] = (None, self._path)
        self.names: list[str] = sorted(self._files)

    def find_all(self, name: str) -> list[str]:
        """Return the files with a name, in any folders of the archive."""
        return [one for one in self.names if one.rpartition("/")[2] == name]

    def open(self, name: str) -> IO[bytes]:
        """Open a file of the archive."""
        archive, where = self._files[name]
        return Path(where).open("rb") if archive is None else archive.open(str(where))

    def iter_items(self, name: str) -> Iterator[tuple[int, Any]]:
        """Yield the numbers and the items of a JSON file; one that is torn is refused with all behind it."""
        try:
            with self.open(name) as file:
                yield from enumerate(iter_items(file))
        except TornError as error:
            self._reading.report.refuse(name, "", str(error))

    def read_objects(self, name: str) -> list[dict[str, Any]]:
        """Return the objects in the small JSON files with a name; none if there are no such files."""
        items = (item for found in self.find_all(name) for _, item in self.iter_items(found))
        return [item for item in items if isinstance(item, dict)]

    def read(self, name: str) -> bytes | Path:
        """Return the content of a file, a large one as a copy on the disk."""
        archive, where = self._files[name]
        if archive is None:
            return Path(where)
        with archive.lock, archive.open(str(where), of_contents=True) as file:
            content = file.read(_IN_MEMORY_BYTES + 1)
            return content if len(content) <= _IN_MEMORY_BYTES else self._copy(content, file)

    def _add_all(self, files: _Files) -> None:
        """Add files, or those in them if there is nothing but zips: of others a user may have sent one."""
        has_json = any(name.endswith((".json", ".jsonl")) for name in files)
        for name, file in files.items():
            self._files[name] = file
            if has_json or not name.endswith(".zip"):
                continue
            with self.open(name) as content:
                path = self._copy(b"", content)
            if _is_zip(path):
                inner = _Zip(path, self._reading.stack).files()
                self._files |= {f"{name}/{one}": found for one, found in inner.items()}

    def _copy(self, begin: bytes, rest: IO[bytes]) -> Path:
        # Under a name of ours, since those of an archive may leave the folder.
        copy = temporary_folder(self._reading) / "file"
        with copy.open("wb") as target:
            target.write(begin)
            shutil.copyfileobj(rest, target)
        return copy


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _ZIP_START or zipfile.is_zipfile(path)


class _Zip:
    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._name = path.name
        try:
            self._entries = stack.enter_context(zipfile.ZipFile(path))
            # Read from other threads than the conversations are, which one object cannot be.
            self._contents = stack.enter_context(zipfile.ZipFile(path))
        except zipfile.BadZipFile:
            raise SourceError(f"{path.name} is a broken zip file") from None
        self.lock: Lock = Lock()

    def files(self) -> _Files:
        """Return the files by their names."""
        names = (info.filename for info in self._entries.infolist() if not info.is_dir())
        return {name: (self, name) for name in names if not name.startswith("__MACOSX/")}

    def open(self, name: str, *, of_contents: bool = False) -> IO[bytes]:
        """Open a file, in the index or as a content."""
        try:
            return (self._contents if of_contents else self._entries).open(name)
        except (KeyError, zipfile.BadZipFile, RuntimeError, NotImplementedError):
            raise SourceError(f"{name} in {self._name} cannot be unpacked") from None


# By their names, each with its where in a zip or on the disk.
_Files = dict[str, tuple[_Zip | None, Path | str]]
