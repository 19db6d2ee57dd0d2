"""The records of one person."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from typing import Any

from mongostore.documents.identities import to_identity, to_request, to_verification
from mongostore.documents.keys import to_key
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.rooms import to_binding, to_event, to_participant
from mongostore.documents.session_participants import participant_documents
from mongostore.documents.sessions import to_session
from mongostore.documents.threads import to_thread, to_user
from mongostore.errors import NotFoundError
from mongostore.models.model import Model
from mongostore.models.people import PersonRecord, Relation
from mongostore.people.houses import Houses
from mongostore.repositories.mentions import MENTIONS, Mention, PersonFinder, Scope

_READERS: dict[str, Callable[[StoredDocument], Model]] = {
    "participants": to_participant,
    "bindings": to_binding,
    "events": to_event,
    "api_keys": to_key,
    "verifications": to_verification,
    "verification_requests": to_request,
    "identities": to_identity,
    "users": to_user,
}
_FILE_MEMBERS = ("size", "content_type", "data")
Records = AsyncGenerator[PersonRecord, None]


async def export_records(finder: PersonFinder, houses: Houses, names: Sequence[str], scope: Scope) -> Records:
    """Yield the records of a person."""
    for mention in MENTIONS:
        async for stored in finder.find(mention, names, scope):
            match mention.collection:
                case "sessions":
                    # It may be deleted before all of it is read.
                    with suppress(NotFoundError):
                        async for record in _of_session(houses, mention, stored, names):
                            yield record
                case "threads":
                    with suppress(NotFoundError):
                        async for record in _of_thread(houses, mention, stored):
                            yield record
                case "identity_addresses":
                    # They are in the identities.
                    continue
                case collection:
                    yield _record(collection, stored["_id"], mention.relation, _READERS[collection](stored))
    if scope.is_all:
        async for file in houses.files_of(names, finder):
            value = {"file_key": file.key, **{name: getattr(file, name) for name in _FILE_MEMBERS}}
            value["created_at"] = file.created_at.isoformat()
            yield PersonRecord(collection="files.files", id=file.key, relation="owner", value=value)


async def _of_session(
    houses: Houses, mention: Mention, stored: StoredDocument, names: Sequence[str]
) -> Records:
    session, verbs = to_session(stored), houses.sessions.in_namespace(stored["namespace"])
    own = [one["id"] for one in participant_documents(stored) if one["id"] in names]
    if mention.relation == "participant":
        if stored.get("user_id") in names:
            # It is exported whole.
            return
        for one in session.participants:
            if one.id in names:
                yield _record("sessions", stored["_id"], "participant", one)
    else:
        yield _record("sessions", stored["_id"], "owner", session)
    if stored["state"] != "open":
        return
    if mention.relation == "owner":
        async for message in verbs.messages.iter(session.id):
            yield _record("messages", message.id, "author", message, session=stored["_id"])
        if session.has_context:
            context = await verbs.context.find(session.id)
            yield PersonRecord(
                collection="context", id=stored["_id"], relation="owner", value={"context": context}
            )
    for name in own:
        async for turn in verbs.turns.iter(session.id, name):
            value = {"session": stored["_id"], "participant_id": name, **turn.model_dump(mode="json")}
            yield PersonRecord(collection="turns", id=f"{turn.number}", relation="author", value=value)


async def _of_thread(houses: Houses, mention: Mention, stored: StoredDocument) -> Records:
    if stored.get("state") != "open":
        return
    thread = to_thread(stored)
    yield _record("threads", thread.id, mention.relation, thread)
    async for message in houses.threads.messages.iter(thread.id):
        yield _record("messages", message.id, "author", message)
    async for element in houses.threads.elements.iter(thread.id):
        yield _record("elements", element.id, "owner", element)


def _record(collection: str, id: Any, relation: Relation, entity: Model, **more: Any) -> PersonRecord:
    text = id if isinstance(id, str) else "/".join(map(str, id.values()))
    value = {**more, **entity.model_dump(mode="json")}
    return PersonRecord(collection=collection, id=text, relation=relation, value=value)
