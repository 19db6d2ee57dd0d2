"""Makes the words of what was written since the search before."""

from __future__ import annotations

from typing import Any

from pymongo import UpdateOne

from mongostore.codec import decode
from mongostore.documents.mapping import StoredDocument
from mongostore.repositories import Connection
from mongostore.repositories.search.texts import PACKED, TEXT_FIELDS, units_of
from mongostore.repositories.search.unindexed import HAS_NO_WORDS, UNINDEXED
from mongostore.repositories.search.words import words_of

# How many documents a step reads at most; a session's or a segment's has many messages.
STEP = {"sessions": 50, "session_segments": 50, "session_turns": 200}
SMALL_STEP = 500
_INDEXES = {
    "sessions": "sessions_without_words",
    "session_segments": "segments_without_words",
    "session_turns": "turns_without_words",
    "rooms": "rooms_without_words",
    "events": "events_without_words",
}
_MOST_CHARACTERS = 8_000_000
# So many words a step stores, and those of its last document: each takes the server 5 µs, or more under load.
MOST_WORDS = 10_000
# A document may take 16 MiB with its words.
_MOST_BYTES = 15 * 1024 * 1024


class Indexer:
    """Makes words, a step of a collection at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def run_step(self, collection: str, scope: StoredDocument) -> bool:
        """Make the words of some marked documents; return whether none is left in the scope."""
        limit = STEP.get(collection, SMALL_STEP)
        fields = dict.fromkeys([*TEXT_FIELDS[collection], UNINDEXED], 1)
        updates, characters, count, is_full = [], 0, 0, False
        # By name: a plan without it reads the whole collection, for the mark is no key of the index.
        found = self._connection.collection(collection).find(
            {**scope, **HAS_NO_WORDS}, fields, limit=limit, batch_size=limit + 1, hint=_INDEXES[collection]
        )
        async with found:
            async for document in found:
                texts = [text for unit in await self.units(collection, document) for text in unit]
                length = sum(map(len, texts))
                words = words_of(texts) if length <= _MOST_BYTES // 4 else []
                characters, count = characters + length, count + len(words)
                updates.append(_update_of(document, words))
                is_full = characters > _MOST_CHARACTERS or count > MOST_WORDS
                if is_full:
                    break
        if updates:
            await self.write(collection, updates)
        return not is_full and len(updates) < limit

    async def units(self, collection: str, document: StoredDocument) -> list[list[str]]:
        """Return the texts of each message in a document, also of those that are stored apart."""
        units = [*units_of(collection, document)]
        messages = document.get(PACKED.get(collection, ""))
        for message in messages if isinstance(messages, list) else ():
            if isinstance(message, dict) and isinstance(key := message.get("overflow"), str):
                apart = await self._connection.collection("session_overflows").find_one({"_id": key})
                value = decode((apart or {}).get("value"))
                units += units_of("messages", value if isinstance(value, dict) else {})
        return units

    async def write(self, collection: str, updates: list[UpdateOne]) -> None:
        """Store words where the texts are still those that they were made of."""
        # Not through the guard, which would take this for a change of texts.
        target: Any = self._connection.engine.collection(collection)
        await target.bulk_write(updates, ordered=False)


def _update_of(document: StoredDocument, words: list[str]) -> UpdateOne:
    change: StoredDocument = (
        {"$unset": {UNINDEXED: ""}, "$set": {"words": words}}
        if words
        else {"$unset": {UNINDEXED: "", "words": ""}}
    )
    return UpdateOne({"_id": document["_id"], UNINDEXED: document[UNINDEXED]}, change)
