"""Threads: merged into, listed by activity, searched and deleted; `store.threads`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Unpack

from pymongo.errors import DuplicateKeyError

from mongostore.documents.stored import Raw, check_size, given
from mongostore.documents.threads import to_stored_thread_member, to_thread
from mongostore.errors import AlreadyExistsError, InvalidDocumentError, InvalidValueError, NotFoundError
from mongostore.models import Page, Thread, ThreadMembers
from mongostore.repositories import Repository, current_call, long_running, reads, settled_step, writes
from mongostore.repositories.paging import Order, Place
from mongostore.repositories.threads.upkeep import delete_elements, new_thread, upsert_thread
from mongostore.values import (
    check_flag,
    check_id,
    check_limit,
    check_members,
    check_vote,
    pack_members,
    to_micros,
    unpack,
)

_ITER_PAGE = 200
_SEARCHED_AT_ONCE = 50
# The server takes patterns of up to 32 kB, and escaping makes four bytes of a character.
_MAX_SEARCH = 4_000
_NEWEST = Order("active_at", rising=False)
# Nobody still writes to a thread that was deleted so long ago.
_TOMBSTONE = timedelta(days=30)
_MERGED = ("data", "metadata")
# What goes with a deleted thread.
_SAID = [
    *("kind", "owner_id", "user_id", "user_identifier", "name", "tags", "data", "metadata"),
    *("votes", "has_pinned"),
]


class ThreadRepository(Repository):
    """Threads of users, and those that nobody has claimed yet.

    A deleted thread stays deleted: for thirty days nothing that comes late brings it back. Ids are plain
    strings of at most 512 bytes. Beside the errors that it names, every verb raises `UnavailableError`
    when the server does not answer within the store's timeout, `AccessDeniedError` when the user lacks
    the right, and `NotOpenError` on a store that is not open.
    """

    @writes
    async def create(self, thread_id: str | None = None, **members: Unpack[ThreadMembers]) -> Thread:
        """Create a thread, with an id of its own when none is given.

        Raises:
            AlreadyExistsError: The id is taken, if only by a deleted thread.
            NotFoundError: There is no such user.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        call = current_call()
        key = check_id("thread_id", call.token if thread_id is None else thread_id)
        sets, _ = await self._update(check_members(members, ThreadMembers))
        document = new_thread(call.now)
        for path, value in sets.items():
            parent, _, name = path.partition(".")
            (document[parent] if name else document)[name or parent] = value
        try:
            await self._threads.insert_one({"_id": key, "created_by": call.token, **document})
        except DuplicateKeyError:
            there = await self._threads.find_one({"_id": key}, {"created_by": 1})
            if there is None or there.get("created_by") != call.token:
                raise AlreadyExistsError("thread", key) from None
        return to_thread({"_id": key, **document})

    @writes
    async def merge(self, thread_id: str, *, adds: bool = False, **members: Unpack[ThreadMembers]) -> None:
        """Change the given members of a thread, which is made if it is not there; the others stay.

        Args:
            thread_id: The thread.
            adds: Whether to change nothing if a key that it would set in `data` or `metadata` is there.
            **members: Those of `ThreadMembers`; `data` and `metadata` are merged key by key, None
                removing a key.

        Raises:
            NotFoundError: The thread is deleted, or there is no such user; nothing was changed.
            ConflictError: What it is to add is there already.
            InvalidValueError: A value cannot be stored, or there is no such member.
            DocumentTooLargeError: It would take too much; it is left as it was.
        """
        key = check_id("thread_id", thread_id)
        sets, unset = await self._update(check_members(members, ThreadMembers))
        update: Raw = {"$unset": unset} if unset else {}
        if sets:
            update["$set"] = sets
        added = [path for path in sets if "." in path] if check_flag("adds", adds) else []
        await upsert_thread(self._connection, key, update, current_call().now, added)

    @reads
    async def get(self, thread_id: str) -> Thread:
        """Return a thread.

        Raises:
            NotFoundError: There is no such thread, or it is deleted.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        thread = await self.find(thread_id)
        if thread is None:
            raise NotFoundError("thread", thread_id)
        return thread

    @reads
    async def find(self, thread_id: str) -> Thread | None:
        """Return a thread, None where there is none or it is deleted.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._threads.find_one({"_id": check_id("thread_id", thread_id), "state": "open"})
        return None if raw is None else to_thread(raw)

    @reads
    async def list(
        self,
        user_id: str,
        *,
        search: str | None = None,
        vote: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Thread]:
        """Return a page of a user's threads, the one with the newest message first.

        Args:
            user_id: The user.
            search: Only those whose name, or the text of one of whose messages, has this in it, upper and
                lower case alike; at most 4,000 characters. The threads are walked from the newest on until
                the page is full.
            vote: Only those with a feedback of this value.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before.

        Returns:
            The page; threads that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range, or no such cursor was given.
        """
        limit = check_limit("limit", limit)
        where: Raw = {"user_id": check_id("user_id", user_id), "state": "open"}
        if vote is not None:
            where["votes.value"] = check_vote("vote", vote)
        place = _NEWEST.decode(cursor)
        if text := _check_search(search):
            raws = await self._search(where, place, text, limit + 1)
        else:
            raws = await self._page(_NEWEST.behind(where, place), limit + 1)
        return _NEWEST.page(raws, limit, to_thread)

    def cursor_of(self, thread: Thread) -> str:
        """Return the cursor of the page that begins behind a thread which a list has shown.

        Raises:
            InvalidValueError: It is no such thread.
        """
        shown = given("thread", thread, Thread)
        return _NEWEST.cursor((to_micros("active_at", shown.active_at), check_id("id", shown.id)))

    @long_running
    async def iter(
        self,
        user_id: str | None = None,
        *,
        kind: str | None = None,
        owner_id: str | None = None,
        name: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> AsyncIterator[Thread]:
        """Yield all threads of a user, or of a kind, by id, passing over those that cannot be read.

        Args:
            user_id: Only those of this user.
            kind: Only those of this kind.
            owner_id: Only those of this owner.
            name: Only those with this very name.
            data: Only those whose data have these values.

        Raises:
            InvalidValueError: An argument is of the wrong type, or neither a user nor a kind is given.
        """
        if user_id is None and kind is None:
            raise InvalidValueError("user_id", "must be given, or a kind")
        given = {"user_id": user_id, "kind": kind, "owner_id": owner_id, "name": name}
        where: Raw = {
            name: to_stored_thread_member(name, value) for name, value in given.items() if value is not None
        }
        # By `$eq`, for a key of a value may look like an operator.
        where |= {f"data.{key}": {"$eq": value} for key, value in pack_members("data", data or {}).items()}
        where["state"] = "open"
        while True:
            raws = await settled_step(self._connection, self._page, where, _ITER_PAGE, [("_id", 1)])
            for raw in raws:
                with suppress(InvalidDocumentError):
                    thread = to_thread(raw)
                    # A server finds a list by what is in it, too.
                    if all(thread.data.get(key) == value for key, value in (data or {}).items()):
                        yield thread
            if len(raws) < _ITER_PAGE:
                return
            where["_id"] = {"$gt": raws[-1]["_id"]}

    @writes
    async def delete(self, thread_id: str) -> bool:
        """Delete a thread for good, with its messages, elements and their files; return whether it was there.

        From the first moment on nobody finds it. A deletion that is cut short goes on when the thread is
        deleted again.

        Raises:
            InvalidValueError: The id is no plain string.
        """
        call, key = current_call(), check_id("thread_id", thread_id)
        deleted = await self._threads.update_one(
            {"_id": key, "state": "open"},
            {
                "$set": {
                    "state": "deleted",
                    "deleted_by": call.token,
                    "expires_at": datetime.now(UTC) + _TOMBSTONE,
                },
                "$unset": dict.fromkeys(_SAID, ""),
            },
        )
        mine = {"_id": key, "state": "deleted", "deleted_by": call.token}
        was_there = bool(deleted.matched_count) or (
            call.attempt > 0 and await self._threads.find_one(mine, {"_id": 1}) is not None
        )
        await self._connection.collection("messages").delete_many({"thread_id": key})
        await delete_elements(self._connection, {"thread_id": key})
        return was_there

    @property
    def _threads(self) -> Any:
        return self._connection.collection("threads")

    async def _update(self, members: dict[str, Any]) -> tuple[Raw, Raw]:
        """Return what is to be set and what unset for members of a thread."""
        sets: Raw = {}
        unset: Raw = {}
        for name, value in members.items():
            if name in _MERGED:
                packed = pack_members(name, value)
                sets |= {f"{name}.{key}": item for key, item in packed.items() if item is not None}
                unset |= {f"{name}.{key}": "" for key, item in packed.items() if item is None}
            else:
                sets[name] = to_stored_thread_member(name, value)
        if "user_id" in sets:
            users = self._connection.collection("users")
            user = await users.find_one({"_id": sets["user_id"]}, {"identifier": 1})
            if user is None:
                raise NotFoundError("user", sets["user_id"])
            sets["user_identifier"] = user["identifier"]
        check_size("the thread", sets)
        return sets, unset

    async def _page(self, where: Raw, limit: int, sort: Sequence[tuple[str, int]] | None = None) -> Any:
        found = self._threads.find(where, sort=sort or _NEWEST.sort, limit=limit, batch_size=limit + 1)
        async with found:
            return await found.to_list()

    async def _search(self, where: Raw, place: Place | None, text: str, limit: int) -> Any:
        """Return the newest threads that have a text in their names or messages."""
        pattern = _literal(text)
        if pattern is None:
            return []
        messages = self._connection.collection("messages")
        named = re.compile(pattern, re.IGNORECASE)
        hits: Any = []
        while True:
            raws: Any = await self._page(_NEWEST.behind(where, place), _SEARCHED_AT_ONCE)
            unnamed = [raw["_id"] for raw in raws if not named.search(_name_of(raw))]
            said = {"thread_id": {"$in": unnamed}, "content": {"$regex": pattern, "$options": "i"}}
            async with await messages.aggregate(
                [{"$match": said}, {"$group": {"_id": "$thread_id"}}]
            ) as cursor:
                missed = {*unnamed} - {found["_id"] for found in await cursor.to_list()}
            hits += [raw for raw in raws if raw["_id"] not in missed]
            if len(hits) >= limit or len(raws) < _SEARCHED_AT_ONCE:
                return hits[:limit]
            place = _NEWEST.place_of(raws[-1])


def _check_search(search: object) -> str:
    if search is None:
        return ""
    if not isinstance(search, str):
        raise InvalidValueError("search", f"must be a string, not {type(search).__name__}")
    if len(search) > _MAX_SEARCH:
        raise InvalidValueError("search", f"is longer than {_MAX_SEARCH:,} characters")
    return search


def _name_of(raw: Raw) -> str:
    name = unpack(raw.get("name"))
    return name if isinstance(name, str) else ""


def _literal(text: str) -> str | None:
    """Return a regular expression for exactly this text; None where no stored text can have it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return re.escape(text).replace("\0", "\\x00")
