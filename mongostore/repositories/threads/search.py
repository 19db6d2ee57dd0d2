"""The search for a text in the names and messages of threads."""

from __future__ import annotations

import re

from mongostore.codec import decode
from mongostore.documents.mapping import StoredDocument
from mongostore.errors import InvalidValueError
from mongostore.repositories import Connection, current_operation, read_step
from mongostore.repositories.paging import SortKey, SortOrder, find_page

_SEARCH_BATCH = 50
# The server takes patterns of up to 32 kB, and escaping makes four bytes of a character.
_MAX_CHARACTERS = 4_000
# Of what no stored text can have.
_NOTHING = "(?!)"


def text_pattern(text: object) -> str:
    """Return a regular expression for exactly this text; an empty one for none.

    Raises:
        InvalidValueError: If it is no text, or too long.
    """
    if text is None:
        return ""
    if not isinstance(text, str):
        raise InvalidValueError("text", f"must be a string, not {type(text).__name__}")
    if len(text) > _MAX_CHARACTERS:
        raise InvalidValueError("text", f"is longer than {_MAX_CHARACTERS:,} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        return _NOTHING
    return re.escape(text).replace("\0", "\\x00")


async def search(
    connection: Connection,
    filter: StoredDocument,
    order: SortOrder,
    place: SortKey | None,
    pattern: str,
    limit: int,
) -> list[StoredDocument]:
    """Return the first threads behind a place that have a text in their names or messages."""
    hits: list[StoredDocument] = []
    if pattern == _NOTHING:
        return hits
    named = re.compile(pattern, re.IGNORECASE)
    # A content is a text, or a list of parts of which some have one.
    in_content = [{path: {"$regex": pattern, "$options": "i"}} for path in ("content", "content.text")]

    async def find_some() -> tuple[list[StoredDocument], StoredDocument | None]:
        """Return some threads that have it, and the last one looked at if there are more."""
        # Where that takes too long, an attempt looks at fewer.
        some = max(_SEARCH_BATCH >> 2 * current_operation().attempt, 1)
        documents = await find_page(connection, "threads", order.keyset_filter(filter, place), order, some)
        unnamed = [document["_id"] for document in documents if not named.search(_name_text(document))]
        said = {"thread_id": {"$in": unnamed}, "$or": in_content}
        pipeline: list[StoredDocument] = [{"$match": said}, {"$group": {"_id": "$thread_id"}}]
        async with await connection.collection("messages").aggregate(pipeline) as cursor:
            missed = {*unnamed} - {hit["_id"] for hit in await cursor.to_list()}
        found = [document for document in documents if document["_id"] not in missed]
        return found, documents[-1] if len(documents) == some else None

    while True:
        found, last = await read_step(connection, find_some)
        hits += found
        if len(hits) >= limit or last is None:
            return hits[:limit]
        place = order.sort_key(last)


def _name_text(document: StoredDocument) -> str:
    name = decode(document.get("name"))
    return name if isinstance(name, str) else ""
