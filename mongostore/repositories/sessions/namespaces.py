"""The namespaces that have sessions: `store.sessions.namespaces`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Sequence
from typing import Any, Unpack

from mongostore.arguments import check_flag, check_id, check_limit, decode_cursor, encode_cursor
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.sessions import PUBLIC_FIELDS, to_session
from mongostore.errors import InvalidValueError
from mongostore.models import Page, Session, SessionFilter
from mongostore.repositories import CollectionOf, long_running, majority_step, reads
from mongostore.repositories.paging import list_order
from mongostore.repositories.sessions.session_lists import list_sessions
from mongostore.repositories.sessions.storage import SessionRepository

# Each name is a look-up of its own in an index, for which thousands of sessions of one name are not read.
_STEP = 50
# The sessions of so many namespaces are looked up at once.
_LOOKED_UP = 1_000


class AsyncNamespaces(SessionRepository):
    """The namespaces that have sessions, deleted ones included."""

    _sessions = CollectionOf("sessions")

    @reads
    async def exists(self, namespace: str) -> bool:
        """Return whether a namespace has sessions.

        Raises:
            InvalidValueError: If the name is no plain string.
        """
        return (
            await self._sessions.find_one({"namespace": check_id("namespace", namespace)}, ["_id"])
            is not None
        )

    @reads
    async def list(self, *, limit: int = 50, cursor: str | None = None, newest: bool = False) -> Page[str]:
        """Return a page of namespaces, in alphabetical order.

        Args:
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.
            newest: Whether the page is taken from the end of the alphabet, backwards.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        limit, newest = check_limit("limit", limit), check_flag("newest", newest)
        after = None if cursor is None else _decode(cursor)
        found = await self._names(after, limit + 1, newest)
        return Page(found[:limit], encode_cursor([found[limit - 1]]) if len(found) > limit else None)

    @long_running
    async def iter_sessions(self, session_id: str) -> AsyncIterator[Session]:
        """Yield the sessions that have an id, in alphabetical order of their namespaces.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If one of them cannot be read.
        """
        check_id("session_id", session_id)
        for document in await majority_step(self._connection, self._find_all, session_id):
            yield to_session(document)

    @long_running
    async def list_sessions(
        self,
        *,
        newest: bool = True,
        limit: int = 50,
        cursor: str | None = None,
        **where: Unpack[SessionFilter],
    ) -> Page[Session]:
        """Return a page of sessions of all namespaces, by newest activity.

        Sessions that cannot be read are in the `errors` of the page. With `text` a page may be short, even
        empty, while others follow.

        Args:
            newest: Whether the most recently active come first.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments, or what
                `store.sessions.cursor_of` gives.
            **where: Which sessions.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        limit, order = check_limit("limit", limit), list_order("active", newest)
        return await list_sessions(self._storage, None, order, where).page(limit, cursor)

    @long_running
    async def iter(self) -> AsyncIterator[str]:
        """Yield all namespaces, in alphabetical order.

        Raises:
            MongoStoreError: If the server refuses.
        """
        after: str | None = None
        while True:
            found = await majority_step(self._connection, self._names, after, _STEP, False)
            for name in found:
                yield name
            if len(found) < _STEP:
                return
            after = found[-1]

    async def _find_all(self, session_id: str) -> builtins.list[StoredDocument]:
        """Return the sessions of all namespaces that have an id."""
        found: builtins.list[StoredDocument] = []
        # Without a filter, with which a server would read the keys of all sessions. Of names in a cursor
        # there may be any number.
        async with await self._sessions.aggregate([{"$group": {"_id": "$namespace"}}]) as cursor:
            while names := await cursor.to_list(_LOOKED_UP):
                found += await self._find_in([name["_id"] for name in names], session_id)
        found.sort(key=lambda document: str(document["namespace"]))
        return await self._storage.insights.load_into(found)

    async def _find_in(self, namespaces: Sequence[Any], session_id: str) -> builtins.list[StoredDocument]:
        verbs = [self._storage.in_namespace(name) for name in namespaces if isinstance(name, str)]
        keys = [one.key(session_id) for one in verbs]
        return await self._sessions.find_all({"_id": {"$in": keys}, "state": "open"}, PUBLIC_FIELDS)

    async def _names(self, after: str | None, limit: int, newest: bool) -> builtins.list[str]:
        """Return the first names after one."""
        names: builtins.list[str] = []
        while len(names) < limit:
            beyond = {} if after is None else {"$lt" if newest else "$gt": after}
            found = await self._sessions.find_one(
                {"namespace": {**beyond, "$type": "string"}},
                {"_id": 0, "namespace": 1},
                sort=[("namespace", -1 if newest else 1)],
            )
            if found is None:
                break
            after = found["namespace"]
            names.append(after)
        return names


def _decode(cursor: object) -> str:
    match decode_cursor(cursor):
        case [str(name)]:
            return check_id("cursor", name)
    raise InvalidValueError("cursor", "is not one that a page gave")
