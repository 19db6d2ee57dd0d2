"""How each value is stored: the Beanie documents, and the names of their fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from beanie import Document, init_beanie

from mongostore.documents.keys import KeyDocument
from mongostore.documents.notes import (
    LeaseDocument,
    ObservationDocument,
    ReadMarkerDocument,
    TaskDocument,
    VoiceDeliveryDocument,
)
from mongostore.documents.people import (
    AddressDocument,
    IdentityDocument,
    RequestDocument,
    VerificationDocument,
)
from mongostore.documents.rooms import BindingDocument, EventDocument, ParticipantDocument, RoomDocument
from mongostore.documents.sessions import OverflowDocument, SegmentDocument, SessionDocument
from mongostore.documents.threads import ElementDocument, MessageDocument, ThreadDocument, UserDocument
from mongostore.engines import Database

D = TypeVar("D", bound=Document)

# GridFS's own layout, which is no document of ours.
FILES = ("files.chunks", "files.files")


@dataclass(frozen=True)
class Documents:
    """The document classes of one store, bound to its database."""

    sessions: type[SessionDocument]
    segments: type[SegmentDocument]
    overflows: type[OverflowDocument]
    rooms: type[RoomDocument]
    events: type[EventDocument]
    bindings: type[BindingDocument]
    participants: type[ParticipantDocument]
    identities: type[IdentityDocument]
    addresses: type[AddressDocument]
    verifications: type[VerificationDocument]
    requests: type[RequestDocument]
    tasks: type[TaskDocument]
    observations: type[ObservationDocument]
    read_markers: type[ReadMarkerDocument]
    voice_deliveries: type[VoiceDeliveryDocument]
    leases: type[LeaseDocument]
    users: type[UserDocument]
    threads: type[ThreadDocument]
    messages: type[MessageDocument]
    elements: type[ElementDocument]
    keys: type[KeyDocument]

    @classmethod
    async def bind(cls, database: Database) -> Documents:
        """Return document classes of this database alone.

        Beanie ties a class to one database for the whole process, the last one winning silently. So
        each store gets classes of its own, made from the bases of the declared ones, which stay unbound.
        """
        bound = cls(
            _unbound(SessionDocument),
            _unbound(SegmentDocument),
            _unbound(OverflowDocument),
            _unbound(RoomDocument),
            _unbound(EventDocument),
            _unbound(BindingDocument),
            _unbound(ParticipantDocument),
            _unbound(IdentityDocument),
            _unbound(AddressDocument),
            _unbound(VerificationDocument),
            _unbound(RequestDocument),
            _unbound(TaskDocument),
            _unbound(ObservationDocument),
            _unbound(ReadMarkerDocument),
            _unbound(VoiceDeliveryDocument),
            _unbound(LeaseDocument),
            _unbound(UserDocument),
            _unbound(ThreadDocument),
            _unbound(MessageDocument),
            _unbound(ElementDocument),
            _unbound(KeyDocument),
        )
        # Index definitions live in `indexes/`; Beanie's own handling loses some of them.
        await init_beanie(database, document_models=list(vars(bound).values()), skip_indexes=True)
        return bound

    def collections(self) -> list[str]:
        """Return the names of all collections, in alphabetical order."""
        return sorted([*(document.get_collection_name() for document in vars(self).values()), *FILES])


def _unbound(declared: type[D]) -> type[D]:
    """Return a twin of a declared document class, not bound to any database yet."""
    settings = vars(declared)["Settings"]
    names = {
        "__module__": declared.__module__,
        "__qualname__": declared.__qualname__,
        "__doc__": declared.__doc__,
    }
    make: Any = type(declared)
    twin: type[D] = make(declared.__name__, declared.__bases__, {**names, "Settings": settings})
    return twin
