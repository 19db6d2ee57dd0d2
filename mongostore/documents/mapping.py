"""The mapping between models and stored documents, derived from the declarations of the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

import bson
from bson import json_util
from bson.errors import BSONError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mongostore.errors import DocumentTooLargeError, InvalidDocumentError, InvalidValueError
from mongostore.models.fields import Codec, StoreOwned

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

# A document, or a part of one, as the driver gives and takes it.
StoredDocument = dict[str, Any]

SCHEMA_VERSION = 1
# Room for the envelope around a value in a document of 16 MiB.
MAX_VALUE_BYTES = 16 * 1024 * 1024 - 64 * 1024
# What is raised where a member is missing, or of a type that cannot even be unpacked.
DECODE_ERRORS = (ValidationError, AttributeError, KeyError, OverflowError, TypeError, ValueError)


class StoredPart(BaseModel):
    """The base of classes that describe stored documents and parts of them."""

    # Documents are read as the models of callers, so that few of these are ever built.
    model_config: ClassVar[ConfigDict] = ConfigDict(defer_build=True)


class Stored(StoredPart):
    """The member of a stored document that is the store's own, beside those of a model."""

    schema_version: int = SCHEMA_VERSION


class Searched(StoredPart):
    """The fields of documents with texts for the search.

    Attributes:
        words: The words of their texts, once they are made.
        unindexed: A number of the last change of a text of which words are not made yet.
    """

    words: list[str] = Field(default_factory=list)
    unindexed: int | None = None


def to_extended_json(document: StoredDocument) -> str:
    """Return a document as relaxed Extended JSON, which has a form for every type of BSON."""
    return json_util.dumps(document, json_options=json_util.RELAXED_JSON_OPTIONS, ensure_ascii=False)


def bson_size(path: str, document: Mapping[str, Any]) -> int:
    """Return the number of bytes that a document takes as BSON."""
    try:
        return len(bson.encode(document))
    except (BSONError, OverflowError, RecursionError, UnicodeError) as error:
        raise InvalidValueError(path, f"cannot be stored ({type(error).__name__})") from None


def check_size(what: str, document: Mapping[str, Any], limit: int = MAX_VALUE_BYTES) -> int:
    """Return how many bytes something takes; refuse more than a limit, by default that of a document."""
    if (size := bson_size(what, document)) > limit:
        raise DocumentTooLargeError(what, size, limit)
    return size


def invalid_fields(error: Exception) -> tuple[str, ...]:
    """Return the names of the fields that do not fit, without their values."""
    if not isinstance(error, ValidationError):
        return ()
    return tuple(sorted({".".join(map(str, detail["loc"])) for detail in error.errors(include_input=False)}))


def check_instance(path: str, value: Any, model: type[T]) -> T:
    """Return `value`, which must be an instance of a model."""
    if not isinstance(value, model):
        raise InvalidValueError(path, f"must be {_with_article(model.__name__)}, not {type(value).__name__}")
    taken: T = value
    if type(value) is not model and isinstance(value, BaseModel):
        known: Any = model
        if added := sorted(type(value).model_fields.keys() - known.model_fields.keys()):
            raise InvalidValueError(path, f"no {model.__name__} has {', '.join(added)}: put them into data")
    return taken


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIO' else 'a'} {noun}"


def check_fits(what: str, stored: StoredDocument) -> StoredDocument:
    """Return a document that is not too large."""
    check_size(what, stored)
    return stored


def decode_document(kind: str, document: StoredDocument, read: Callable[[], T]) -> T:
    """Return what `read` makes of a stored document."""
    try:
        return read()
    except DECODE_ERRORS as error:
        raise InvalidDocumentError(kind, str(document.get("_id")), invalid_fields(error)) from None


def reader(
    model: type[M],
    kind: str,
    key: str = "_id",
    prepare: Callable[[StoredDocument], StoredDocument] | None = None,
) -> Callable[[StoredDocument], M]:
    """Return what reads documents of a model, passing over members of newer versions.

    The function raises `InvalidDocumentError`, which names the document by its `kind` and `key`.

    Args:
        model: The model.
        kind: Its name in errors.
        key: The stored name of the model's id, or of what else names the document.
        prepare: Returns the members of the model that are not stored as such.
    """
    has_id = "id" in model.model_fields

    def read(document: StoredDocument) -> M:
        try:
            members = {**document, "id": document[key]} if has_id else document
            if prepare:
                members = {**members, **prepare(document)}
            # By the class at each call, for the validator is built at the first one.
            value: M = model.__pydantic_validator__.validate_python(members, strict=True, extra="ignore")
        except DECODE_ERRORS as error:
            raise InvalidDocumentError(kind, str(document.get(key)), invalid_fields(error)) from None
        return value

    return read


def writer(
    model: type[M],
    kind: str,
    key: str = "_id",
    path: str | None = None,
    more: Callable[[M, StoredDocument], StoredDocument] = lambda value, stored: {},
) -> Callable[[M], StoredDocument]:
    """Return what makes documents of a model's values, but for what the store adds.

    The function raises `InvalidValueError` where a value cannot be stored, and `DocumentTooLargeError`.

    Args:
        model: The model.
        kind: Its name in errors.
        key: The stored name of the model's id, or of what else names the document.
        path: The argument's name in errors, where it is not the kind.
        more: Returns what is stored beside the members, of a value and its stored form.
    """

    def write_one(value: M) -> StoredDocument:
        stored = write(check_instance(path or kind, value, model))
        if "id" in stored:
            stored = {key: stored.pop("id"), **stored}
        name = stored[key]
        return check_fits(
            f"{kind} {name!r}", {**stored, **more(value, stored), "schema_version": SCHEMA_VERSION}
        )

    return write_one


def write(value: BaseModel) -> StoredDocument:
    """Return the stored form of a caller's members, without those that the store alone moves."""
    return {name: write_one(name, getattr(value, name)) for name, write_one in _writers(type(value)).items()}


def write_slim(value: BaseModel) -> StoredDocument:
    """Return the stored form of a caller's members, without those that read back by default."""
    stored, members = {}, value.__dict__
    for name, (write_one, takes_none, is_map) in _slim_writers(type(value)).items():
        member = members[name]
        if not (member is None and takes_none) and not (is_map and member == {}):
            stored[name] = write_one(name, member)
    return stored


def write_members(model: type[BaseModel], members: Mapping[str, Any]) -> StoredDocument:
    """Return the stored form of some members of a model, by their own names."""
    writers = _writers(model)
    return {name: writers[name](name, value) for name, value in members.items()}


@cache
def _writers(model: type[BaseModel]) -> dict[str, Callable[[str, Any], Any]]:
    return {
        name: writer
        for name, member in model.model_fields.items()
        if (writer := _writer(member.annotation, member.metadata))
    }


@cache
def _slim_writers(model: type[BaseModel]) -> dict[str, tuple[Callable[[str, Any], Any], bool, bool]]:
    """Return what writes each member, whether it may be None, and whether it is empty by default."""
    members = model.model_fields
    return {
        name: (write_one, members[name].default is None, members[name].default_factory is dict)
        for name, write_one in _writers(model).items()
    }


def _writer(annotation: Any, metadata: Sequence[Any]) -> Callable[[str, Any], Any] | None:
    """Return what writes a type with its marks, None for what has no codec or is the store's."""
    if any(isinstance(item, StoreOwned) for item in metadata):
        return None
    for item in metadata:
        if isinstance(item, Codec):
            return item.write
    if get_origin(annotation) in (Union, UnionType):
        for arm in get_args(annotation):
            if get_origin(arm) is Annotated and (write_one := _writer(arm, arm.__metadata__)):
                return _optional(write_one)
    return None


def _optional(write_one: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda path, value: None if value is None else write_one(path, value)
