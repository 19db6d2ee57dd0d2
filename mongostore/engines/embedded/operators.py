"""Updates and projections of one document, where mongomock differs from a server."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import bson
from mongomock import aggregate, filtering
from pymongo.errors import DocumentTooLarge, OperationFailure, WriteError

from mongostore.engines.mongo import CODEC

Document = dict[str, Any]

MAX_DOCUMENT = 16 * 1024 * 1024

# mongomock has no types: these are the ones of what is used of it.
matches: Callable[[Mapping[str, Any], Any], bool] = filtering.filter_applies
compares: Callable[[Callable[[Any, Any], Any], Any, Any], bool] = filtering.bson_compare
_Expressions: Any = aggregate._Parser  # the one way to name $$NOW

_MISSING = object()
# One of its own, for a caller's is never the same object as one that a server has sent.
_NAN = float("nan")
# How a stored NaN ends, of either sign.
_NAN_ENDS = (b"\xf8\x7f", b"\xf8\xff")


def deep_copy(document: Mapping[str, Any]) -> Document:
    """Return what a server would give back for `document`, sharing nothing with it."""
    data = bson.encode(document, codec_options=CODEC)
    if len(data) > MAX_DOCUMENT:
        raise DocumentTooLarge(f"BSON document too large ({len(data)} bytes)")
    copy = bson.decode(data, CODEC)
    return _share_nan(copy) if any(end in data for end in _NAN_ENDS) else copy


def _share_nan(value: Any) -> Any:
    """Return a value with one NaN in all places: Python finds two of them equal as the same object alone."""
    if isinstance(value, dict):
        return {key: _share_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_share_nan(item) for item in value]
    return _NAN if isinstance(value, float) and math.isnan(value) else value


def is_identical(one: Any, other: Any) -> bool:
    """Return whether two values are stored alike, as 1, 1.0 and True are not."""
    return one is not _MISSING and bson.encode({"": one}, codec_options=CODEC) == bson.encode(
        {"": other}, codec_options=CODEC
    )


def upsert_base(filter: Document) -> Document:
    """Return the document that an upsert starts from: the equalities of `filter`."""
    change = DocumentUpdate({})
    for path, condition in sorted(filter.items()):
        if path == "$and":
            for part in condition:
                for name, value in upsert_base(part).items():
                    change.put([name], value)
        elif isinstance(condition, dict) and next(iter(condition), "").startswith("$"):
            if "$eq" in condition:
                change.put(path.split("."), condition["$eq"])
        elif not path.startswith("$"):
            change.put(path.split("."), condition)
    return change.document


class DocumentUpdate:
    """One update of one document, and its form in a change stream.

    Attributes:
        document: The document as it becomes.
        updated: The new values by their paths, as fine as a server's.
        removed: The paths that are gone.
    """

    def __init__(self, before: Document) -> None:
        self.document: Document = deep_copy(before)
        self.updated: Document = {}
        self.removed: list[str] = []

    def apply(self, update: Document | list[Document], filter: Document, *, inserting: bool = False) -> None:
        """Carry out `update`, operators or a pipeline, on a document that `filter` has found."""
        if isinstance(update, list):
            before = deep_copy(self.document)
            for stage in update:
                self._stage(stage)
            self.updated, self.removed = _difference(before, self.document)
        else:
            self._operators(update, filter, inserting)
        try:
            self.document = deep_copy(self.document)
        except DocumentTooLarge as error:
            raise WriteError(str(error), 10334) from error

    def _stage(self, stage: Document) -> None:
        expressions = _Expressions(
            self.document, user_vars={"NOW": datetime.now(UTC).replace(tzinfo=None)}, ignore_missing_keys=True
        )
        match stage:
            case {"$set": fields}:
                computed = {path: expressions.parse(expression) for path, expression in fields.items()}
                for path, value in computed.items():
                    self.put(path.split("."), value)
            case {"$unset": str(path)}:
                self._remove(path.split("."))
            case {"$replaceWith": expression}:
                self.document = expressions.parse(expression)
            case _:
                raise WriteError(
                    f"This engine knows no stage of an update but $set, $unset and $replaceWith: {stage!r}", 9
                )

    def _operators(self, update: Document, filter: Document, inserting: bool) -> None:
        steps = [
            (self._resolve_path(path, filter), name, value)
            for name, fields in update.items()
            for path, value in fields.items()
            if inserting or name != "$setOnInsert"
        ]
        steps.sort(key=lambda step: step[0])
        for (path, *_), (other, *_) in itertools.pairwise(steps):
            if other[: len(path)] == path:
                raise WriteError(
                    f"Updating the path {'.'.join(other)!r} would create a conflict at {'.'.join(path)!r}", 40
                )
        for path, name, value in steps:
            self._step(name, path, value)

    def put(self, path: list[str], value: Any) -> None:
        """Set the value at `path`, making the documents on the way."""
        if is_identical(_get_path(self.document, path), value):
            return
        while len(path) > 1 and _get_path(self.document, path[:-1]) is _MISSING:
            *path, name = path
            value = {name: value}
        parent, name = _get_path(self.document, path[:-1]), path[-1]
        if isinstance(parent, dict):
            parent[name] = value
        elif isinstance(parent, list) and name.isdecimal():
            parent.extend([None] * (int(name) + 1 - len(parent)))
            parent[int(name)] = value
        else:
            raise WriteError(f"Cannot create field {name!r} in element {'.'.join(path[:-1])!r}", 28)
        self._record_change(path, value)

    def _step(self, name: str, path: list[str], value: Any) -> None:
        current = _get_path(self.document, path)
        match name:
            case "$set" | "$setOnInsert":
                self.put(path, value)
            case "$unset":
                self._remove(path)
            case "$inc":
                self.put(path, value if current is _MISSING else _sum(path, current, value))
            case "$max" | "$min":
                compare = operator.gt if name == "$max" else operator.lt
                if current is _MISSING or compares(compare, value, current):
                    self.put(path, value)
            case "$push":
                array, items = _array(path, current), _each(value)
                if isinstance(value, dict) and "$slice" in value:
                    self.put(path, _slice(array + items, value["$slice"]))
                else:
                    self._extend(path, array, items)
            case "$addToSet":
                array = _array(path, current)
                fresh: list[Any] = []
                for item in _each(value):
                    if not any(compares(operator.eq, item, other) for other in array + fresh):
                        fresh.append(item)
                self.put(path, array + fresh)
            case "$pull":
                array = _array(path, current)
                if current is not _MISSING:
                    self.put(path, [item for item in array if not _pull(value, item)])
            case _:
                raise WriteError(f"Unknown modifier: {name}", 9)

    def _extend(self, path: list[str], array: list[Any], items: list[Any]) -> None:
        if not array:
            self.put(path, items)
            return
        for index, item in enumerate(items, start=len(array)):
            self._record_change([*path, str(index)], item)
        array.extend(items)

    def _remove(self, path: list[str]) -> None:
        if _get_path(self.document, path) is _MISSING:
            return
        parent = _get_path(self.document, path[:-1])
        if isinstance(parent, list):
            self.put(path, None)
        else:
            del parent[path[-1]]
            self.removed.append(".".join(path))

    def _record_change(self, path: list[str], value: Any) -> None:
        # A document made by this very update is told whole, with whatever else goes into it.
        if not any(".".join(path[:depth]) in self.updated for depth in range(1, len(path))):
            self.updated[".".join(path)] = value

    def _resolve_path(self, path: str, filter: Document) -> list[str]:
        parts = path.split(".")
        if "" in parts:
            raise WriteError(f"The update path {path!r} contains an empty field name", 56)
        if "$" in parts:
            position = parts.index("$")
            parts[position] = str(_position(filter, parts[:position], self.document))
        return parts


def _difference(before: Document, after: Document) -> tuple[Document, list[str]]:
    """Return what a server tells of a computed change: new values by their paths, and the paths gone.

    It tells a document whole unless saying what is new in it is shorter.
    """
    removed = [name for name in before if name not in after]
    updated: Document = {}
    for name, value in after.items():
        existing = before.get(name, _MISSING)
        if is_identical(existing, value):
            continue
        if isinstance(existing, dict) and isinstance(value, dict):
            inside, gone = _difference(existing, value)
            if len(bson.encode({"u": inside, "d": dict.fromkeys(gone, False)})) < len(bson.encode(value)):
                updated |= {f"{name}.{path}": item for path, item in inside.items()}
                removed += [f"{name}.{path}" for path in gone]
                continue
        updated[name] = value
    return updated, removed


def project(document: Document, projection: Mapping[str, Any] | Iterable[str] | None) -> Document:
    """Return the part of `document` that `projection` shows; it shares values with it."""
    if not projection:
        return document
    fields: Document = dict(projection) if isinstance(projection, Mapping) else dict.fromkeys(projection, 1)
    slices = {path: fields.pop(path)["$slice"] for path in [*fields] if isinstance(fields[path], dict)}
    flags = {bool(flag) for path, flag in fields.items() if path != "_id"}
    if len(flags) > 1:
        raise OperationFailure("Cannot mix inclusion and exclusion in one projection", 31254)
    including = flags.pop() if flags else bool(fields.get("_id"))
    paths = [path for path, flag in {"_id": True, **fields}.items() if bool(flag) is including]
    tree: Document = {}
    for path in [*paths, *slices] if including else paths:
        branch = tree
        for name in path.split("."):
            branch = branch.setdefault(name, {})
    projected: Document = _pick_fields(document, tree, including)
    for path, window in slices.items():
        if isinstance(projected.get(path), list):
            projected[path] = _slice(projected[path], window)
    return projected


def _pick_fields(value: Any, tree: Document, including: bool) -> Any:
    if isinstance(value, list):
        return [
            _pick_fields(item, tree, including)
            for item in value
            if not including or isinstance(item, dict | list)
        ]
    if not isinstance(value, dict):
        return value
    picked = {}
    for name, member in value.items():
        if tree.get(name):
            if not including or isinstance(member, dict | list):
                picked[name] = _pick_fields(member, tree[name], including)
        elif (name in tree) is including:
            picked[name] = member
    return picked


def _get_path(value: Any, path: list[str]) -> Any:
    for name in path:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return _MISSING
    return value


def _sum(path: list[str], current: Any, amount: Any) -> Any:
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (current, amount)):
        raise WriteError(f"Cannot apply $inc to the field {'.'.join(path)!r}: not a number", 14)
    total = current + amount
    if isinstance(total, int) and total.bit_length() > 63:
        raise WriteError(f"Failed to apply $inc to the field {'.'.join(path)!r}: more than 64 bits", 2)
    return total


def _array(path: list[str], value: Any) -> list[Any]:
    if value is _MISSING:
        return []
    if not isinstance(value, list):
        raise WriteError(f"The field {'.'.join(path)!r} must be an array", 2)
    return value


def _each(value: Any) -> list[Any]:
    if not isinstance(value, dict) or "$each" not in value:
        return [value]
    if value.keys() - {"$each", "$slice"} or not isinstance(value["$each"], list):
        raise WriteError("This engine knows no modifiers of $push but $each, with an array, and $slice", 2)
    return value["$each"]


def _pull(condition: Any, item: Any) -> bool:
    if isinstance(condition, dict) and not next(iter(condition), "").startswith("$"):
        return isinstance(item, dict) and matches(condition, item)
    return matches({"item": condition}, {"item": item})


def _position(filter: Document, path: list[str], document: Document) -> int:
    """Return the index that `$` stands for: that of the element by which `filter` found the document."""
    array, members = ".".join(path), ".".join(path) + "."
    wanted = [
        condition["$elemMatch"] if name == array else {name.removeprefix(members): condition}
        for name, condition in filter.items()
        if (name == array and isinstance(condition, dict) and "$elemMatch" in condition)
        or (name.startswith(members) and (not isinstance(condition, dict) or "$in" in condition))
    ]
    items = _get_path(document, path)
    for index, item in enumerate(items if wanted and isinstance(items, list) else ()):
        if isinstance(item, dict) and matches(wanted[0], item):
            return index
    raise WriteError("The positional operator did not find the match needed from the query.", 2)


def _slice(items: list[Any], window: int | list[int]) -> list[Any]:
    if isinstance(window, int):
        return items[window:] if window < 0 else items[:window]
    skip, limit = window
    start = skip if skip >= 0 else max(len(items) + skip, 0)
    return items[start : start + limit]
