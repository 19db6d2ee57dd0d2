"""Every public verb means the same in all houses: what it returns follows from its name."""

from __future__ import annotations

import inspect
import types
from collections.abc import AsyncIterator
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from mongostore import AsyncMongoStore, ErasureReport, MongoStore, Page, PruneReport
from tests.contract.command_log import repositories_of

# The words that belong to one noun's own trade.
OWN_WORDS = {
    "integrate",
    "verify",
    "upload",
    "read",
    "summarize_replies",
    "describe_storage",
    "describe_document",
    "advance_delivered_index",
    "set_private",
    "acquire",
    "renew",
    "release",
    "hold",
    "claim",
    "complete",
}


STORE = AsyncMongoStore("mongomock://")
NOUNS = repositories_of(STORE)
VERBS = [
    pytest.param(name, member, id=f"{path}.{name}")
    for path, noun in NOUNS.items()
    for name, member in inspect.getmembers(type(noun), inspect.isfunction)
    if not name.startswith("_")
]


def is_of_table(name: str, method: Any) -> bool:
    runs = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
    return runs and name not in OWN_WORDS


def is_entity(kind: Any) -> bool:
    """Return whether a type is one thing, and no flag, number or collection of things."""
    is_one = get_origin(kind) not in (Page, list, Union, types.UnionType)
    return is_one and kind not in (bool, int, type(None))


def is_optional(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind)


def is_page(kind: Any) -> bool:
    return get_origin(kind) is Page


def is_iterator(kind: Any) -> bool:
    return get_origin(kind) is AsyncIterator


def exactly(wanted: Any) -> Any:
    return lambda kind: kind is wanted


RETURNS: dict[str, Any] = {
    "create": is_entity,
    "ensure": is_entity,
    "get": is_entity,
    "find": is_optional,
    "exists": exactly(bool),
    "count": exactly(int),
    "list": is_page,
    "iter": is_iterator,
    "append": is_entity,
    "append_many": lambda kind: get_origin(kind) is list,
    "update": is_entity,
    "upsert": is_entity,
    "replace": is_entity,
    "replace_newest": lambda kind: get_origin(kind) is list,
    "merge": exactly(type(None)),
    "set": exactly(type(None)),
    "pop": lambda kind: is_optional(kind) or get_origin(kind) is list,
    "delete": exactly(bool),
    "delete_many": exactly(int),
    "soft_delete": exactly(bool),
    "undelete": is_entity,
    "truncate": is_entity,
    "watch": is_iterator,
    "advance": exactly(bool),
    "link": is_entity,
    "unlink": is_entity,
    "prune": exactly(PruneReport),
    "export": is_iterator,
    "erase": exactly(ErasureReport),
}


def verb_of(name: str) -> str:
    """Return the verb of a method: the noun behind it narrows it and changes nothing else."""
    return name if name in RETURNS else name.partition("_")[0]


@pytest.mark.parametrize(("name", "method"), [verb for verb in VERBS if is_of_table(*verb.values)])
def test_a_verb_returns_what_it_does_everywhere(name: str, method: Any) -> None:
    kind = get_type_hints(inspect.unwrap(method))["return"]
    assert verb_of(name) in RETURNS, f"{name} is no verb of the table"
    assert RETURNS[verb_of(name)](kind), kind


@pytest.mark.parametrize(("name", "method"), VERBS)
def test_a_list_is_paged_by_limit_cursor_and_newest(name: str, method: Any) -> None:
    parameters = inspect.signature(method).parameters
    assert "offset" not in parameters
    if verb_of(name) == "list":
        assert {"limit", "cursor"} <= parameters.keys()


def public(noun: object) -> set[str]:
    return {name for name in dir(noun) if not name.startswith("_")}


@pytest.mark.parametrize("path", ["", *NOUNS])
def test_the_blocking_twin_has_the_same_public_names(path: str) -> None:
    asynchronous: Any = STORE
    blocking: Any = MongoStore("mongomock://")
    for name in filter(None, path.split(".")):
        asynchronous, blocking = getattr(asynchronous, name), getattr(blocking, name)
    # Beanie is async alone, and the blocking twins find their cores by portals.
    alone = {"engine", "documents"}
    assert public(blocking) - {"portal", "core"} == public(asynchronous) - alone
