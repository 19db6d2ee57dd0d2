"""Beanie documents of sessions, threads and rooms: to be read, linked to and subclassed; the store writes.

`await init_beanie(database, document_models=[Order, *DOCUMENTS])` binds them for a process, as Beanie does;
`store.documents` has the same classes bound to the database of one store.

Times are stored as microseconds since 1970. Datetimes in a `find` of these documents are compared as such; in
an aggregation pipeline, and in a query through a `Link`, write `to_micros(moment)`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar, Generic, Self, TypeVar

from beanie import Document, init_beanie
from beanie.odm.fields import ExpressionField
from pydantic import BaseModel, ConfigDict, Field

from mongostore import models, values
from mongostore.documents.participants import participants_of
from mongostore.documents.sessions import StoredContext
from mongostore.documents.stored import Raw
from mongostore.documents.threads import feedback_of
from mongostore.errors import UnsupportedError
from mongostore.models.fields import Id, Time
from mongostore.models.sessions import SessionFields
from mongostore.values import from_micros

__all__ = [
    "DOCUMENTS",
    "Documents",
    "Event",
    "Projection",
    "Room",
    "Session",
    "SessionMessage",
    "SessionSummary",
    "Thread",
    "ThreadMessage",
    "Time",
    "from_micros",
    "to_micros",
]

D = TypeVar("D", bound=Document)

_READS = {
    *("find", "find_one", "aggregate", "count_documents", "estimated_document_count", "distinct", "watch"),
    *("list_indexes", "name", "full_name", "database", "codec_options"),
    *("read_concern", "read_preference", "write_concern"),
}


def to_micros(moment: datetime) -> int:
    """Return a time as it is stored.

    Raises:
        InvalidValueError: It has no time zone.
    """
    return values.to_micros("time", moment)


class _ReadOnlyCollection:
    """What Beanie is given as the collection: all of its ways to write come to this gate.

    It shows no indexes, or `init_beanie(allow_index_dropping=True)` would drop those that the store needs.
    """

    def __init__(self, collection: Any, verbs: str) -> None:
        self._collection = collection
        self._verbs = verbs

    def __getattr__(self, name: str) -> Any:
        if name in _READS:
            return getattr(self._collection, name)
        raise UnsupportedError(
            f"{self._collection.name} are only read through Beanie ({name} was asked for): use {self._verbs}"
        )

    async def index_information(self) -> Raw:
        return {}


class ReadOnly(BaseModel):
    """What the documents have in common.

    It is no `Document` itself: Beanie would bind it as the parent of all, and later classes inherit that.
    """

    model_config = ConfigDict(extra="ignore")
    VERBS: ClassVar[str]

    def __init__(self, **stored: Any) -> None:
        """Read a stored document.

        pydantic validates through an `__init__` such as Beanie's without `strict` and `extra`; so they are
        given here.
        """
        self.__pydantic_validator__.validate_python(
            self._members(stored), strict=True, extra="ignore", self_instance=self
        )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        # Once a class is bound its fields are query expressions, which a subclass would take for defaults.
        if any(isinstance(field.default, ExpressionField) for field in cls.model_fields.values()):
            raise TypeError(f"{cls.__name__} must be declared before init_beanie binds its parent")

    @classmethod
    def set_collection(cls, collection: Any) -> None:
        """Bind the class to a collection, which it can only read."""
        super().set_collection(_ReadOnlyCollection(collection, cls.VERBS))  # type: ignore[misc]

    @classmethod
    def _members(cls, raw: Raw) -> Raw:
        return raw


class Projection(BaseModel):
    """The base of what a projection or an aggregation is read as, such as `SessionSummary`.

    Its fields may have the types of the documents, such as `Time`.
    """

    @classmethod
    def model_validate(cls, obj: Any, **how: Any) -> Self:
        """Read a stored document."""
        return super().model_validate(obj, **{**how, "strict": True, "extra": "ignore"})


class _Settings:
    bson_encoders: ClassVar[dict[type, Callable[[Any], Any]]] = {datetime: to_micros}


class SessionMessage(models.Message):
    """A message in the document of its session.

    Attributes:
        overflow: The key, in `session_overflows`, of content and data that are too large to be here.
    """

    overflow: str | None = None


class _SessionMembers(SessionFields, ReadOnly):
    VERBS: ClassVar[str] = "store.sessions"
    session_id: Id
    state: str = "open"
    message_count: int = 0
    participants: list[models.SessionParticipant] = Field(default_factory=list)
    context: StoredContext | None = None
    messages: list[SessionMessage] = Field(default_factory=list)

    @classmethod
    def _members(cls, raw: Raw) -> Raw:
        stored = raw.get("messages", [])
        first = raw.get("end", 0) - len(stored)
        placed = [
            {"updated_at": message["created_at"], **message, "position": place}
            for place, message in enumerate(stored, first)
            if message
        ]
        return {**raw, "messages": placed, "participants": participants_of(raw)}


class SessionSummary(SessionFields, Projection):
    """A session without what it says, for lists: `Session.find(…).project(SessionSummary)`."""

    id: Id = Field(alias="_id")
    session_id: Id
    message_count: int = 0


class _RoomMembers(models.Room, ReadOnly):
    VERBS: ClassVar[str] = "store.rooms"


class _EventMembers(models.Event, ReadOnly):
    VERBS: ClassVar[str] = "store.events"


class _ThreadMembers(models.Thread, ReadOnly):
    VERBS: ClassVar[str] = "store.threads"


class _ThreadMessageMembers(models.ThreadMessage, ReadOnly):
    VERBS: ClassVar[str] = "store.messages"

    @classmethod
    def _members(cls, raw: Raw) -> Raw:
        return {**raw, **feedback_of(raw)}


# Nothing but `Settings` stands in the documents themselves, so that a twin needs nothing else.
class Session(_SessionMembers, Document):
    """A session; `id` is its key, `namespace/session_id`, and its newest `messages` are in no segment."""

    class Settings(_Settings):
        """Where it is stored."""

        name = "sessions"
        # What is shown of participants and positions is made of more than the members.
        projection = None


class Room(_RoomMembers, Document):
    """A room; its events have it as their `room_id`."""

    class Settings(_Settings):
        """Where it is stored."""

        name = "rooms"


class Event(_EventMembers, Document):
    """An event of a room."""

    class Settings(_Settings):
        """Where it is stored."""

        name = "events"


class Thread(_ThreadMembers, Document):
    """A thread; its messages have it as their `thread_id`."""

    class Settings(_Settings):
        """Where it is stored."""

        name = "threads"


class ThreadMessage(_ThreadMessageMembers, Document):
    """A message of a thread."""

    class Settings(_Settings):
        """Where it is stored."""

        name = "messages"


DOCUMENTS: list[type[Document]] = [Session, Room, Event, Thread, ThreadMessage]


class _Bound(Generic[D]):
    """A document bound to the collections of `Documents`, when it is first asked for."""

    def __init__(self, declared: type[D]) -> None:
        self._declared = declared

    def __get__(self, documents: Documents, owner: type[Documents]) -> type[D]:
        twin: type[D] = documents.bound.get(self._declared) or _twin(self._declared, documents.collection)
        documents.bound[self._declared] = twin
        return twin


class Documents:
    """Documents bound to the collections of one store and to nothing else."""

    Session = _Bound(Session)
    Room = _Bound(Room)
    Event = _Bound(Event)
    Thread = _Bound(Thread)
    ThreadMessage = _Bound(ThreadMessage)

    def __init__(self, collection: Callable[[str], Any]) -> None:
        self.collection = collection
        self.bound: dict[type[Document], Any] = {}


def _twin(declared: Any, collection: Callable[[str], Any]) -> Any:
    """Return a bound twin of a document, which takes nothing but its bases and `Settings`."""
    own = {name: vars(declared)[name] for name in ("__module__", "__doc__", "Settings")}
    twin = type(declared)(
        declared.__name__, declared.__bases__, {**own, "__qualname__": declared.__qualname__}
    )
    quiet: Any = _Collections(collection)
    binding = init_beanie(quiet, document_models=[twin], skip_indexes=True)
    # Nothing is asked of the server, so that this needs no waiting.
    with suppress(StopIteration):
        binding.send(None)
        raise AssertionError("Beanie waits for something when it binds a document")
    return twin


class _Collections:
    """A database to Beanie; it answers by itself what is asked for the sake of time series and views."""

    def __init__(self, collection: Callable[[str], Any]) -> None:
        self._collection = collection
        self.client = self

    def __getitem__(self, name: str) -> Any:
        return self._collection(name)

    def append_metadata(self, driver: object) -> None:
        """Keep what Beanie tells a server about itself."""

    async def command(self, command: object) -> Raw:
        return {"version": "0.0"}

    async def list_collection_names(self, **options: Any) -> list[str]:
        return []
