"""The erasure of one person, in steps that can be repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

from pydantic import BaseModel

from mongostore.documents.mapping import StoredDocument
from mongostore.documents.rooms import part_id, to_binding, to_event, to_participant
from mongostore.documents.session_participants import participant_documents
from mongostore.documents.sessions import to_session
from mongostore.errors import (
    AccessDeniedError,
    InvalidDocumentError,
    MongoStoreError,
    NotFoundError,
    NotOpenError,
    UnavailableError,
)
from mongostore.models.people import ErasureLine, ErasureMode
from mongostore.models.retention import House
from mongostore.models.sessions import Session
from mongostore.models.threads import ELEMENTS_FOLDER
from mongostore.people.houses import Houses
from mongostore.people.vocabulary import Vocabulary
from mongostore.repositories.mentions import MENTIONS, Mention, PersonFinder, Scope, filter_texts, names_in
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.threads.thread_writes import FILES

# So many things of others are enough to know which kinds there are.
_OTHERS = 200
# What a dry run reads of documents, unless it looks whether their words can be replaced.
_COUNTED_FIELDS = [
    *("namespace", "session_id", "user_id", "participants", "participant_id", "room_id", "channel_id"),
    *("state", "expires_at", "created_at"),
]
# Threads whose elements are asked for at a time.
_THREADS = 200
# The words of an event.
_WORDS = ("content", "data", "metadata")
# What a room holds in which a person may be named by content alone.
_UNNAMED_PARTS = ("bindings", "tasks", "observations", "voice_deliveries")


Step = Callable[[Mention, StoredDocument], Awaitable[None]]


class Erasure:
    """One erasure: what it has done so far, pass by pass.

    Args:
        finder: The filters that find the person.
        houses: The verbs of the store.
        names: The names of the person.
        scope: The tenants.
        mode: Whether what is shared is deleted or anonymized.
        dry_run: Whether to count in one pass what the passes would do, and to write nothing.
    """

    def __init__(
        self,
        finder: PersonFinder,
        houses: Houses,
        names: Sequence[str],
        scope: Scope,
        mode: ErasureMode,
        *,
        dry_run: bool = False,
    ) -> None:
        self._finder = finder
        self._houses = houses
        self._names = frozenset(names)
        self._scope = scope
        self._anonymizes = mode == "anonymize"
        self._dry_run = dry_run
        # What a dry run has counted would be gone, and is found again.
        self._counted: dict[tuple[str, str], Any] = {}
        self._expired: dict[str, bool] = {}
        self._deleted: Counter[str] = Counter()
        self._anonymized: Counter[str] = Counter()
        self._failed: dict[str, str] = {}
        # Whether this pass has met a conversation that had changed since it was found.
        self._has_missed = False

    @property
    def errors(self) -> list[str]:
        """The documents that could not be erased, with the reason."""
        return [*self._failed.values()]

    def lines(self) -> list[ErasureLine]:
        """Return what was done by collections."""
        return [
            ErasureLine(collection=name, deleted=self._deleted[name], anonymized=self._anonymized[name])
            for name in sorted({*self._deleted, *self._anonymized})
        ]

    async def leave_tombstones(self) -> None:
        """Leave those of the conversations that erasures which were killed deleted last."""
        for house, key in await self._finder.deleting(self._names, self._scope):
            await self._houses.heads.leave_tombstone(house, key)

    async def run_pass(self) -> bool:
        """Erase what is found now; return whether there was anything."""
        before, self._has_missed = self._deleted.total() + self._anonymized.total(), False
        fields = _COUNTED_FIELDS if self._dry_run and not self._anonymizes else None
        for mention in MENTIONS:
            step = self._step_of(mention)
            async with aclosing(self._finder.find(mention, self._names, self._scope, fields)) as found:
                async for document in found:
                    await self.attempt(mention, document, step)
        if self._scope.is_all:
            await self._delete_files()
        return self._has_missed or self._deleted.total() + self._anonymized.total() > before

    def _step_of(self, mention: Mention) -> Step:
        steps: dict[str, Step] = {
            "sessions": self._erase_session,
            "threads": self._erase_thread,
            "participants": self._erase_in_room,
            "bindings": self._erase_in_room,
            "events": self._erase_event,
        }
        return steps.get(mention.collection, self._delete_document)

    async def attempt(self, mention: Mention, document: StoredDocument, step: Step) -> None:
        """Erase one document, and record the error that refuses it."""
        key = f"{mention.collection} {document['_id']!r}"
        try:
            await step(mention, document)
        except NotFoundError:
            # Another one has deleted it.
            return
        except (AccessDeniedError, NotOpenError, UnavailableError):
            raise
        except MongoStoreError as error:
            self._failed[key] = f"{key}: {error}"
        else:
            self._failed.pop(key, None)

    async def _change(
        self, counts: Counter[str], collection: str, key: Any, change: Callable[[], Awaitable[Any]]
    ) -> bool:
        """Change one document and count it; return whether it was there.

        A dry run remembers its key, unless that is None as the document comes but once.
        """
        if not self._dry_run:
            changed = await change() is not False
        elif changed := key is None or not self._is_counted(collection, key):
            self._counted |= {} if key is None else {(collection, repr(key)): key}
        if changed:
            counts[collection] += 1
        return changed

    def _is_counted(self, collection: str, key: Any) -> bool:
        return (collection, repr(key)) in self._counted

    async def _erase_session(self, mention: Mention, session: StoredDocument) -> None:
        if self._is_counted("sessions", session["_id"]):
            return
        participants = [one["id"] for one in participant_documents(session)]
        others = [name for name in participants if name not in self._names]
        is_owner = mention.relation == "owner"
        # One that is hidden cannot be changed, and its owner does not want it.
        is_hidden = session["state"] != "open" or self._houses.heads.has_expired(session)
        if is_hidden or (is_owner and not (others and self._anonymizes)):
            # Others may take part by now.
            alone = {"participant_names": session["participant_names"]} if self._anonymizes else {}
            await self._delete_head("sessions", session, alone)
            return
        verbs, session_id = self._houses.sessions.in_namespace(session["namespace"]), session["session_id"]
        for name in participants:
            if name in self._names:
                unbind = partial(verbs.participants.delete, session_id, name)
                key = (session["_id"], name)
                await self._change(self._deleted, "session participants", key, unbind)
        if is_owner:
            # The turns of participants who are gone have gone with them.
            await self._blank_messages(verbs, session, participants if self._dry_run else others)
            blank = partial(self._blank_session, verbs, to_session(session))
            await self._change(self._anonymized, "sessions", session["_id"], blank)
            if not self._dry_run:
                # What was appended meanwhile: the session is no longer found as theirs.
                await self._blank_messages(verbs, session, others)

    async def _blank_session(self, verbs: AsyncSessions, session: Session) -> None:
        await verbs.context.delete(session.id)
        metadata = dict.fromkeys(session.metadata)
        await verbs.update(session.id, user_id=None, name=None, description=None, data={}, metadata=metadata)

    async def _blank_messages(
        self, verbs: AsyncSessions, session: StoredDocument, others: Sequence[str]
    ) -> None:
        """Replace what the owner of a session has said in it, beside the turns of others."""
        async for message in verbs.messages.iter(session["session_id"]):
            is_blank = message.content is None and not message.data and not message.metadata
            if message.conversation_id not in others and not is_blank:
                blank = message.model_copy(update={"content": None, "data": {}, "metadata": {}})
                upsert = partial(verbs.messages.upsert, session["session_id"], blank)
                await self._change(self._anonymized, "messages", None, upsert)

    async def _erase_thread(self, mention: Mention, thread: StoredDocument) -> None:
        if thread.get("state") == "open":
            await self._delete_head("threads", thread)

    async def _delete_head(
        self, house: House, head: StoredDocument, beside: StoredDocument | None = None
    ) -> None:
        async def delete() -> bool:
            unmoved = "created_at" if head.get("expires_at") is None else "expires_at"
            await self._finder.store_deleting(self._names, self._scope, house, head["_id"])
            return await self._houses.heads.delete(house, head, unmoved, beside)

        if not await self._change(self._deleted, house, head["_id"], delete):
            self._has_missed = not self._dry_run
        elif not self._dry_run:
            await self._houses.heads.leave_tombstone(house, head["_id"])

    async def _erase_in_room(self, mention: Mention, part: StoredDocument) -> None:
        """Erase all that a room holds of the person, and last that they were there."""
        room_id = part["room_id"]
        if self._is_counted("rooms", room_id) or await self._delete_expired_room(room_id):
            return
        if not await self._finder.is_shared(room_id, self._names):
            room = await self._houses.heads.find("rooms", room_id)
            if room is not None and room["state"] != "deleted":
                await self._delete_head("rooms", room)
                return
        names = {*self._names, *filter_texts([part.get("participant_id")])}
        # A dry run counts those with the person's own names once, when it comes to the events.
        authors = names - self._names if self._dry_run else names
        own_events = {"room_id": room_id, "participant_id": {"$in": [*authors]}}
        async for event in self._finder.walk("events", own_events):
            await self._erase_event(mention, event)
        for collection in _UNNAMED_PARTS:
            async for one in self._finder.walk(collection, {"room_id": room_id}):
                # The position and times of a part are no names.
                if names_in(one, names):
                    await self._erase_part(collection, one)
        if mention.collection == "participants":
            await self._erase_participant(part)

    async def _delete_expired_room(self, room_id: str) -> bool:
        """Delete a room that has expired, of which no part can be changed, and return whether it has."""
        if self._expired.get(room_id) is False:
            return False
        room = await self._houses.heads.find("rooms", room_id)
        has_expired = room is not None and self._houses.heads.has_expired(room)
        if self._dry_run:
            # It comes again with each event.
            self._expired[room_id] = has_expired
        if room is not None and has_expired:
            await self._delete_head("rooms", room)
        return has_expired

    async def _erase_event(self, mention: Mention, stored: StoredDocument) -> None:
        events, room_id = self._houses.rooms.events, stored["room_id"]
        if self._is_counted("rooms", room_id):
            return
        key = None if mention.collection == "events" else stored["_id"]
        if not self._anonymizes:
            if self._dry_run and await self._delete_expired_room(room_id):
                return
            delete = partial(events.delete, room_id, stored["_id"], replies=False)
            if not await self._change(self._deleted, "events", key, delete):
                await self._delete_expired_room(room_id)
            return
        event = to_event(stored)

        async def blank() -> None:
            words = await self._vocabulary("events", room_id, to_event)
            parts = {name: words.blank(getattr(event, name), (name,)) for name in _WORDS}
            blanked: dict[str, Any] = {
                "participant_id": await self._pseudonym(room_id, stored["participant_id"]),
                **parts,
                "idempotency_key": None,
                "correlation_id": None,
            }
            await events.update(room_id, stored["_id"], delivery_results={})
            await events.replace(room_id, event.model_copy(update=blanked))

        await self._change(self._anonymized, "events", key, blank)

    async def _erase_part(self, collection: str, stored: StoredDocument) -> None:
        if collection == "bindings":
            await self._erase_binding(stored)
            return
        await self._delete_one(collection, stored)

    async def _delete_one(self, collection: str, stored: StoredDocument) -> None:
        delete = partial(self._houses.heads.delete_document, collection, stored["_id"])
        await self._change(self._deleted, collection, stored["_id"], delete)

    async def _erase_binding(self, stored: StoredDocument) -> None:
        bindings, room_id, channel_id = self._houses.rooms.bindings, stored["room_id"], stored["channel_id"]
        if self._anonymizes and channel_id not in self._names:
            binding = to_binding(stored)

            async def blank() -> None:
                name = stored.get("participant_id")
                words = await self._vocabulary("bindings", room_id, to_binding)
                blanked: dict[str, Any] = {
                    "participant_id": None if name is None else await self._pseudonym(room_id, name),
                    "data": words.blank(binding.data, ("data",)),
                    "metadata": words.blank(binding.metadata, ("metadata",)),
                }
                await bindings.upsert(room_id, binding.model_copy(update=blanked))

            await self._change(self._anonymized, "bindings", stored["_id"], blank)
            return
        await self._change(
            self._deleted, "bindings", stored["_id"], partial(bindings.delete, room_id, channel_id)
        )
        marker = {"room_id": room_id, "channel_id": channel_id}
        async for one in self._finder.walk("read_markers", marker, ["_id"]):
            await self._delete_one("read_markers", one)

    async def _erase_participant(self, stored: StoredDocument) -> None:
        participants, room_id = self._houses.rooms.participants, stored["room_id"]
        delete = partial(participants.delete, room_id, stored["participant_id"])
        if not self._anonymizes:
            await self._change(self._deleted, "participants", stored["_id"], delete)
            return
        participant = to_participant(stored)

        async def rename() -> bool:
            words = await self._vocabulary("participants", room_id, to_participant)
            renamed: dict[str, Any] = {
                "id": _pseudonym_of(stored),
                "identity_id": None,
                "channel_ids": [name for name in participant.channel_ids if name not in self._names],
                "data": words.blank(participant.data, ("data",)),
            }
            await participants.upsert(room_id, participant.model_copy(update=renamed))
            return await delete()

        await self._change(self._anonymized, "participants", stored["_id"], rename)

    async def _vocabulary(
        self, collection: str, room_id: str, read: Callable[[StoredDocument], BaseModel]
    ) -> Vocabulary:
        """Return the words for kinds that others have in a room."""
        others = {
            "room_id": room_id,
            "participant_id": {"$nin": [*self._names]},
            "schema_version": {"$exists": True},
        }
        found = self._finder.walk(collection, others)
        values: list[Any] = []
        async with aclosing(found):
            async for stored in found:
                if len(values) == _OTHERS:
                    break
                with suppress(InvalidDocumentError):
                    values.append(read(stored).model_dump(mode="json"))
        bindings = self._finder.walk("bindings", {"room_id": room_id}, ["channel_id"])
        channels = [binding["channel_id"] async for binding in bindings]
        return Vocabulary(values, self._names, channels)

    async def _pseudonym(self, room_id: str, participant_id: str) -> str:
        """Return the name that stands for the person in a room, each time the same."""
        stored = await self._houses.heads.find("participants", part_id(room_id, participant_id))
        return "erased" if stored is None else _pseudonym_of(stored)

    async def _delete_document(self, mention: Mention, stored: StoredDocument) -> None:
        await self._delete_one(mention.collection, stored)

    async def _delete_files(self) -> None:
        """Delete the files in folders of the person's names, which may belong to no element."""
        gone = await self._files_of_threads() if self._dry_run else frozenset[str]()
        async for file in self._houses.files_of(self._names, self._finder):
            if file.key not in gone:
                delete = partial(self._houses.threads.files.delete, file.key)
                await self._change(self._deleted, "files.files", file.key, delete)

    async def _files_of_threads(self) -> Collection[str]:
        """Return the files in the person's folders that would be gone with the threads of a dry run."""
        folders = tuple(f"{name}/" for name in self._names - {ELEMENTS_FOLDER})
        threads = [key for (collection, _), key in self._counted.items() if collection == "threads"]
        gone: set[str] = set()
        for start in range(0, len(threads), _THREADS):
            of_some = {"thread_id": {"$in": threads[start : start + _THREADS]}}
            async for element in self._finder.walk("elements", of_some, [*FILES]):
                keys = filter_texts([element.get("file_key"), *element.get("file_keys", ())])
                gone |= {key for key in keys if key.startswith(folders)}
        return gone


def _pseudonym_of(participant: StoredDocument) -> str:
    return f"erased-{participant['position']}"
