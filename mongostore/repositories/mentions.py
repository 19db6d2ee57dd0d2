"""Where persons are named: found in all collections by the fields that name one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pymongo.errors import DuplicateKeyError

from mongostore.codec import escape_key
from mongostore.documents.mapping import StoredDocument
from mongostore.models.people import Relation
from mongostore.models.retention import House
from mongostore.repositories import CollectionOf, Connection, current_operation, majority_step, retry_step
from mongostore.repositories.expiry import tombstone_end

_STEP = 200
# So often names lead to other names: from a user to an identity, from that to its addresses.
_ROUNDS = 10

Names = Collection[str]


@dataclass(frozen=True)
class Mention:
    """One way in which a collection names persons.

    Attributes:
        collection: The collection.
        relation: The relation of the person to its documents.
        fields: The fields that hold a name.
        find: Returns the rest of a filter by names, if a field is no name but a key.
        tenant: The field by which its documents belong to a tenant, if they do.
    """

    collection: str
    relation: Relation
    fields: tuple[str, ...]
    find: Callable[[Names], list[StoredDocument]] = field(default=lambda names: [])
    tenant: str | None = None

    def filter(self, names: Names) -> StoredDocument:
        """Return the filter of the documents that have one of the names."""
        branches = [{name: {"$in": [*names]}} for name in self.fields] + self.find(names)
        return branches[0] if len(branches) == 1 else {"$or": branches}


def _bound(names: Names) -> list[StoredDocument]:
    return [{"participant_names": {"$in": [*map(escape_key, names)]}}]


MENTIONS = (
    Mention("sessions", "owner", ("user_id",), tenant="namespace"),
    Mention("sessions", "participant", (), _bound, tenant="namespace"),
    Mention("threads", "owner", ("user_id", "user_identifier", "owner_id")),
    Mention("bindings", "participant", ("participant_id",), tenant="room_id"),
    Mention("events", "author", ("participant_id",), tenant="room_id"),
    Mention("api_keys", "owner", ("owner_id",)),
    Mention("verifications", "identity", ("identity_id",), tenant="organization_id"),
    Mention("verification_requests", "identity", ("identity_id",)),
    Mention("identity_addresses", "identity", ("identity_id",), tenant="_id.o"),
    Mention("identities", "identity", ("_id",), tenant="organization_id"),
    # They lead from a name to the identity, and so go after it: an erasure that was cut short finds it again.
    Mention("participants", "participant", ("participant_id", "identity_id"), tenant="room_id"),
    Mention("users", "identity", ("_id", "identifier")),
)


@dataclass(frozen=True)
class Scope:
    """The tenants: all, or some namespaces and the rooms and identities of an organization."""

    namespaces: Sequence[str] | None = None
    organization_id: str | None = None

    @property
    def is_all(self) -> bool:
        """Whether no tenant is named."""
        return self.namespaces is None and self.organization_id is None

    def filter(self, mention: Mention) -> StoredDocument | None:
        """Return the filter beside the names; None if it takes nothing of the collection."""
        if self.is_all:
            return {}
        match mention.tenant:
            case "namespace" if self.namespaces is not None:
                return {"namespace": {"$in": [*self.namespaces]}}
            case "room_id" if self.organization_id is not None:
                return {}
            case str(tenant) if tenant != "namespace" and self.organization_id is not None:
                return {tenant: self.organization_id}
        # It belongs to no tenant, or to none of those that are named.
        return None


class PersonFinder:
    """Finds the names of a person, and the documents that have one."""

    _erasures = CollectionOf("erasures")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def names(self, name: str, scope: Scope) -> list[str]:
        """Return a name and all that are linked to it, by users and identities."""
        names = {name: None}
        for _ in range(_ROUNDS):
            known = len(names)
            for linked in await majority_step(self._connection, self._linked, [*names], scope):
                names.setdefault(linked)
            if len(names) == known:
                break
        return [*names]

    async def count(self, names: Names, scope: Scope) -> dict[str, int]:
        """Return how many documents of each collection have one of the names."""
        counts: dict[str, int] = {}
        if begun := await majority_step(
            self._connection, self._all, "erasures", _begun(names, scope), ["_id"]
        ):
            counts["erasures"] = len(begun)
        for mention in MENTIONS:
            total = 0
            async for document in self.find(mention, names, scope, ["room_id", "user_id"]):
                # A session in which its owner takes part is one.
                total += mention.relation != "participant" or document.get("user_id") not in names
            counts[mention.collection] = counts.get(mention.collection, 0) + total
        return {collection: count for collection, count in counts.items() if count}

    async def store_names(self, names: Names, scope: Scope) -> None:
        """Store the names of a person while an erasure runs, which deletes what links them."""
        await retry_step(self._connection, self._store_names, names, scope)

    async def delete_names(self, names: Names, scope: Scope) -> None:
        """Delete the names that erasures of a person have stored."""
        await retry_step(self._connection, self._erasures.delete_many, _begun(names, scope))

    async def store_deleting(self, names: Names, scope: Scope, house: House, key: Any) -> None:
        """Store which conversation an erasure of a person deletes now."""
        update = {"$set": {"deleting": {"house": house, "key": key}}}
        await retry_step(self._connection, self._erasures.update_many, _begun(names, scope), update)

    async def deleting(self, names: Names, scope: Scope) -> list[tuple[House, Any]]:
        """Return the conversations that erasures of a person, which may have been killed, deleted last."""
        begun = _begun(names, scope)
        erasures = await majority_step(self._connection, self._all, "erasures", begun, ["deleting"])
        last = [erasure["deleting"] for erasure in erasures if "deleting" in erasure]
        return [(one["house"], one["key"]) for one in last]

    async def folders_in(self, name: str) -> tuple[str, ...]:
        """Return the folders of other users, whose names begin with that of a person's folder."""
        # The character behind the slash.
        inside = {"$gte": f"{name}/", "$lt": f"{name}0"}
        filter = {"$or": [{"_id": inside}, {"identifier": inside}]}
        users = await majority_step(self._connection, self._all, "users", filter, ["identifier"])
        named = filter_texts([name for user in users for name in (user["_id"], user.get("identifier"))])
        return tuple(f"{other}/" for other in named)

    async def find(
        self, mention: Mention, names: Names, scope: Scope, fields: Any = None
    ) -> AsyncGenerator[StoredDocument, None]:
        """Yield the documents that have one of the names in one way, step by step."""
        beside = scope.filter(mention)
        if beside is None:
            return
        only_rooms = mention.tenant == "room_id" and not scope.is_all
        async for document in self.walk(mention.collection, {**mention.filter(names), **beside}, fields):
            if not only_rooms or await self._is_in(document["room_id"], scope):
                yield document

    async def walk(
        self, collection: str, filter: StoredDocument, fields: Any = None
    ) -> AsyncGenerator[StoredDocument, None]:
        """Yield documents by their ids, step by step; a deletion in between makes no difference."""
        last: Any = None
        while True:
            found = await majority_step(self._connection, self._find_some, collection, filter, fields, last)
            for document in found:
                yield document
            if len(found) < _STEP:
                return
            last = found[-1]["_id"]

    async def is_shared(self, room_id: str, names: Names) -> bool:
        """Return whether a room has another participant."""
        others = {
            "room_id": room_id,
            "participant_id": {"$nin": [*names]},
            "identity_id": {"$nin": [*names]},
        }
        return await majority_step(self._connection, self._exists, "participants", others)

    async def _store_names(self, names: Names, scope: Scope) -> None:
        erasure = {
            "_id": current_operation().token,
            "names": [*names],
            **_stored_scope(scope),
            "expires_at": tombstone_end(),
        }
        # An earlier attempt may have done it.
        with suppress(DuplicateKeyError):
            await self._erasures.insert_one(erasure)

    async def _exists(self, collection: str, filter: StoredDocument) -> bool:
        return await self._connection.collection(collection).find_one(filter, {"_id": 1}) is not None

    async def _is_in(self, room_id: str, scope: Scope) -> bool:
        of_tenant = {"_id": room_id, "organization_id": scope.organization_id}
        return await majority_step(self._connection, self._exists, "rooms", of_tenant)

    async def _find_some(
        self, collection: str, filter: StoredDocument, fields: Any, last: Any
    ) -> list[StoredDocument]:
        # Beside a filter that may itself be one for ids.
        page_filter = filter if last is None else {"$and": [filter, {"_id": {"$gt": last}}]}
        documents = self._connection.collection(collection)
        return await documents.find_all(page_filter, fields, sort=[("_id", 1)], limit=_STEP)

    async def _linked(self, names: Sequence[str], scope: Scope) -> list[str]:
        begun = await self._all("erasures", _begun(names, scope), ["names"])
        wanted, linked = {"$in": [*names]}, [name for erasure in begun for name in erasure["names"]]
        if scope.is_all:
            filter: StoredDocument = {"$or": [{"_id": wanted}, {"identifier": wanted}]}
            for user in await self._all("users", filter, ["identifier"]):
                linked += [user["_id"], user.get("identifier")]
        if scope.namespaces is not None and scope.organization_id is None:
            return linked
        of_tenant: StoredDocument = {}
        if scope.organization_id is not None:
            of_tenant = {"_id.o": scope.organization_id}
        owned = await self._all("identity_addresses", {"_id.a": wanted, **of_tenant}, ["identity_id"])
        ids = {"$in": [*names, *(address["identity_id"] for address in owned)]}
        tenant = {} if scope.organization_id is None else {"organization_id": scope.organization_id}
        for identity in await self._all("identities", {"_id": ids, **tenant}, ["addresses"]):
            addresses = identity.get("addresses", {}).values()
            linked += [identity["_id"], *(address for several in addresses for address in several)]
        linked += await self._linked_in_rooms([*names, *filter_texts(linked)])
        return filter_texts(linked)

    async def _linked_in_rooms(self, names: Sequence[str]) -> list[str]:
        """Return the participants of identities and the identities of participants.

        The id of a participant is unique within a room: one that several identities have in several rooms
        links none of them.
        """
        either = {"$or": [{"identity_id": {"$in": [*names]}}, {"participant_id": {"$in": [*names]}}]}
        ids = {one["participant_id"] for one in await self._all("participants", either, ["participant_id"])}
        identities: dict[str, set[str]] = {}
        of_ids = {"participant_id": {"$in": [*ids]}}
        for one in await self._all("participants", of_ids, ["participant_id", "identity_id"]):
            known = identities.setdefault(one["participant_id"], set())
            if one.get("identity_id") is not None:
                known.add(one["identity_id"])
        single = {id: known for id, known in identities.items() if len(known) <= 1}
        return [name for id, known in single.items() for name in (id, *known)]

    async def _all(self, collection: str, filter: StoredDocument, fields: list[str]) -> list[StoredDocument]:
        return await self._connection.collection(collection).find_all(filter, fields)


def _stored_scope(scope: Scope) -> StoredDocument:
    namespaces = None if scope.namespaces is None else sorted(scope.namespaces)
    return {"namespaces": namespaces, "organization_id": scope.organization_id}


def _begun(names: Names, scope: Scope) -> StoredDocument:
    """Return the filter of the erasures of a person that are under way, or were cut short."""
    return {"names": {"$in": [*names]}, **_stored_scope(scope)}


def filter_texts(values: Collection[Any]) -> list[str]:
    """Return the texts among some values."""
    return [value for value in values if isinstance(value, str) and value]


def names_in(value: Any, names: Names) -> bool:
    """Return whether a stored value is, or holds anywhere, one of the names as a whole text or key."""
    match value:
        case str():
            return value in names
        case dict():
            return any(key in names or names_in(one, names) for key, one in value.items())
        case list():
            return any(names_in(one, names) for one in value)
    return False
