"""Finds the conversations of a house that have some words, in the order of a list and in bounded steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo.errors import OperationFailure

from mongostore.documents.mapping import StoredDocument
from mongostore.repositories import Connection, read_step, retry_step
from mongostore.repositories.paging import SortKey, SortOrder
from mongostore.repositories.search.indexer import Indexer
from mongostore.repositories.search.texts import TEXT_FIELDS
from mongostore.repositories.search.unindexed import HAS_NO_WORDS, UNINDEXED
from mongostore.repositories.search.words import Terms

# A word that so few documents have is looked up; of a more frequent one the list itself is walked.
FEW = 1_000
BATCH = 50
MOST_BATCHES = 10
# A search makes the words of some documents at once, and then those of the conversations that it looks at.
FIRST_STEPS = 3
MOST_STEPS = 10
_CHECKED_AT_ONCE = 100
MOST_CHECKED = 2_000
_FORBIDDEN = 13
# By name, for a plan that was right for one word may be kept for another one, of which it reads everything.
_INDEXES: Final = {
    "sessions": "sessions_by_word",
    "session_segments": "segments_by_word",
    "session_turns": "turns_by_word",
    "threads": "threads_by_word",
    "messages": "messages_by_word",
    "rooms": "rooms_by_word",
    "events": "events_by_word",
}

FindHeads = Callable[[StoredDocument, SortKey | None, int], Awaitable[Sequence[StoredDocument]]]


@dataclass(frozen=True)
class House:
    """Where the texts of a house lie.

    Attributes:
        owners: Its collections, each with the field that names the conversation.
        is_packed: Whether a document has several messages.
        is_marked: Whether words are made when a search comes, and not by each write.
    """

    owners: Mapping[str, str]
    is_packed: bool = False
    is_unindexed: bool = True


SESSIONS: Final = House(
    {"sessions": "_id", "session_segments": "session", "session_turns": "session"}, is_packed=True
)
THREADS: Final = House({"threads": "_id", "messages": "thread_id"}, is_unindexed=False)
ROOMS: Final = House({"rooms": "_id", "events": "room_id"})


class TextSearch:
    """A search for terms among the conversations of a house.

    Args:
        connection: The connection.
        house: The house.
        terms: The words to find.
        scopes: Filters of the documents of its collections that may be found at all.
    """

    def __init__(
        self,
        connection: Connection,
        house: House,
        terms: Terms,
        scopes: Mapping[str, StoredDocument] | None = None,
    ) -> None:
        self._connection = connection
        self._house = house
        self._terms = terms
        self._scopes = scopes or {}
        self._indexer = Indexer(connection)
        self._owners = house.owners

    async def page(
        self, find_heads: FindHeads, order: SortOrder, after: SortKey | None, limit: int
    ) -> tuple[list[StoredDocument], SortKey | None]:
        """Return the first conversations after a sort key that have the terms, and where to go on.

        They may be fewer than `limit`, even none, while others follow: a page looks at a bounded number of
        documents.

        Args:
            find_heads: Returns some conversations of the list that a filter matches, after a sort key.
            order: The order of the list.
            after: The sort key of the last one before them; None for the first page.
            limit: How many at most.
        """
        if not await self._make_words(FIRST_STEPS):
            # After a large import many lack them: those of the list in turn get them first.
            return await self._walk(find_heads, order, after, limit, steps=MOST_STEPS)
        few = await read_step(self._connection, self._find_few)
        if few is None:
            return await self._walk(find_heads, order, after, limit)
        if not few:
            return [], None
        found = await read_step(self._connection, find_heads, {"_id": {"$in": sorted(few)}}, after, limit + 1)
        return list(found[:limit]), order.sort_key(found[limit - 1]) if len(found) > limit else None

    async def _make_words(self, steps: int, ids: list[Any] | None = None) -> int:
        """Make the words of what was written since the search before.

        Args:
            steps: How many steps may leave some for the next one.
            ids: The conversations to make them for; None for all.

        Returns:
            How many are left; 0 if some still lack words.
        """
        if not self._house.is_unindexed or not self._terms.words:
            return steps
        for collection, owner in self._owners.items():
            scope = self._scope(collection) | ({} if ids is None else {owner: {"$in": ids}})
            try:
                while not await retry_step(self._connection, self._indexer.run_step, collection, scope):
                    steps -= 1
                    if not steps:
                        return 0
            except OperationFailure as error:
                if error.code != _FORBIDDEN:
                    raise
                # Those without the right to write find what others have made words of.
                break
        return steps

    def _scope(self, collection: str) -> StoredDocument:
        return self._scopes.get(collection, {})

    async def _find_few(self) -> set[str] | None:
        """Return the conversations that have the terms, if few documents have one of the words; else None."""
        for word in self._terms.words:
            found: dict[str, list[StoredDocument]] = {}
            for collection, owner in self._owners.items():
                fields = dict.fromkeys(
                    (owner, UNINDEXED, "revision", *(["words"] if self._has_more else [])), 1
                )
                filter = {**self._scope(collection), **self._terms.word_filter(word)}
                found[collection] = await self._find(collection, filter, fields, hint=_INDEXES[collection])
            if sum(map(len, found.values())) <= FEW:
                owners = [await self._owners_of(name, documents) for name, documents in found.items()]
                return set[str]().union(*owners)
        return None

    @property
    def _has_more(self) -> bool:
        return len(self._terms.words) > 1

    async def _owners_of(self, collection: str, documents: list[StoredDocument]) -> set[str]:
        """Return the conversations of those documents that have the terms."""
        owner = self._owners[collection]
        having = [one for one in documents if not self._has_more or self._terms.has_words(one["words"])]
        sure = {one[owner] for one in having if not self._is_unsure(collection, one)}
        unsure = [one["_id"] for one in having if self._is_unsure(collection, one) and one[owner] not in sure]
        fields = {owner: 1, **dict.fromkeys(TEXT_FIELDS[collection], 1)}
        for first in range(0, len(unsure), _CHECKED_AT_ONCE):
            ids = unsure[first : first + _CHECKED_AT_ONCE]
            sure |= await self._check(collection, await self._find(collection, {"_id": {"$in": ids}}, fields))
        return {one for one in sure if isinstance(one, str)}

    def _is_unsure(self, collection: str, document: StoredDocument) -> bool:
        """Return whether the words of a document do not tell that one of its messages has all terms."""
        # Of a text that was written once its words are, whether marked or not.
        is_changed = UNINDEXED in document and document.get("revision") != 1
        return bool(self._terms.literals) or (self._house.is_packed and self._has_more) or is_changed

    async def _check(self, collection: str, documents: Sequence[StoredDocument]) -> set[str]:
        """Return the conversations of those documents of which a text has the terms."""
        owner, found = self._owners[collection], set()
        for document in documents:
            units = await self._indexer.units(collection, document)
            if any(self._terms.is_in(unit) for unit in units):
                found.add(document[owner])
        return found

    async def _walk(
        self,
        find_heads: FindHeads,
        order: SortOrder,
        after: SortKey | None,
        limit: int,
        steps: int | None = None,
    ) -> tuple[list[StoredDocument], SortKey | None]:
        """Return conversations that have the terms by looking at each of the list in turn.

        Args:
            find_heads: As of `page`, like all others.
            order: The order.
            after: The sort key of the last one before them.
            limit: The limit.
            steps: How many steps may make words; None where all have them.
        """
        found: list[StoredDocument] = []
        batch = BATCH if steps is None else min(BATCH, 2 * limit)
        for _ in range(MOST_BATCHES):
            heads = await read_step(self._connection, find_heads, {}, after, batch)
            ids = [head["_id"] for head in heads]
            if steps is not None and not (steps := await self._make_words(steps, ids)):
                return found, after or order.start
            having = await read_step(self._connection, self._having, ids)
            for head in heads:
                after = order.sort_key(head)
                if head["_id"] in having:
                    found.append(head)
                    if len(found) == limit:
                        return found, after
            if len(heads) < batch:
                return found, None
        return found, after

    async def _having(self, ids: list[Any]) -> set[str]:
        """Return those of some conversations that have the terms."""
        having: set[str] = set()
        for collection, owner in self._owners.items():
            asked = [one for one in ids if one not in having]
            words = [self._terms.word_filter(word) for word in self._terms.words]
            filter: StoredDocument = {owner: {"$in": asked}, **({"$and": words} if words else {})}
            if not self._is_unsure(collection, {}):
                having |= await self._grouped(
                    collection, {**filter, "$or": [{UNINDEXED: None}, {"revision": 1}]}
                )
                if self._house.is_unindexed:
                    continue
                filter |= {**HAS_NO_WORDS, "revision": {"$ne": 1}}
            having |= await self._checked(collection, filter, asked)
        return having

    async def _grouped(self, collection: str, filter: StoredDocument) -> set[str]:
        pipeline: list[StoredDocument] = [
            {"$match": filter},
            {"$group": {"_id": f"${self._owners[collection]}"}},
        ]
        options: dict[str, Any] = {} if self._owners[collection] == "_id" else {"hint": _INDEXES[collection]}
        found = await self._connection.collection(collection).aggregate_all(pipeline, **options)
        return {group["_id"] for group in found}

    async def _checked(self, collection: str, filter: StoredDocument, ids: list[Any]) -> set[str]:
        """Return those conversations whose texts have the terms; half of them at a time if that is much."""
        owner = self._owners[collection]
        fields = {owner: 1, **dict.fromkeys(TEXT_FIELDS[collection], 1)}
        documents = await self._find(collection, {**filter, owner: {"$in": ids}}, fields, limit=MOST_CHECKED)
        found = await self._check(collection, documents)
        if len(documents) == MOST_CHECKED and len(ids) > 1:
            for half in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
                found |= await self._checked(collection, filter, [one for one in half if one not in found])
        return found

    async def _find(
        self,
        collection: str,
        filter: StoredDocument,
        fields: StoredDocument,
        limit: int = FEW + 1,
        hint: str | None = None,
    ) -> list[StoredDocument]:
        documents = self._connection.collection(collection)
        return await documents.find_all(filter, fields, limit=limit, hint=hint)
