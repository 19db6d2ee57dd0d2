"""How each value is stored: the Beanie documents, and the names of their fields."""

from __future__ import annotations

from beanie import Document

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

# GridFS's own layout, which is no document of ours.
FILES = ("files.chunks", "files.files")


# The documents declare how values are stored; the store itself reads and writes through the driver.
DOCUMENTS: tuple[type[Document], ...] = (
    SessionDocument,
    SegmentDocument,
    OverflowDocument,
    RoomDocument,
    EventDocument,
    BindingDocument,
    ParticipantDocument,
    IdentityDocument,
    AddressDocument,
    VerificationDocument,
    RequestDocument,
    TaskDocument,
    ObservationDocument,
    ReadMarkerDocument,
    VoiceDeliveryDocument,
    LeaseDocument,
    UserDocument,
    ThreadDocument,
    MessageDocument,
    ElementDocument,
    KeyDocument,
)

# The names of all collections, in alphabetical order.
COLLECTIONS = tuple(sorted([*(vars(document)["Settings"].name for document in DOCUMENTS), *FILES]))
