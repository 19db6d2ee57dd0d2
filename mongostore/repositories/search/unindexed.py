"""The mark that each write of a text leaves for the search.

A document whose texts have changed is marked with a number of its own, `unindexed`. Its `words` are made when
a search comes: to keep them in an index costs as much as the text, and most texts are never searched for. The
messages and names of threads, of which a user interface searches many, have them from their first write on;
messages perhaps with some of texts that they had before: there the mark asks the search to read the texts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from mongostore.codec import decode, unescape_key
from mongostore.documents.mapping import StoredDocument
from mongostore.repositories.search.texts import TEXT_FIELDS, texts_in, units_of
from mongostore.repositories.search.words import words_of

UNINDEXED = "unindexed"
HAS_NO_WORDS: StoredDocument = {UNINDEXED: {"$gt": 0}}
# These have words from their first write on.
_EAGER = ("messages", "threads")
_REMOVED: StoredDocument = {"words": ""}
# The names of threads and rooms have but a few words.
_HIDDEN = ("sessions", "session_segments", "session_turns", "messages", "events")


def hide_words(collection: str, fields: Any) -> Any:
    """Return a projection without what only a search looks at."""
    if collection not in _HIDDEN:
        return fields
    if not fields:
        return {"words": 0, UNINDEXED: 0}
    is_exclusion = isinstance(fields, Mapping) and all(value == 0 for value in fields.values())
    return {**fields, "words": 0, UNINDEXED: 0} if is_exclusion else fields


def add_words(collection: str, document: StoredDocument) -> StoredDocument:
    """Return a document to insert with its words, or with the mark that it has none yet."""
    if collection not in TEXT_FIELDS:
        return document
    if collection in _EAGER:
        words = words_of(text for unit in units_of(collection, document) for text in unit)
        return {**document, "words": words} if words else document
    return {**document, UNINDEXED: _number()}


def add_words_to_update(collection: str, update: Any) -> Any:
    """Return an update, or a replacement, that leaves the mark if it changes a text."""
    if collection not in TEXT_FIELDS or not update:
        return update
    if isinstance(update, list):
        fields = {_root(path) for stage in update for path in _paths_of(stage)}
        has_text = bool(fields & TEXT_FIELDS[collection])
        return [*update, {"$set": {UNINDEXED: _number()}}] if has_text else update
    if not next(iter(update)).startswith("$"):
        return add_words(collection, update)
    changed = {
        (operator, path)
        for operator, members in update.items()
        for path in members
        if _root(path) in TEXT_FIELDS[collection]
    }
    if not changed or "words" in update.get("$unset", {}):
        return update
    if update.get("$set", {}).get("state") == "deleted":
        # A tombstone has no text any more.
        return {**update, "$unset": {**update.get("$unset", {}), **_REMOVED, UNINDEXED: ""}}
    if collection == "threads":
        return _with_words_of_name(update)
    changed_update = {**update, "$set": {**update.get("$set", {}), UNINDEXED: _number()}}
    is_removal = any(operator == "$unset" for operator, _ in changed)
    if collection in _EAGER and not is_removal:
        if words := words_of(_texts_set(update)):
            changed_update["$addToSet"] = {**update.get("$addToSet", {}), "words": {"$each": words}}
    elif any(operator not in ("$push", "$setOnInsert") for operator, _ in changed):
        # Not a word stays of a text that goes.
        changed_update["$unset"] = {**update.get("$unset", {}), **_REMOVED}
    return changed_update


def _with_words_of_name(update: StoredDocument) -> StoredDocument:
    """Return an update of a thread's name, its only text, with the words of that and no other ones."""
    words = words_of(_texts_set(update))
    operator = "$setOnInsert" if "name" in update.get("$setOnInsert", {}) else "$set"
    if words:
        return {**update, operator: {**update[operator], "words": words}}
    return (
        update
        if operator == "$setOnInsert"
        else {**update, "$unset": {**update.get("$unset", {}), **_REMOVED}}
    )


def _paths_of(stage: Mapping[str, Any]) -> Iterator[str]:
    for members in stage.values():
        yield from [members] if isinstance(members, str) else members


def _texts_set(update: Mapping[str, Any]) -> Iterator[str]:
    for operator in ("$set", "$setOnInsert"):
        for path, value in update.get(operator, {}).items():
            root, _, key = path.partition(".")
            if root in ("content", "name"):
                yield from texts_in(decode(value))
            elif root == "data":
                yield from texts_in({unescape_key(key): decode(value)} if key else decode(value))


def _root(path: str) -> str:
    return path.partition(".")[0]


def _number() -> int:
    return random.getrandbits(52) + 1
