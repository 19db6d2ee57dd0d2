"""Exports that are a zip file, a folder with the same files, or one of these files alone."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
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
    """The files of an export, by their names."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._path = reading.path
        self._zip: zipfile.ZipFile | None = None
        if self._path.is_dir():
            files = (path for path in self._path.rglob("*") if path.is_file() and not path.is_symlink())
            names = [path.relative_to(self._path).as_posix() for path in files]
        elif zipfile.is_zipfile(self._path):
            try:
                self._zip = reading.stack.enter_context(zipfile.ZipFile(self._path))
                # Read from other threads than the conversations are, which one object cannot be.
                self._contents = reading.stack.enter_context(zipfile.ZipFile(self._path))
                self._lock = Lock()
            except zipfile.BadZipFile:
                raise SourceError(f"{self._path.name} is a broken zip file") from None
            names = [info.filename for info in self._zip.infolist() if not info.is_dir()]
        else:
            with self._path.open("rb") as file:
                if file.read(4) == _ZIP_START:
                    raise SourceError(f"{self._path.name} is a broken zip file")
            names = [self._path.name]
        self.names: list[str] = sorted(name for name in names if not name.startswith("__MACOSX/"))

    def find(self, name: str) -> str | None:
        """Return the file with a name, in any folder of the archive."""
        return next((one for one in self.names if one.rpartition("/")[2] == name), None)

    def open(self, name: str) -> IO[bytes]:
        """Open a file of the archive."""
        if self._zip is not None:
            return self._open_in(self._zip, name)
        return (self._path / name if self._path.is_dir() else self._path).open("rb")

    def iter_items(self, name: str) -> Iterator[tuple[int, Any]]:
        """Yield the numbers and the items of a JSON file; one that is torn is refused with all behind it."""
        try:
            with self.open(name) as file:
                yield from enumerate(iter_items(file))
        except TornError as error:
            self._reading.report.refuse(name, "", str(error))

    def read_objects(self, name: str) -> list[dict[str, Any]]:
        """Return the objects in a small JSON file; none if it is not there."""
        found = self.find(name)
        items = () if found is None else self.iter_items(found)
        return [item for _, item in items if isinstance(item, dict)]

    def read(self, name: str) -> bytes | Path:
        """Return the content of a file, a large one as a copy on the disk."""
        if self._zip is None:
            return self._path / name
        with self._lock:
            return self._unpack(self._contents, name)

    def _unpack(self, archive: zipfile.ZipFile, name: str) -> bytes | Path:
        with self._open_in(archive, name) as file:
            content = file.read(_IN_MEMORY_BYTES + 1)
            if len(content) <= _IN_MEMORY_BYTES:
                return content
            # Under a name of ours, since those of an archive may leave the folder.
            copy = temporary_folder(self._reading) / "file"
            with copy.open("wb") as target:
                target.write(content)
                shutil.copyfileobj(file, target)
            return copy

    def _open_in(self, archive: zipfile.ZipFile, name: str) -> IO[bytes]:
        try:
            return archive.open(name)
        except (KeyError, zipfile.BadZipFile, RuntimeError, NotImplementedError):
            raise SourceError(f"{name} in {self._path.name} cannot be unpacked") from None
