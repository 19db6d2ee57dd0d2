"""Updates of threads, from the members that callers give."""

from __future__ import annotations

from mongostore.arguments import check_members, check_unset
from mongostore.codec import encode_members, escape_key
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.threads import to_stored_thread_member
from mongostore.errors import NotFoundError
from mongostore.models import ThreadUpdate
from mongostore.repositories import Connection
from mongostore.repositories.expiry import resolve_expiry
from mongostore.repositories.size_limits import SizeLimit

MERGED_MEMBERS = ("data", "metadata")
# With the votes on its messages a thread still fits into a document.
MERGED = SizeLimit("thread", ("data", "metadata", "tags", "name"), 10_000_000)
VOTES = SizeLimit("thread", ("votes",), 5_000_000, "votes_size", "delete feedback")


async def to_update(
    connection: Connection, arguments: ThreadUpdate, *, replaces: bool = False
) -> StoredDocument:
    """Return the update that changes members of a thread, and merges `data` unless it replaces it."""
    members = resolve_expiry(check_members(arguments, ThreadUpdate))
    removed = members.pop("unset", None)
    sets: StoredDocument = {}
    unset: StoredDocument = {}
    for name, value in members.items():
        if name not in MERGED_MEMBERS:
            sets[name] = to_stored_thread_member(name, value)
            continue
        packed = encode_members(name, value)
        if name == "metadata" and removed is None:
            unset |= {f"{name}.{key}": "" for key, item in packed.items() if item is None}
            packed = {key: item for key, item in packed.items() if item is not None}
        whole = replaces and name == "data"
        sets |= {name: packed} if whole else {f"{name}.{key}": item for key, item in packed.items()}
    for name, key in check_unset(removed or (), MERGED_MEMBERS):
        path = f"{name}.{escape_key(key)}"
        # What is replaced whole or set besides has its value from there.
        if not {name, path} & sets.keys():
            unset[path] = ""
    if "user_id" in sets:
        users = connection.collection("users")
        user = await users.find_one({"_id": sets["user_id"]}, {"identifier": 1})
        if user is None:
            raise NotFoundError("user", sets["user_id"])
        sets["user_identifier"] = user["identifier"]
    return {operator: part for operator, part in (("$set", sets), ("$unset", unset)) if part}
