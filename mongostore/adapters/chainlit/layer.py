"""Chainlit's `BaseDataLayer` on MongoDB."""

from __future__ import annotations

import asyncio
import functools
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from chainlit.data.base import BaseDataLayer
from chainlit.data.storage_clients.base import BaseStorageClient
from chainlit.element import Element, ElementDict
from chainlit.step import StepDict
from chainlit.types import Feedback, PageInfo, PaginatedResponse, Pagination, ThreadDict, ThreadFilter
from chainlit.user import PersistedUser, User

from mongostore import models
from mongostore.adapters.chainlit.access import find_thread, follow_requests, may_write
from mongostore.adapters.chainlit.conversions import (
    NAME_CHARACTERS,
    SHARING,
    file_key_of,
    from_element,
    from_step,
    parents_first,
    to_element,
    to_step,
    to_thread,
    to_user,
    without_old_sharing,
)
from mongostore.adapters.chainlit.failures import log_failures
from mongostore.adapters.chainlit.storage import GridFSStorageClient
from mongostore.adapters.chainlit.write_order import Write, WriteOrder, in_order
from mongostore.errors import (
    AccessDeniedError,
    ConflictError,
    InvalidDocumentError,
    InvalidValueError,
    NotFoundError,
)
from mongostore.shared_store import SharedStore
from mongostore.store import AsyncMongoStore
from mongostore.unreadable import log_unreadable

_MOST_AT_ONCE = 1000
# A message that is in no thread comes into one between a look and a write at most once.
_LOOKS = 2


class MongoDataLayer(BaseDataLayer):
    """Users, threads, steps, elements and feedback of Chainlit in MongoDB.

    Connects when it is first used, in the event loop that uses it. Writes of one step or element are carried
    out in the order of their calls. A late step of a deleted thread is dropped; a talk that begins after
    the deletion is stored. A step that cannot be stored is logged by its id, and raised.

    Args:
        uri: As for `AsyncMongoStore`; else `MONGOSTORE_URI`.
        database: Likewise.
        storage_provider: Where the files of elements go; else to GridFS, in the same database.
        store: An open store to use instead; it stays open when this layer is closed.
    """

    def __init__(
        self,
        uri: str | None = None,
        database: str | None = None,
        storage_provider: BaseStorageClient | None = None,
        *,
        store: AsyncMongoStore | None = None,
    ) -> None:
        self._user = SharedStore(uri, database, store)
        self._storage = storage_provider or GridFSStorageClient(uri, database, store=store)
        self._order = WriteOrder()
        follow_requests()
        # Only files in the store's own database go when what they belong to goes.
        self._is_in_store = isinstance(
            self._storage, GridFSStorageClient
        ) and self._storage.is_in_database_of(self._user)

    async def get_user(self, identifier: str) -> PersistedUser | None:
        store = await self._user.get()
        return to_user(await store.threads.users.find_by_identifier(identifier))

    async def create_user(self, user: User) -> PersistedUser | None:
        store = await self._user.get()
        return to_user(await store.threads.users.upsert(user.identifier, metadata=user.metadata))

    async def upsert_feedback(self, feedback: Feedback) -> str:
        store = await self._user.get()
        named = {"id": feedback.id} if feedback.id else {}
        stored = models.Feedback(
            message_id=feedback.forId, value=feedback.value, comment=feedback.comment, **named
        )
        thread_id = await self._find_voted_thread(store, feedback)
        try:
            return (await store.threads.feedback.upsert(thread_id, stored)).id
        except ConflictError:
            if thread_id is not None:
                raise
        # The message has come into its thread meanwhile.
        thread_id = await self._find_voted_thread(store, feedback)
        return (await store.threads.feedback.upsert(thread_id, stored)).id

    @staticmethod
    async def _find_voted_thread(store: AsyncMongoStore, feedback: Feedback) -> str | None:
        """Return the thread of the message that a feedback is on, None before it is stored.

        Raises:
            AccessDeniedError: If the caller may not vote there.
        """
        message = await store.threads.messages.find_by_id(feedback.forId)
        thread_id = message.thread_id if message else None
        is_elsewhere = feedback.threadId not in (None, thread_id)
        is_replaced = message is not None and message.feedback is not None
        if thread_id and ((is_replaced and is_elsewhere) or not await may_write(store, thread_id)):
            raise AccessDeniedError("the feedback on that message is another user's")
        return thread_id

    async def delete_feedback(self, feedback_id: str) -> bool:
        store = await self._user.get()
        with suppress(InvalidValueError):
            for _ in range(_LOOKS):
                found = await store.threads.feedback.find_by_id(feedback_id)
                if found is None or not (found.thread_id is None or await may_write(store, found.thread_id)):
                    break
                if await store.threads.feedback.delete(found.thread_id, found.message_id):
                    break
        return True

    @in_order
    def create_step(self, step_dict: StepDict) -> Write:
        keys = {("step", step_dict["id"])}
        return self._order.add(lambda write: self._merge_step(write, step_dict, is_start=True), keys, keys)

    @in_order
    def update_step(self, step_dict: StepDict) -> Write:
        keys = {("step", step_dict["id"])}
        return self._order.add(lambda write: self._merge_step(write, step_dict, is_start=False), keys, keys)

    @in_order
    def delete_step(self, step_id: str) -> Write:
        keys = {("step", step_id)}
        # With its elements, of which one may still be on its way.
        after = keys | {("elements of", step_id)}
        return self._order.add(lambda write: self._delete_step(write, step_id), keys, after)

    @in_order
    def create_element(self, element: Element) -> Write:
        begun_at, step_id = datetime.now(UTC), element.for_id or ""
        own = {("element", element.id)}
        return self._order.add(
            lambda write: self._store_element(write, element, begun_at),
            own | {("elements of", step_id)},
            after=own | {("step", step_id)},
        )

    @in_order
    def delete_element(self, element_id: str, thread_id: str | None = None) -> Write:
        keys = {("element", element_id)}
        return self._order.add(lambda write: self._delete_element(write, element_id, thread_id), keys, keys)

    async def _delete_step(self, write: Write, step_id: str) -> None:
        await write.turn()
        store = await self._user.get()
        for number in range(_LOOKS):
            step = await store.threads.messages.find_by_id(step_id)
            thread_id = step.thread_id if step else None
            if number and thread_id is None:
                break
            if not self._is_in_store and thread_id is not None:
                async for element in store.threads.elements.iter(thread_id, errors=[]):
                    if element.message_id == step_id:
                        await self._delete_file(element)
            if await store.threads.messages.delete(thread_id, step_id):
                break

    async def _store_element(self, write: Write, element: Element, begun_at: datetime) -> None:
        if not element.for_id:
            return
        async with log_failures("element", element.id):
            # At once: the folder that the file is in goes with the session.
            with _open_content(element) as content:
                data, key = from_element(element), None
                await write.turn()
                if content is not None:
                    key = await self._upload(element, content)
            if content is None and (element.type == "custom" or element.object_key):
                key = await self._check_replacement(element)
                # The address of a file is good for a while only.
                data["url"] = data["url"] if key is None else None
            store = await self._user.get()
            stored = models.Element(
                id=element.id,
                message_id=element.for_id,
                file_key=key if self._is_in_store else None,
                data=data if self._is_in_store or key is None else {**data, "objectKey": key},
            )
            try:
                await store.threads.elements.upsert(element.thread_id, stored, begun_at=begun_at)
            except NotFoundError:
                if not self._is_in_store:
                    await self._delete_file(stored)
                raise

    async def _check_replacement(self, element: Element) -> str | None:
        """Return the key of the file that an element names and has.

        Raises:
            AccessDeniedError: If the caller may not replace or add it.
        """
        store = await self._user.get()
        existing = await store.threads.elements.find(element.thread_id, element.id)
        if element.type == "custom" and (
            (existing and existing.data.get("type") != "custom")
            or not await may_write(store, element.thread_id)
        ):
            raise AccessDeniedError("this user may not store that element there")
        key = existing and (existing.file_key or existing.data.get("objectKey"))
        return key if key and key == element.object_key else None

    async def get_element(self, thread_id: str, element_id: str) -> ElementDict | None:
        store = await self._user.get()
        element = await store.threads.elements.find(thread_id, element_id)
        return None if element is None else await self._to_element_dict(element)

    async def _delete_element(self, write: Write, element_id: str, thread_id: str | None) -> None:
        await write.turn()
        store = await self._user.get()
        element = None
        if thread_id is None or not self._is_in_store:
            element = await store.threads.elements.find_by_id(element_id)
            if element is None or thread_id not in (None, element.thread_id):
                return
            thread_id = element.thread_id
        if thread_id is None or not await may_write(store, thread_id):
            return
        if element is not None:
            await self._delete_file(element)
        await store.threads.elements.delete(thread_id, element_id)

    async def get_thread_author(self, thread_id: str) -> str:
        thread = await find_thread(await self._user.get(), thread_id)
        return (thread and thread.user_identifier) or ""

    async def get_thread(self, thread_id: str) -> ThreadDict | None:
        thread = await find_thread(await self._user.get(), thread_id)
        if thread is None:
            return None
        store = await self._user.get()
        errors: list[InvalidDocumentError] = []
        messages = store.threads.messages.iter(thread_id, errors=errors)
        steps = [to_step(message) async for message in messages]
        found = store.threads.elements.iter(thread_id, errors=errors)
        elements = [await self._to_element_dict(element) async for element in found]
        log_unreadable(errors)
        return to_thread(thread, created_at=thread.created_at, steps=parents_first(steps), elements=elements)

    async def list_threads(
        self, pagination: Pagination, filters: ThreadFilter
    ) -> PaginatedResponse[ThreadDict]:
        if not filters.userId:
            raise ValueError("userId is required")
        threads = (await self._user.get()).threads
        limit = max(1, min(pagination.first, _MOST_AT_ONCE))
        where = models.ThreadFilter(user_id=filters.userId, text=filters.search)
        if filters.feedback is not None:
            where["vote"] = filters.feedback
        wanted = functools.partial(threads.list, limit=limit, **where)
        try:
            page = await wanted(cursor=pagination.cursor)
        except InvalidValueError as error:
            if error.path != "cursor":
                raise
            # A sidebar with a cursor of other times begins again rather than staying empty.
            page = await wanted()
        # The front end sorts and groups by `createdAt`, and users look for their last activity.
        rows = [
            to_thread(thread, created_at=thread.active_at, steps=[], elements=[]) for thread in page.items
        ]
        info = PageInfo(
            hasNextPage=page.next_cursor is not None,
            startCursor=threads.cursor_of(page.items[0]) if page.items else None,
            endCursor=threads.cursor_of(page.items[-1]) if page.items else None,
        )
        return PaginatedResponse(pageInfo=info, data=rows)

    async def update_thread(
        self,
        thread_id: str,
        name: str | None = None,
        user_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        tags: list[str] | None = None,
    ) -> None:
        members = models.ThreadUpdate()
        if name is not None:
            members["name"] = name[:NAME_CHARACTERS]
        if user_id is not None:
            members["user_id"] = user_id
        if metadata is not None:
            if "shared_at" in metadata and (thread := await find_thread(await self._user.get(), thread_id)):
                metadata = without_old_sharing(metadata, thread.metadata.get("shared_at"))
            members["metadata"] = metadata
        if tags is not None:
            members["tags"] = tags
        # A first message claims its thread; what is said of a thread alone begins none.
        begun_at = None if user_id is None else datetime.now(UTC)
        async with log_failures("thread", thread_id):
            store = await self._user.get()
            await store.threads.merge(thread_id, begun_at=begun_at, **members)

    async def delete_user_session(self, id: str) -> bool:
        """Forget what threads keep of a user session, and return whether one kept something."""
        store = await self._user.get()
        threads = [thread async for thread in store.threads.iter(errors=[], metadata={"id": id})]
        for thread in threads:
            unset = [f"metadata.{key}" for key in thread.metadata if key not in SHARING]
            # It may be deleted meanwhile, which is no reason to keep what the others have.
            with suppress(NotFoundError):
                await store.threads.update(thread.id, unset=unset)
        return bool(threads)

    async def delete_thread(self, thread_id: str) -> None:
        store = await self._user.get()
        if not self._is_in_store:
            async for element in store.threads.elements.iter(thread_id, errors=[]):
                await self._delete_file(element)
        await store.threads.delete(thread_id)

    async def get_favorite_steps(self, user_id: str) -> list[StepDict]:
        store = await self._user.get()
        steps: list[StepDict] = []
        cursor = None
        while True:
            page = await store.threads.messages.list_pinned(user_id, limit=_MOST_AT_ONCE, cursor=cursor)
            steps += map(to_step, page)
            if (cursor := page.next_cursor) is None:
                return steps

    async def set_step_favorite(self, step_dict: StepDict, favorite: bool) -> StepDict:
        metadata = {**(step_dict.get("metadata") or {}), "favorite": favorite}
        changed: StepDict = {**step_dict, "metadata": metadata}
        await self.update_step(changed)
        return changed

    async def build_debug_url(self) -> str:
        return ""

    async def close(self) -> None:
        try:
            await self._storage.close()
        finally:
            await self._user.close()

    async def _merge_step(self, write: Write, step: StepDict, *, is_start: bool) -> None:
        await write.turn()
        async with log_failures("step", step["id"]):
            store = await self._user.get()
            members = from_step(step, is_start=is_start)
            await store.threads.messages.merge(
                *(step["threadId"], step["id"]),
                only_missing=is_start,
                begun_at=members.get("created_at"),
                **members,
            )

    async def _upload(self, element: Element, content: bytes | str | BinaryIO) -> str:
        """Store the file of an element and return what it is found by."""
        key = file_key_of(element)
        if not isinstance(content, bytes | str) and not self._is_in_store:
            content = await asyncio.to_thread(content.read)
        # Ours takes an open file, too.
        storage: Any = self._storage
        uploaded = await storage.upload_file(key, content, element.mime or "application/octet-stream")
        if not uploaded:
            raise OSError(f"the storage provider has not stored {key!r}")
        return str(uploaded.get("object_key") or key)

    async def _to_element_dict(self, element: models.Element) -> ElementDict:
        key = element.file_key or element.data.get("objectKey")
        # Anew at each reading, since an address is good for a while only.
        return to_element(element, await self._storage.get_read_url(key) if key else None)

    async def _delete_file(self, element: models.Element) -> None:
        if key := element.data.get("objectKey"):
            await self._storage.delete_file(key)


def _open_content(element: Element) -> AbstractContextManager[BinaryIO | bytes | str | None]:
    """Open the content of an element that is stored as a file; None for its props, or what others serve."""
    if element.path:
        # Once it is open it may be deleted.
        return Path(element.path).open("rb")
    return nullcontext(None if element.url or element.type == "custom" else element.content)
