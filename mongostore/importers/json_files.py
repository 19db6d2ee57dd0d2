"""JSON files of any size: a list is read one item at a time."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, cast

from mongostore.importers.sources import SourceError

READ_CHARACTERS = 1024 * 1024
# More than a conversation with dozens of images in its text; what is larger is not read into the memory.
MAX_ITEM_CHARACTERS = 64 * 1024 * 1024
_BLANK_BYTES = 4096
_OF_NUMBERS = ("", *"0123456789.eE+-")
_BLANK = " \t\r\n"


class TornError(Exception):
    """The rest of a file is no JSON; the text names its beginning."""


def iter_items(file: IO[bytes]) -> Iterator[Any]:
    """Yield the items of a JSON list; a file that holds anything else is one item.

    Raises:
        TornError: An item is no JSON, after those before it were yielded.
    """
    text = _Text(file)
    try:
        if text.skip_blank() != "[":
            yield text.decode(0)
            return
        text.advance(1)
        count = 0
        while (char := text.skip_blank()) != "]":
            if char == "":
                raise TornError(f"item {count}: the file ends in the middle of its list")
            yield text.decode(count)
            count += 1
            if text.skip_blank() == ",":
                text.advance(1)
    finally:
        text.detach()


def iter_lines(file: IO[bytes]) -> Iterator[tuple[int, Any | TornError]]:
    """Yield the numbers of the lines that are not blank, each with its JSON or an error for it."""
    for number, line in enumerate(file, 1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            try:
                yield number, json.loads(line.decode())
            except UnicodeDecodeError:
                yield number, TornError("not UTF-8 text")
            except RecursionError:
                yield number, TornError("nested too deep")
            except ValueError:
                yield number, TornError("not JSON")


def iter_records(file: IO[bytes]) -> Iterator[tuple[int, Any | TornError]]:
    """Yield what a file holds, a JSON list or one value a line, with its number in the file."""
    start = file.read(_BLANK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()
    file.seek(0)
    if not start.startswith(b"["):
        yield from iter_lines(file)
        return
    number = 0
    try:
        for number, value in enumerate(iter_items(file), 1):
            yield number, value
    except TornError as error:
        yield number + 1, error


class _Text:
    """The text of a file from a place on, as much of it as is needed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = io.TextIOWrapper(cast(BinaryIO, file), encoding="utf-8-sig", newline="")
        self._decode = json.JSONDecoder().raw_decode
        self._text = ""
        self._start = 0

    def detach(self) -> None:
        """Leave the file open."""
        self._file.detach()

    def skip_blank(self) -> str:
        """Go to the next character that is no blank and return it; empty at the end."""
        while True:
            while self._start < len(self._text) and self._text[self._start] in _BLANK:
                self._start += 1
            if self._start < len(self._text):
                return self._text[self._start]
            if not self._read():
                return ""

    def advance(self, count: int) -> None:
        """Go over so many characters, which were read."""
        self._start += count

    def decode(self, number: int) -> Any:
        """Return the JSON value that begins here and go behind it."""
        while True:
            try:
                value, end = self._decode(self._text, self._start)
            except RecursionError:
                raise TornError(f"item {number} is nested too deep") from None
            except json.JSONDecodeError as error:
                # A text that is not at its end is wrong before the place where more could follow.
                is_cut = error.msg.startswith("Unterminated string") or error.pos + 16 > len(self._text)
                if not (is_cut and self._read()):
                    raise TornError(f"item {number} is not JSON") from None
            except ValueError:
                raise TornError(f"item {number} has a number with too many digits") from None
            else:
                # A number may go on behind what was read.
                is_closed = value is None or isinstance(value, dict | list | str | bool)
                if not is_closed and self._text[end : end + 1] in _OF_NUMBERS and self._read():
                    continue
                self._start = end
                return value

    def _read(self) -> bool:
        """Read at least as much again as there is, so that a long item is not tried too often."""
        rest = self._text[self._start :]
        if len(rest) >= MAX_ITEM_CHARACTERS:
            raise SourceError(f"the file has an item of more than {MAX_ITEM_CHARACTERS:,} characters")
        try:
            more = self._file.read(max(READ_CHARACTERS, min(len(rest), MAX_ITEM_CHARACTERS - len(rest))))
        except UnicodeDecodeError:
            raise TornError("the file is not UTF-8 text") from None
        self._text, self._start = rest + more, 0
        return bool(more)
