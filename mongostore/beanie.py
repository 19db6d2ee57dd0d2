"""Read-only Beanie documents of sessions, threads and rooms, to query, link to and subclass.

`await init_beanie(database, document_models=[Order, *DOCUMENTS])` binds them for a process, as Beanie does;
`store.documents` has the same classes bound to the database of one store.

Times are stored as microseconds since 1970. Datetimes in a `find` of these documents are compared as such; in
an aggregation pipeline, and in a query through a `Link`, write `to_micros(moment)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from beanie import Document, init_beanie
from beanie.odm.fields import ExpressionField
from pydantic import BaseModel, ConfigDict, Field

from mongostore import codec, models
from mongostore.codec import from_micros
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.session_participants import participant_documents
from mongostore.documents.sessions import StoredContext
from mongostore.documents.threads import feedback_of
from mongostore.errors import UnsupportedError
from mongostore.models.fields import Id, Time
from mongostore.models.sessions import ParticipantFields, SessionFields

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

_PASSED_THROUGH = {
    *("name", "full_name", "database", "codec_options", "list_indexes"),
    *("read_concern", "read_preference", "write_concern"),
}
# What must be the first stage of a pipeline.
_FIRST_STAGES = {"$geoNear", "$search", "$searchMeta", "$vectorSearch"}


def to_micros(moment: datetime) -> int:
    """Return a time as it is stored.

    Raises:
        InvalidValueError: If it has no time zone.
    """
    return codec.to_micros("time", moment)


class _ReadOnlyCollection:
    """A read-only collection for Beanie, whose ways to write all call methods of the collection.

    It hides documents that are deleted for good, or have expired by this host's clock. It lists no indexes,
    because `init_beanie(allow_index_dropping=True)` would drop the store's.

    Args:
        collection: The collection of the driver.
        verbs: The part of the store that writes to it.
        visible: Returns the filter of the documents to show.
    """

    def __init__(self, collection: Any, verbs: str, visible: Callable[[], StoredDocument]) -> None:
        self._collection = collection
        self._verbs = verbs
        self._visible = visible

    def __getattr__(self, name: str) -> Any:
        if name in _PASSED_THROUGH:
            return getattr(self._collection, name)
        raise UnsupportedError(
            f"{self._collection.name} are only read through Beanie ({name} was asked for): use {self._verbs}"
        )

    def find(self, filter: Any = None, *args: Any, **options: Any) -> Any:
        return self._collection.find(self._with_visible(filter), *args, **options)

    def find_one(self, filter: Any = None, *args: Any, **options: Any) -> Any:
        return self._collection.find_one(self._with_visible(filter), *args, **options)

    def count_documents(self, filter: Any, **options: Any) -> Any:
        return self._collection.count_documents(self._with_visible(filter), **options)

    def distinct(self, key: str, filter: Any = None, **options: Any) -> Any:
        return self._collection.distinct(key, self._with_visible(filter), **options)

    def aggregate(self, pipeline: Sequence[StoredDocument], **options: Any) -> Any:
        index = 1 if pipeline and not _FIRST_STAGES.isdisjoint(pipeline[0]) else 0
        stages = [*pipeline[:index], {"$match": self._visible()}, *pipeline[index:]]
        return self._collection.aggregate(stages, **options)

    async def index_information(self) -> StoredDocument:
        return {}

    def _with_visible(self, filter: Any) -> Any:
        visible = self._visible()
        return {"$and": [filter, visible]} if filter and visible else filter or visible


class ReadOnly(BaseModel):
    """The base of the documents.

    It does not derive from `Document`: Beanie would bind it as their parent, and later classes would inherit
    that binding.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore")
    VERBS: ClassVar[str]

    def __init__(self, **stored: Any) -> None:
        """Read a stored document.

        pydantic passes neither `strict` nor `extra` through an `__init__` such as Beanie's, so this one does.
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
        """Bind the class to a read-only collection."""
        super().set_collection(_ReadOnlyCollection(collection, cls.VERBS, cls._visible))  # type: ignore[misc]  # a stand-in

    @classmethod
    def _visible(cls) -> StoredDocument:
        return {}

    @classmethod
    def _members(cls, document: StoredDocument) -> StoredDocument:
        return document


class Projection(BaseModel):
    """The base of models for projections and aggregations, such as `SessionSummary`.

    Its fields may have the types of the documents, such as `Time`.
    """

    @classmethod
    def model_validate(cls, obj: Any, **how: Any) -> Self:
        """Read a stored document."""
        return super().model_validate(obj, **{**how, "strict": True, "extra": "ignore"})


def _not_expired() -> StoredDocument:
    return {"expires_at": {"$not": {"$lte": to_micros(datetime.now(UTC))}}}


class _Settings:
    bson_encoders: ClassVar[dict[type, Callable[[Any], Any]]] = {datetime: to_micros}


class SessionMessage(models.Message):
    """A message in the document of its session.

    Attributes:
        overflow: The id, in `session_overflows`, of content and data that are too large to embed.
    """

    overflow: str | None = None


class _SessionMembers(SessionFields, ReadOnly):
    VERBS: ClassVar[str] = "store.sessions"
    session_id: Id
    message_count: int = 0
    participants: list[ParticipantFields] = Field(default_factory=list)
    context: StoredContext | None = None
    messages: list[SessionMessage] = Field(default_factory=list)

    @classmethod
    def _visible(cls) -> StoredDocument:
        return {"state": {"$ne": "deleting"}, **_not_expired()}

    @classmethod
    def _members(cls, document: StoredDocument) -> StoredDocument:
        stored = document.get("messages", [])
        first = document.get("next_position", 0) - len(stored)
        positioned = [
            {"updated_at": message["created_at"], **message, "position": index}
            for index, message in enumerate(stored, first)
            if message
        ]
        return {**document, "messages": positioned, "participants": participant_documents(document)}


class SessionSummary(SessionFields, Projection):
    """A session without its messages, for lists: `Session.find(…).project(SessionSummary)`."""

    id: Id = Field(alias="_id")
    session_id: Id
    message_count: int = 0


class _RoomMembers(models.Room, ReadOnly):
    VERBS: ClassVar[str] = "store.rooms"

    @classmethod
    def _visible(cls) -> StoredDocument:
        return {"state": "open", **_not_expired()}


class _EventMembers(models.Event, ReadOnly):
    VERBS: ClassVar[str] = "store.rooms.events"

    @classmethod
    def _visible(cls) -> StoredDocument:
        # What is left of a deleted event has none.
        return {"index": {"$gte": 0}}


class _ThreadMembers(models.Thread, ReadOnly):
    VERBS: ClassVar[str] = "store.threads"

    @classmethod
    def _visible(cls) -> StoredDocument:
        return {"state": {"$ne": "deleted"}, **_not_expired()}


class _ThreadMessageMembers(models.ThreadMessage, ReadOnly):
    VERBS: ClassVar[str] = "store.threads.messages"

    @classmethod
    def _visible(cls) -> StoredDocument:
        return {"state": {"$ne": "deleted"}}

    @classmethod
    def _members(cls, document: StoredDocument) -> StoredDocument:
        return {**document, **feedback_of(document)}


# The documents themselves have `Settings` alone, so that a copy of a class needs nothing else.
class Session(_SessionMembers, Document):
    """A session; `id` is `namespace/session_id`, and `messages` are the newest, which are embedded."""

    class Settings(_Settings):
        """Where it is stored."""

        name = "sessions"
        # Participants and positions are read from fields that are no members.
        projection = None


class Room(_RoomMembers, Document):
    """A room; its events have it as their `room_id`.

    Its `event_count`, `latest_index` and `active_at` may be old: each event has those of its room in
    `counters`, and `store.rooms.get` those of the newest one.
    """

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
    """A document class, bound to the collections of `Documents` at the first access."""

    def __init__(self, declared: type[D]) -> None:
        self._declared = declared

    def __get__(self, documents: Documents, owner: type[Documents]) -> type[D]:
        bound: type[D] = documents.bound.get(self._declared) or _bound_class(
            self._declared, documents.collection
        )
        documents.bound[self._declared] = bound
        return bound


class Documents:
    """Document classes bound to the collections of one store."""

    Session: Final = _Bound(Session)
    Room: Final = _Bound(Room)
    Event: Final = _Bound(Event)
    Thread: Final = _Bound(Thread)
    ThreadMessage: Final = _Bound(ThreadMessage)

    def __init__(self, collection: Callable[[str], Any]) -> None:
        self.collection = collection
        self.bound: dict[type[Document], Any] = {}


def _bound_class(declared: Any, collection: Callable[[str], Any]) -> Any:
    """Return a bound copy of a document class: Beanie binds a class once in a process."""
    own = {name: vars(declared)[name] for name in ("__module__", "__doc__", "Settings")}
    bound = type(declared)(
        declared.__name__, declared.__bases__, {**own, "__qualname__": declared.__qualname__}
    )
    database: Any = _Collections(collection)
    binding = init_beanie(database, document_models=[bound], skip_indexes=True)
    # Beanie sends no command to the server here, so the coroutine ends at its first step.
    with suppress(StopIteration):
        binding.send(None)
        raise AssertionError("Beanie sends a command when it binds a document")
    return bound


class _Collections:
    """A database for Beanie; it answers the two commands itself that serve time series and views."""

    def __init__(self, collection: Callable[[str], Any]) -> None:
        self._collection = collection
        self.client = self

    def __getitem__(self, name: str) -> Any:
        return self._collection(name)

    def append_metadata(self, driver: object) -> None:
        """Keep what Beanie tells a server about itself."""

    async def command(self, command: object) -> StoredDocument:
        return {"version": "0.0"}

    async def list_collection_names(self, **options: Any) -> list[str]:
        return []
