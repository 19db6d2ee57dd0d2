"""Limits of members that grow by merging, counted in the document and checked in the write that merges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from mongostore.documents.mapping import StoredDocument, bson_size
from mongostore.errors import DocumentTooLargeError

T = TypeVar("T")


@dataclass(frozen=True)
class SizeLimit:
    """The limit of what some members of a document take together.

    A field of the document counts the bytes that were written to them, which are at least their size. Only
    where the count does not allow a write, they are read, and the write sets their true size.

    Attributes:
        kind: The name of the document in errors.
        members: The members; in the path of a write, a key of theirs stands behind a dot.
        limit: The bytes that they may take.
        field: The field that counts.
        remedy: The way to make room, as errors name it.
    """

    kind: str
    members: tuple[str, ...]
    limit: int
    field: str = "merged_size"
    remedy: str = "remove keys or shorten values"

    def count(self, name: str, document: StoredDocument) -> StoredDocument:
        """Return the field that counts, for a new document."""
        return {self.field: self._check(name, self._paths(document))}

    def added(self, name: str, update: StoredDocument) -> int:
        """Return the number of bytes that an update adds at most."""
        written = self._written(update)
        return self._check(name, written) if written else 0

    def allows(self, document: StoredDocument, added: int) -> bool:
        """Return whether the count of a document allows so many bytes more."""
        return not added or document.get(self.field, 0) <= self.limit - added

    def allowing(self, added: int) -> StoredDocument:
        """Return the filter of the documents whose count allows so many bytes more."""
        # A document that does not count yet has none.
        return {self.field: {"$not": {"$gt": self.limit - added}}} if added else {}

    def counted(self, update: StoredDocument, added: int) -> StoredDocument:
        """Return an update that counts the bytes that it adds."""
        return {**update, "$inc": {**update.get("$inc", {}), self.field: added}} if added else update

    def exact(self, name: str, document: StoredDocument, update: StoredDocument) -> StoredDocument:
        """Return an update that sets the true size which a document has after it."""
        size = self._check(name, self._after(self._paths(document), update, self._written(update)))
        counts = {path: count for path, count in update.get("$inc", {}).items() if path != self.field}
        update = {operator: paths for operator, paths in update.items() if operator != "$inc"}
        counted = {"$inc": counts} if counts else {}
        return {**update, **counted, "$set": {**update.get("$set", {}), self.field: size}}

    async def write(
        self,
        documents: Any,
        name: str,
        filter: StoredDocument,
        update: StoredDocument,
        run: Callable[[StoredDocument, StoredDocument], Awaitable[T | None]],
        session: Any = None,
    ) -> T | None:
        """Run a write within the limit, and return what it returns; None where it finds no document.

        Args:
            documents: The collection of the document.
            name: The id of the document, as errors call it.
            filter: The filter of the write, with the `_id`.
            update: The update.
            run: Runs the write.
            session: The session of the transaction that the write is part of, if it is.

        Raises:
            DocumentTooLargeError: If the members would take more than the limit; nothing was written.
        """
        written = self._written(update)
        if not written:
            return await run(filter, update)
        added, tried = self._check(name, written), None
        while True:
            result = await run({**filter, **self.allowing(added)}, self.counted(update, added))
            if result is not None:
                return result
            document = await documents.find_one(
                {"_id": filter["_id"]}, [*self.members, self.field], session=session
            )
            count = (document or {}).get(self.field, 0)
            if document is None or self.allows(document, added) or count == tried:
                return None
            # Any other write would have raised the count.
            result = await run({**filter, self.field: count}, self.exact(name, document, update))
            if result is not None:
                return result
            tried = count

    @staticmethod
    def _after(before: StoredDocument, update: StoredDocument, written: StoredDocument) -> StoredDocument:
        """Return the values by their paths after an update."""
        pushed = {path: [*before[path], *written[path]] for path in _pushed(update).keys() & before.keys()}
        replaced = tuple(f"{path}." for path in written)
        removed = update.get("$unset", {})
        stay = {
            path: one for path, one in before.items() if path not in removed and not path.startswith(replaced)
        }
        return {**stay, **written, **pushed}

    def _check(self, name: str, values: StoredDocument) -> int:
        if (size := bson_size(self.kind, values)) > self.limit:
            what = f"{self.kind} {name!r}, of which {', '.join(self.members)} count,"
            raise DocumentTooLargeError(what, size, self.limit, self.remedy)
        return size

    def _written(self, update: StoredDocument) -> StoredDocument:
        """Return what an update writes to the members, by paths."""
        written = {**update.get("$set", {}), **_pushed(update)}
        return {path: value for path, value in written.items() if path.partition(".")[0] in self.members}

    def _paths(self, document: StoredDocument) -> StoredDocument:
        """Return the values of the members by their paths, as a write names them."""
        paths: StoredDocument = {}
        for member in self.members:
            value = document.get(member)
            keys = value if isinstance(value, dict) else {}
            paths |= {f"{member}.{key}": one for key, one in keys.items()} or {member: value}
        return paths


def _pushed(update: StoredDocument) -> StoredDocument:
    """Return the elements that an update adds to lists, by paths."""
    pushes = {**update.get("$push", {}), **update.get("$addToSet", {})}
    return {path: value["$each"] for path, value in pushes.items()}
