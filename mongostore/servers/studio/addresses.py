"""Ids in the paths of addresses, which no server, proxy or browser takes apart or puts in order."""

from __future__ import annotations

import re
import string
from urllib.parse import quote

from mongostore.errors import InvalidValueError

_PLAIN = frozenset((string.ascii_letters + string.digits + "-_.@:").encode())
_ESCAPE = re.compile("~([0-9A-F]{2})")
_SEGMENT = re.compile(r"(?:[A-Za-z0-9\-_.@:]|~[0-9A-F]{2})+\Z")
_EMPTY = "~"


def encode_id(id: str) -> str:
    """Return an id as one segment of a path: all but letters, digits and `-_.@:` as `~` and bytes in hex.

    Slashes in `%2F` are slashes to some servers; `.` and `..` are ways to elsewhere for browsers.
    """
    text = "".join(
        chr(byte) if byte in _PLAIN else f"~{byte:02X}" for byte in id.encode(errors="surrogatepass")
    )
    return text.replace(".", "~2E") if not text.strip(".") and text else text or _EMPTY


def path_to(path: str, message_id: str) -> str:
    """Return the address of a message of the thread whose address is a path."""
    return f"{path}?at={quote(message_id, safe='', errors='replace')}"


def decode_id(segment: str) -> str:
    """Return the id that `encode_id` has put into a segment."""
    if segment == _EMPTY:
        return ""
    if not _SEGMENT.match(segment):
        raise InvalidValueError("id", "is not an id as addresses have it")
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), segment)
    try:
        return plain.encode("latin-1").decode(errors="surrogatepass")
    except UnicodeDecodeError:
        raise InvalidValueError("id", "is not an id as addresses have it") from None
