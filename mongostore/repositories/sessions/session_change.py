"""The beginning of a session and the change of its head, each as the part of a write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from mongostore.arguments import check_create, check_members, take_metadata
from mongostore.codec import encode_members, to_micros
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.session_participants import bind_all, renew_epochs
from mongostore.documents.sessions import MAX_DATA_BYTES, to_new_session, to_stored_members
from mongostore.errors import InvalidValueError
from mongostore.models import AppendOptions, SessionCreate, SessionUpdate
from mongostore.repositories import current_operation
from mongostore.repositories.expiry import resolve_expiry
from mongostore.repositories.operation import life_token
from mongostore.repositories.sessions.filters import check_number, revision_guard
from mongostore.repositories.size_limits import SizeLimit

MERGED = SizeLimit("session", ("name", "description", "metadata"), MAX_DATA_BYTES)
PARTICIPANTS = SizeLimit(
    "session", ("participants",), 1_000_000, "participants_size", "delete participants of it"
)


@dataclass(frozen=True)
class SessionChange:
    """The change of a session by an append in the same command.

    Attributes:
        create: The document of the session that is begun if there is none.
        update: The update of the session.
        after: The newest position that there may be, -1 for none.
        revision: The revision that the session must still have.
        added: The bytes that the update adds to what has a limit in sum.
        count: The count that the session must still have of it; None for any count.
        epoch: The epoch that its messages must still have; None for any.
    """

    create: StoredDocument | None = None
    update: StoredDocument = field(default_factory=dict)
    after: int | None = None
    revision: int | None = None
    added: int = 0
    count: int | None = None
    epoch: str | None = None

    @classmethod
    def from_options(cls, key: str, options: Mapping[str, Any]) -> SessionChange:
        """Return the change that callers ask for of the session with that `_id`."""
        checked = check_members(options, AppendOptions)
        create, update = check_create(checked.get("create", False)), checked.get("update")
        after, revision = checked.get("after"), checked.get("revision")
        if not isinstance(update, dict | None):
            raise InvalidValueError("update", "must be a dict of members")
        if after is not None and (after != -1 or type(after) is not int):
            check_number("after", after)
        if revision is not None:
            revision_guard(revision)
        document = None if create is None else new_session(key, create)
        if not update:
            return cls(document, {}, after, revision)
        changes, session_id = session_update(update), key.partition("/")[2]
        added = MERGED.added(session_id, changes)
        begun = document[MERGED.field] if document else 0
        changes["$inc"][MERGED.field] = added + begun
        return cls(document, changes, after, revision, added)

    @property
    def may_create(self) -> bool:
        """Whether the session may be begun: any guard but that of an empty session needs one."""
        return self.create is not None and self.revision is None and self.after in (None, -1)

    def begin(self) -> StoredDocument:
        """Return the document of the session that is begun, each time with a life of its own.

        A late deletion removes what belongs to the life that it has met.
        """
        begun = self.create or {}
        token = uuid4().hex
        return {
            **begun,
            "participants": renew_epochs(begun.get("participants", {}), token),
            "epoch": uuid4().hex,
            "create_op": life_token(token, current_operation().time),
        }

    def guard(self) -> StoredDocument:
        """Return the filter of a session that the guards allow to be changed."""
        guard = revision_guard(self.revision)
        if self.epoch is not None:
            guard["epoch"] = self.epoch
        if self.after is not None:
            guard["next_position"] = {"$not": {"$gt": 0}} if self.after < 0 else self.after + 1
        if self.count is not None:
            guard[MERGED.field] = self.count
        elif self.added:
            guard[MERGED.field] = {"$not": {"$gt": MERGED.limit - self.added}}
        return guard

    def recounted(self, session: StoredDocument) -> SessionChange:
        """Return the change for a session, with the true size if the count does not allow it."""
        count = session.get(MERGED.field, 0)
        if not self.added or count <= MERGED.limit - self.added:
            return self
        # Any other write would have raised the count.
        exact = MERGED.exact(session["session_id"], session, self.update)
        return replace(self, create=None, update=exact, count=count)

    def holds(self, session: StoredDocument) -> bool:
        """Return whether the guards allow a session to be changed."""
        is_newest = self.after is None or session["next_position"] == self.after + 1
        is_newest &= self.epoch in (None, session["epoch"])
        return is_newest and revision_guard(self.revision).items() <= session.items()

    def with_append(self, append: StoredDocument) -> StoredDocument:
        """Return the update that does both: this change and that of an append."""
        both = {
            operator: {**self.update.get(operator, {}), **append.get(operator, {})}
            for operator in {**self.update, **append}
        }
        if not self.may_create or self.create is None:
            return both
        written = {path for paths in both.values() for path in paths}
        begun = self.begin()
        if any(path.startswith("metadata.") for path in written):
            # No two operators may name a field and a part of it.
            begun |= {f"metadata.{name}": value for name, value in begun.pop("metadata").items()}
        heads = {path.partition(".")[0] for path in written} - {"metadata"}
        return {
            **both,
            "$setOnInsert": {
                path: value
                for path, value in begun.items()
                if path != "_id" and path not in written and path not in heads
            },
        }


def new_session(key: str, members: Mapping[str, Any]) -> StoredDocument:
    """Return the document of a session that is created with the members of `SessionCreate`."""
    call, checked = current_operation(), resolve_expiry(check_members(members, SessionCreate))
    created_at, participants = checked.pop("created_at", None), checked.pop("participants", ())
    metadata = encode_members("metadata", checked.pop("metadata", None) or {})
    created = call.now if created_at is None else to_micros("created_at", created_at)
    defaults = {"user_id": None, "name": None, "description": None}
    document = to_new_session(
        {
            "_id": key,
            "namespace": key.partition("/")[0],
            "session_id": key.partition("/")[2],
            **to_stored_members({**defaults, **checked, "data": checked.get("data") or {}}),
            "metadata": metadata,
            "participants": (bound := bind_all(participants, created, call.token)),
            "participant_names": [*bound],
            "created_at": created,
            # One from elsewhere is as old as it says; a time to come would keep it on top of lists.
            **dict.fromkeys(("updated_at", "active_at"), min(created, call.now)),
            "epoch": uuid4().hex,
            # A call that began before others may create the session behind what they do.
            "create_op": life_token(at=call.time),
        }
    )
    name = document["session_id"]
    return document | MERGED.count(name, document) | PARTICIPANTS.count(name, document)


def session_update(members: Mapping[str, Any]) -> StoredDocument:
    """Return the update of a session's head by the members of `SessionUpdate`."""
    checked = resolve_expiry(check_members(members, SessionUpdate))
    metadata, removed = take_metadata(checked)
    sets = to_stored_members(checked) | {f"metadata.{name}": value for name, value in metadata.items()}
    update: StoredDocument = {
        "$set": sets,
        "$inc": {"revision": 1},
        "$max": {"updated_at": current_operation().now, "active_at": current_operation().active_at},
    }
    if removed:
        update["$unset"] = {f"metadata.{name}": "" for name in removed}
    return update


def state_change(state: str, deleted_at: int | None) -> StoredDocument:
    """Return the update that hides a session, or shows it again."""
    return {
        "$set": {"state": state, "deleted_at": deleted_at},
        "$inc": {"revision": 1},
        "$max": {"updated_at": current_operation().now},
    }
