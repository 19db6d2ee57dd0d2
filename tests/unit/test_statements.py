"""What the embedded engine makes of updates and projections, and tells a change stream of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest
from bson.errors import InvalidDocument
from bson.int64 import Int64
from pymongo.errors import DocumentTooLarge, OperationFailure, WriteError

from mongostore.engines.embedded.operators import (
    MAX_DOCUMENT,
    DocumentUpdate,
    deep_copy,
    is_identical,
    project,
    upsert_base,
)

Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], list[str]]


def changed(before: dict[str, Any], update: Any, filter: dict[str, Any] | None = None) -> DocumentUpdate:
    """Return an update of a document, carried out."""
    change = DocumentUpdate(before)
    change.apply(update, filter or {})
    return change


# What was there, the update, what there is then, and what is told to be new and gone.
UPDATES: dict[str, Case] = {
    "set": ({"a": 1}, {"$set": {"a": 2}}, {"a": 2}, {"a": 2}, []),
    "set what is there": ({"a": 1}, {"$set": {"a": 1}}, {"a": 1}, {}, []),
    "set another type": ({"a": 1}, {"$set": {"a": 1.0}}, {"a": 1.0}, {"a": 1.0}, []),
    "set within": ({"a": {"b": 1}}, {"$set": {"a.c": 2}}, {"a": {"b": 1, "c": 2}}, {"a.c": 2}, []),
    "set on a new way": ({}, {"$set": {"a.b.c": 1}}, {"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 1}}}, []),
    "set twice on a new way": (
        {},
        {"$set": {"a.b": 1, "a.c": 2}},
        {"a": {"b": 1, "c": 2}},
        {"a": {"b": 1, "c": 2}},
        [],
    ),
    "set in a list": ({"a": [1, 2]}, {"$set": {"a.1": 3}}, {"a": [1, 3]}, {"a.1": 3}, []),
    "set behind a list": ({"a": [1]}, {"$set": {"a.3": 4}}, {"a": [1, None, None, 4]}, {"a.3": 4}, []),
    "no set on insert": ({"a": 1}, {"$setOnInsert": {"b": 1}}, {"a": 1}, {}, []),
    "unset": ({"a": 1, "b": {"c": 1}}, {"$unset": {"a": "", "b.c": ""}}, {"b": {}}, {}, ["a", "b.c"]),
    "unset what is not there": ({"a": 1}, {"$unset": {"b.c": ""}}, {"a": 1}, {}, []),
    "unset in a list": ({"a": [1, 2]}, {"$unset": {"a.0": ""}}, {"a": [None, 2]}, {"a.0": None}, []),
    "add": ({"a": 1}, {"$inc": {"a": 2}}, {"a": 3}, {"a": 3}, []),
    "add to nothing": ({}, {"$inc": {"a": -2}}, {"a": -2}, {"a": -2}, []),
    "add zero": ({"a": 1}, {"$inc": {"a": 0}}, {"a": 1}, {}, []),
    "a higher maximum": ({"a": 1}, {"$max": {"a": 2}}, {"a": 2}, {"a": 2}, []),
    "a lower maximum": ({"a": 1}, {"$max": {"a": 0}}, {"a": 1}, {}, []),
    "a first maximum": ({}, {"$max": {"a": 0}}, {"a": 0}, {"a": 0}, []),
    "a lower minimum": ({"a": 1}, {"$min": {"a": 0}}, {"a": 0}, {"a": 0}, []),
    "a higher minimum": ({"a": 1}, {"$min": {"a": 2}}, {"a": 1}, {}, []),
    "push": ({"a": [1]}, {"$push": {"a": 2}}, {"a": [1, 2]}, {"a.1": 2}, []),
    "push a list": ({"a": [1]}, {"$push": {"a": [2]}}, {"a": [1, [2]]}, {"a.1": [2]}, []),
    "push several": (
        {"a": [1]},
        {"$push": {"a": {"$each": [2, 3]}}},
        {"a": [1, 2, 3]},
        {"a.1": 2, "a.2": 3},
        [],
    ),
    "push to nothing": ({}, {"$push": {"a": 1}}, {"a": [1]}, {"a": [1]}, []),
    "push and keep the newest": (
        {"a": [1, 2]},
        {"$push": {"a": {"$each": [3, 4], "$slice": -3}}},
        {"a": [2, 3, 4]},
        {"a": [2, 3, 4]},
        [],
    ),
    "push none": ({"a": [1]}, {"$push": {"a": {"$each": []}}}, {"a": [1]}, {}, []),
    "add to a set": (
        {"a": [1]},
        {"$addToSet": {"a": {"$each": [2, 1, 2]}}},
        {"a": [1, 2]},
        {"a": [1, 2]},
        [],
    ),
    "add to a set what is in it": ({"a": [1]}, {"$addToSet": {"a": 1.0}}, {"a": [1]}, {}, []),
    "pull": ({"a": [1, 2, 1]}, {"$pull": {"a": 1}}, {"a": [2]}, {"a": [2]}, []),
    "pull by a condition": ({"a": [1, 2, 3]}, {"$pull": {"a": {"$gt": 1}}}, {"a": [1]}, {"a": [1]}, []),
    "pull by a member": (
        {"a": [{"b": 1, "c": 1}, {"b": 2}, 1]},
        {"$pull": {"a": {"b": 1}}},
        {"a": [{"b": 2}, 1]},
        {"a": [{"b": 2}, 1]},
        [],
    ),
    "pull from nothing": ({}, {"$pull": {"a": 1}}, {}, {}, []),
    "several at once": (
        {"a": 1, "b": 1},
        {"$set": {"c": 1}, "$unset": {"b": ""}, "$inc": {"a": 1}},
        {"a": 2, "c": 1},
        {"a": 2, "c": 1},
        ["b"],
    ),
}


@pytest.mark.parametrize("case", UPDATES.values(), ids=UPDATES)
def test_an_update_changes_a_document_and_tells_what_is_new_and_gone(case: Case) -> None:
    before, update, after, updated, removed = case
    change = changed(before, update)
    assert is_identical(change.document, after)
    assert (change.updated, change.removed) == (updated, removed)


@pytest.mark.parametrize("case", UPDATES.values(), ids=UPDATES)
def test_an_update_leaves_the_document_of_before_and_shares_nothing_with_what_it_is_given(case: Case) -> None:
    before, update, after, *_ = case
    copies = deep_copy(before), deep_copy(update)
    change = changed(before, update)
    for value in [*change.document.values()]:
        if isinstance(value, list):
            value.append("changed by whoever reads it")
    assert (before, update) == copies
    assert changed(before, update).document == after


@pytest.mark.parametrize(
    ("before", "update", "code"),
    [
        ({"a": 1}, {"$set": {"a.b": 1}}, 28),
        ({"a": [1]}, {"$set": {"a.b": 1}}, 28),
        ({}, {"$set": {"a": 1, "a.b": 1}}, 40),
        ({}, {"$set": {"a": 1}, "$inc": {"a": 1}}, 40),
        ({"a": "x"}, {"$inc": {"a": 1}}, 14),
        ({"a": 1}, {"$inc": {"a": True}}, 14),
        ({"a": 2**63 - 1}, {"$inc": {"a": 1}}, 2),
        ({"a": 1}, {"$push": {"a": 1}}, 2),
        ({"a": 1}, {"$addToSet": {"a": 1}}, 2),
        ({"a": 1}, {"$pull": {"a": 1}}, 2),
        ({}, {"$push": {"a": {"$each": 1}}}, 2),
        ({}, {"$push": {"a": {"$each": [1], "$sort": 1}}}, 2),
        ({}, {"$set": {"a..b": 1}}, 56),
        ({}, {"$rename": {"a": "b"}}, 9),
        ({}, [{"$project": {"a": 1}}], 9),
        ({"a": [{"b": 1}]}, {"$set": {"a.$.c": 1}}, 2),
        ({}, {"$set": {"a": "x" * MAX_DOCUMENT}}, 10334),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_a_server_refuses_is_refused_with_its_code(before: Any, update: Any, code: int) -> None:
    with pytest.raises(WriteError) as refused:
        changed(before, update)
    assert refused.value.code == code


def test_paths_that_begin_alike_and_are_apart_do_not_conflict() -> None:
    assert changed({}, {"$set": {"a": 1, "ab": 2, "b.a": 3}}).document == {"a": 1, "ab": 2, "b": {"a": 3}}


def test_an_insert_sets_what_is_set_on_insert() -> None:
    change = DocumentUpdate({"a": 1})
    change.apply({"$setOnInsert": {"b": 2}, "$set": {"c": 3}}, {}, inserting=True)
    assert change.document == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(
    "filter",
    [
        {"a.b": 2},
        {"a.b": {"$in": [2, 9]}},
        {"a": {"$elemMatch": {"b": 2, "c": {"$exists": False}}}},
        {"_id": 1, "a.b": 2},
    ],
    ids=str,
)
def test_the_positional_operator_stands_for_the_element_that_was_found(filter: dict[str, Any]) -> None:
    change = changed({"_id": 1, "a": [{"b": 1}, {"b": 2}, {"b": 2}]}, {"$set": {"a.$.x": 1}}, filter)
    assert change.document["a"] == [{"b": 1}, {"b": 2, "x": 1}, {"b": 2}]
    assert change.updated == {"a.1.x": 1}


def test_a_pipeline_sees_the_members_of_before_within_a_stage_and_the_new_ones_in_the_next() -> None:
    stages = [{"$set": {"a": "$b", "b": "$a"}}, {"$set": {"c": "$a"}}, {"$unset": "d"}]
    change = changed({"a": 1, "b": 2, "d": 3}, stages)
    assert change.document == {"a": 2, "b": 1, "c": 2}
    assert (change.updated, change.removed) == ({"a": 2, "b": 1, "c": 2}, ["d"])


def test_now_in_a_pipeline_is_a_time_within_the_update() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    now = changed({}, [{"$set": {"at": "$$NOW"}}]).document["at"]
    assert before <= now.replace(tzinfo=UTC) <= datetime.now(UTC)


def test_a_computed_change_tells_a_large_document_by_what_is_new_in_it_and_a_small_one_whole() -> None:
    large = {"text": "x" * 200, "a": 1, "b": 2}
    change = changed({"large": large, "small": {"a": 1}}, [{"$set": {"large.a": 5, "small.a": 5}}])
    assert change.updated == {"large.a": 5, "small": {"a": 5}}
    change = changed({"large": large}, [{"$unset": "large.a"}])
    assert (change.updated, change.removed) == ({}, ["large.a"])


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (1, True), (0, False), (None, ""), ({"a": 1, "b": 2}, {"b": 2, "a": 1})]
)
def test_values_that_are_equal_and_stored_otherwise_are_not_the_same(one: Any, other: Any) -> None:
    assert is_identical(one, one)
    assert not is_identical(one, other)


@pytest.mark.parametrize(
    ("filter", "document"),
    [
        ({"a": 1, "b.c": 2}, {"a": 1, "b": {"c": 2}}),
        ({"a": {"$eq": 1}, "b": {"$gt": 2}, "c": {"$in": [1]}}, {"a": 1}),
        ({"a": {"b": 1}, "c": {}}, {"a": {"b": 1}, "c": {}}),
        ({"$and": [{"a": 1}, {"b": 2}], "$or": [{"c": 3}]}, {"a": 1, "b": 2}),
        ({"a": None}, {"a": None}),
    ],
    ids=str,
)
def test_an_upsert_starts_from_what_its_filter_says_by_equality(
    filter: dict[str, Any], document: dict[str, Any]
) -> None:
    assert upsert_base(filter) == document


DOCUMENT = {"_id": 1, "a": 1, "b": {"c": 2, "d": 3}, "l": [{"x": 1, "y": 2}, 5, {"y": 3}], "n": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("projection", "output"),
    [
        (None, DOCUMENT),
        ({}, DOCUMENT),
        (["a"], {"_id": 1, "a": 1}),
        ({"a": 1}, {"_id": 1, "a": 1}),
        ({"a": 1, "_id": 0}, {"a": 1}),
        ({"_id": 1}, {"_id": 1}),
        ({"missing": 1}, {"_id": 1}),
        ({"b.c": 1}, {"_id": 1, "b": {"c": 2}}),
        ({"a.c": 1}, {"_id": 1}),
        ({"l.x": 1}, {"_id": 1, "l": [{"x": 1}, {}]}),
        ({"l": 0, "n": 0, "b.d": 0}, {"_id": 1, "a": 1, "b": {"c": 2}}),
        ({"l.y": 0, "b": 0, "n": 0}, {"_id": 1, "a": 1, "l": [{"x": 1}, 5, {}]}),
        ({"_id": 0, "b": 0, "l": 0, "n": 0}, {"a": 1}),
        ({"a": 1, "n": {"$slice": 2}}, {"_id": 1, "a": 1, "n": [1, 2]}),
        ({"a": 1, "n": {"$slice": -1}}, {"_id": 1, "a": 1, "n": [4]}),
        ({"a": 1, "n": {"$slice": [1, 2]}}, {"_id": 1, "a": 1, "n": [2, 3]}),
        ({"a": 1, "n": {"$slice": [-3, 2]}}, {"_id": 1, "a": 1, "n": [2, 3]}),
        ({"a": 1, "n": {"$slice": [-9, 2]}}, {"_id": 1, "a": 1, "n": [1, 2]}),
        ({"n": {"$slice": 1}}, {**DOCUMENT, "n": [1]}),
        ({"a": 1, "b": {"$slice": 1}}, {"_id": 1, "a": 1, "b": {"c": 2, "d": 3}}),
    ],
    ids=str,
)
def test_a_projection_shows_what_it_includes_or_all_but_what_it_excludes(
    projection: Any, output: Any
) -> None:
    assert project(DOCUMENT, projection) == output


def test_a_projection_that_includes_and_excludes_is_refused() -> None:
    with pytest.raises(OperationFailure) as refused:
        project(DOCUMENT, {"a": 1, "b": 0})
    assert refused.value.code == 31254


def test_a_copy_has_the_types_that_a_server_gives_back_and_shares_nothing() -> None:
    before = {"a": [1, {"b": 2**40}], "c": (1, 2)}
    copy = deep_copy(before)
    assert type(copy["a"][1]["b"]) is Int64
    assert copy["c"] == [1, 2]
    copy["a"].append(1)
    assert before["a"] == [1, {"b": 2**40}]


def test_a_copy_of_more_than_a_document_can_hold_is_refused() -> None:
    room = MAX_DOCUMENT - len(bson.encode({"a": ""}))
    assert len(deep_copy({"a": "x" * room})["a"]) == room
    with pytest.raises(DocumentTooLarge):
        deep_copy({"a": "x" * (room + 1)})


def test_a_copy_of_what_bson_cannot_hold_is_refused() -> None:
    with pytest.raises(InvalidDocument):
        deep_copy({"a": {1}})
