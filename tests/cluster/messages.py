"""MongoDB's wire protocol, as a router speaks it: OP_MSG, and the OP_QUERY of a driver's first hello."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument

_HEADER = struct.Struct("<iiii")
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_HAS_CHECKSUM, _MORE_TO_COME = 1, 2
_BUFFER = 2**26
# The members of commands that may be larger than a document.
_SEQUENCES = {"insert": "documents", "update": "updates", "delete": "deletes"}
_SEQUENCES |= {f"cluster{name.capitalize()}": member for name, member in _SEQUENCES.items()}
# What is passed on keeps its bytes.
_CODEC = CodecOptions[Any](RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_MS)

Command = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A command of a driver."""

    id: int
    command: Command
    is_legacy: bool
    wants_answer: bool


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Return the next command of a driver.

    Raises:
        IncompleteReadError: The driver has closed the connection.
    """
    size, id, _, kind = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    body = await reader.readexactly(size - _HEADER.size)
    if kind == _OP_QUERY:
        # Its flags, the name of a collection, and two numbers come first.
        command = _decode(body[body.index(b"\0", 4) + 9 :])
        return Request(id, {**command, "$db": "admin"}, is_legacy=True, wants_answer=True)
    assert kind == _OP_MSG, kind
    (flags,) = struct.unpack_from("<I", body)
    return Request(id, _decode_message(body, flags), is_legacy=False, wants_answer=not flags & _MORE_TO_COME)


def encode_answer(request: Request, answer: Mapping[str, Any]) -> bytes:
    """Return the message that answers a command."""
    if request.is_legacy:
        return _message(_OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(answer), answers=request.id)
    return _message(_OP_MSG, struct.pack("<IB", 0, 0) + bson.encode(answer), answers=request.id)


class Peer:
    """A connection to a server, made when it is first used, which takes one command after the other."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._lock = asyncio.Lock()
        self._ids = count(1)

    async def run(self, command: Mapping[str, Any]) -> Command:
        """Send a command, and return its answer, which may be that it has failed.

        Raises:
            ConnectionError: The connection cannot be made, or is lost.
        """
        async with self._lock:
            try:
                if self._streams is None:
                    host, _, port = self.address.partition(":")
                    self._streams = await asyncio.open_connection(host, int(port), limit=_BUFFER)
                    await self._send({"hello": 1, "client": _CLIENT, "$db": "admin"})
                return await self._send(command)
            except (asyncio.IncompleteReadError, OSError) as error:
                self.close()
                raise ConnectionError(f"{self.address}: {type(error).__name__}") from None
            except asyncio.CancelledError:
                # The answer would be taken for that of the next command.
                self.close()
                raise

    def close(self) -> None:
        """Close the connection; the next command makes another one."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None

    async def _send(self, command: Mapping[str, Any]) -> Command:
        assert self._streams is not None
        reader, writer = self._streams
        name, body = next(iter(command)), dict(command)
        sequence = b""
        if isinstance(documents := body.get(member := _SEQUENCES.get(name, "")), list):
            del body[member]
            content = member.encode() + b"\0" + b"".join(map(bson.encode, documents))
            sequence = struct.pack("<Bi", 1, 4 + len(content)) + content
        message = struct.pack("<IB", 0, 0) + bson.encode(body) + sequence
        writer.write(_message(_OP_MSG, message, id=next(self._ids)))
        await writer.drain()
        size, *_ = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        return _decode_message(await reader.readexactly(size - _HEADER.size), 0)


# The server knows by that name the transactions that stores may end.
_CLIENT = {
    "driver": {"name": "PyMongo|mongostore", "version": "router"},
    "os": {"type": "Linux"},
    "application": {"name": "router"},
}


def _message(kind: int, body: bytes, *, id: int = 0, answers: int = 0) -> bytes:
    # A server takes a request that answers another one for the beginning of TLS.
    return _HEADER.pack(_HEADER.size + len(body), id, answers, kind) + body


def _decode(document: bytes) -> Command:
    return dict(bson.decode(document, _CODEC))


def _decode_message(body: bytes, flags: int) -> Command:
    at, end = 4, len(body) - (4 if flags & _HAS_CHECKSUM else 0)
    command: Command = {}
    sequences: Command = {}
    while at < end:
        kind = body[at]
        (size,) = struct.unpack_from("<i", body, at + 1)
        section = body[at + 1 : at + 1 + size]
        if kind == 0:
            command = _decode(section)
        else:
            name_end = section.index(b"\0", 4)
            documents = bson.decode_all(section[name_end + 1 :], _CODEC)
            sequences[section[4:name_end].decode()] = documents
        at += 1 + size
    return command | sequences
