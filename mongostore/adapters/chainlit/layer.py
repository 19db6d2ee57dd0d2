"""Chainlit's `BaseDataLayer` on MongoDB."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from chainlit.data.base import BaseDataLayer
from chainlit.data.storage_clients.base import BaseStorageClient
from chainlit.data.utils import queue_until_user_message
from chainlit.element import Element, ElementDict
from chainlit.step import StepDict
from chainlit.types import Feedback, PageInfo, PaginatedResponse, Pagination, ThreadDict, ThreadFilter
from chainlit.user import PersistedUser, User

from mongostore import models
from mongostore.adapters.chainlit.conversions import (
    NAME_CHARACTERS,
    file_key_of,
    from_element,
    from_step,
    parents_first,
    to_element,
    to_step,
    to_thread,
    to_user,
)
from mongostore.adapters.chainlit.storage import GridFSStorageClient
from mongostore.errors import InvalidValueError, MongoStoreError, NotFoundError
from mongostore.shared_store import SharedStore
from mongostore.store import AsyncMongoStore

logger: Final = logging.getLogger(__name__)

_MOST_AT_ONCE = 1000


class MongoDataLayer(BaseDataLayer):
    """Users, threads, steps, elements and feedback of Chainlit in MongoDB.

    Connects when it is first used, in the event loop that uses it. What comes late for a deleted thread is
    dropped. What cannot be stored is logged by its id, and raised.

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
        message = await store.threads.messages.find_by_id(feedback.forId)
        if message is None or message.thread_id is None:
            raise NotFoundError("message", feedback.forId)
        named = {"id": feedback.id} if feedback.id else {}
        given = models.Feedback(
            message_id=feedback.forId, value=feedback.value, comment=feedback.comment, **named
        )
        return (await store.threads.feedback.upsert(message.thread_id, given)).id

    async def delete_feedback(self, feedback_id: str) -> bool:
        store = await self._user.get()
        with suppress(InvalidValueError):
            found = await store.threads.feedback.find_by_id(feedback_id)
            if found is not None and found.thread_id is not None:
                await store.threads.feedback.delete(found.thread_id, found.message_id)
        return True

    @queue_until_user_message()
    async def create_step(self, step_dict: StepDict) -> None:
        await self._merge_step(step_dict, is_start=True)

    @queue_until_user_message()
    async def update_step(self, step_dict: StepDict) -> None:
        await self._merge_step(step_dict, is_start=False)

    @queue_until_user_message()
    async def delete_step(self, step_id: str) -> None:
        store = await self._user.get()
        step = await store.threads.messages.find_by_id(step_id)
        if step is None:
            return
        if not self._is_in_store and step.thread_id is not None:
            async for element in store.threads.elements.iter(step.thread_id, errors=[]):
                if element.message_id == step_id:
                    await self._delete_file(element)
        await store.threads.messages.delete(step.thread_id, step_id)

    @queue_until_user_message()
    async def create_element(self, element: Element) -> None:
        if not element.for_id:
            return
        async with _log_failures("element", element.id):
            # At once: the folder that the file is in goes with the session.
            content = await _read(_open_file(element.path)) if element.path else _content(element)
            data, key = from_element(element), None
            if content is not None:
                key = await self._upload(element, content)
            store = await self._user.get()
            stored = models.Element(
                id=element.id,
                message_id=element.for_id,
                file_key=key if self._is_in_store else None,
                data=data if self._is_in_store or key is None else {**data, "objectKey": key},
            )
            try:
                await store.threads.elements.upsert(element.thread_id, stored)
            except NotFoundError:
                if not self._is_in_store:
                    await self._delete_file(stored)
                raise

    async def get_element(self, thread_id: str, element_id: str) -> ElementDict | None:
        store = await self._user.get()
        element = await store.threads.elements.find(thread_id, element_id)
        return None if element is None else await self._to_element_dict(element)

    @queue_until_user_message()
    async def delete_element(self, element_id: str, thread_id: str | None = None) -> None:
        store = await self._user.get()
        if thread_id is None or not self._is_in_store:
            element = await store.threads.elements.find_by_id(element_id)
            if element is None or element.thread_id is None or thread_id not in (None, element.thread_id):
                return
            thread_id = element.thread_id
            await self._delete_file(element)
        await store.threads.elements.delete(thread_id, element_id)

    async def get_thread_author(self, thread_id: str) -> str:
        thread = await self._find_thread(thread_id)
        return (thread and thread.user_identifier) or ""

    async def get_thread(self, thread_id: str) -> ThreadDict | None:
        thread = await self._find_thread(thread_id)
        if thread is None:
            return None
        store = await self._user.get()
        messages = store.threads.messages.iter(thread_id, errors=[])
        steps = [to_step(message) async for message in messages]
        found = store.threads.elements.iter(thread_id, errors=[])
        elements = [await self._to_element_dict(element) async for element in found]
        return to_thread(thread, created_at=thread.created_at, steps=parents_first(steps), elements=elements)

    async def list_threads(
        self, pagination: Pagination, filters: ThreadFilter
    ) -> PaginatedResponse[ThreadDict]:
        if not filters.userId:
            raise ValueError("userId is required")
        threads = (await self._user.get()).threads
        limit = max(1, min(pagination.first, _MOST_AT_ONCE))
        where = models.ThreadFilter(user_id=filters.userId)
        if filters.feedback is not None:
            where["vote"] = filters.feedback
        wanted = functools.partial(threads.list, text=filters.search or None, limit=limit, **where)
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
        given = models.ThreadUpdate()
        if name is not None:
            given["name"] = name[:NAME_CHARACTERS]
        if user_id is not None:
            given["user_id"] = user_id
        if metadata is not None:
            given["metadata"] = metadata
        if tags is not None:
            given["tags"] = tags
        async with _log_failures("thread", thread_id):
            store = await self._user.get()
            await store.threads.merge(thread_id, **given)

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

    async def _merge_step(self, step: StepDict, *, is_start: bool) -> None:
        async with _log_failures("step", step["id"]):
            store = await self._user.get()
            members = from_step(step, is_start=is_start)
            await store.threads.messages.merge(step["threadId"], step["id"], only_missing=is_start, **members)

    async def _find_thread(self, thread_id: str) -> models.Thread | None:
        store = await self._user.get()
        # An address may name anything, even what can be no id.
        with suppress(InvalidValueError):
            return await store.threads.find(thread_id)
        return None

    async def _upload(self, element: Element, content: bytes | str) -> str:
        """Store the file of an element and return what it is found by."""
        key = file_key_of(element)
        uploaded = await self._storage.upload_file(key, content, element.mime or "application/octet-stream")
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


def _open_file(path: str) -> BinaryIO:
    # Once it is open it may be deleted.
    return Path(path).open("rb")


async def _read(file: BinaryIO) -> bytes:
    with file:
        return await asyncio.to_thread(file.read)


def _content(element: Element) -> bytes | str | None:
    """Return what of an element has to be stored as a file; its props, or what others serve, have not."""
    return None if element.url or element.type == "custom" else element.content


@asynccontextmanager
async def _log_failures(kind: str, id: str) -> AsyncIterator[None]:
    """Drop what comes late for a deleted thread, and log what else is not stored: nobody awaits the call."""
    try:
        yield
    except NotFoundError as error:
        if error.kind != "thread":
            logger.error("%s %s is not stored: %s", kind, id, error)
            raise
        logger.debug("%s %s is dropped: its thread is deleted", kind, id)
    except MongoStoreError as error:
        logger.error("%s %s is not stored: %s", kind, id, error)
        raise
    except Exception as error:
        # The words of others may quote what was to be stored.
        logger.error("%s %s is not stored: %s", kind, id, type(error).__name__)
        raise
