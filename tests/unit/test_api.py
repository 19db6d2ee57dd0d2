"""The public surface: names, errors and twins."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import pydoc
import re
import subprocess
import sys
import types
from collections.abc import AsyncIterator
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import mongostore
from mongostore import Message, errors, ids
from mongostore.people import AsyncPeople
from mongostore.repositories import (
    Repository,
    long_running,
    reads,
    reads_majority,
    rooms,
    sessions,
    threads,
    writes,
)
from mongostore.repositories.api_keys import AsyncKeys
from mongostore.repositories.leases import AsyncLeases
from mongostore.retention import AsyncRetention
from mongostore.sync import twins
from tests.contract.command_log import repositories_of


def test_all_names_every_public_name() -> None:
    tree = ast.parse(inspect.getsource(mongostore))
    typed = [
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        if (node.module or "").startswith("mongostore.")
        for name in node.names
    ]
    assert mongostore.__all__ == sorted(typed)
    for name in mongostore.__all__:
        assert isinstance(getattr(mongostore, name), object)
    public = [
        name
        for name, value in vars(mongostore).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    ]
    assert mongostore.__all__ == sorted(public)
    assert {*mongostore.__all__} <= {*dir(mongostore)}


def test_an_error_is_imported_without_the_driver() -> None:
    code = "import sys, mongostore; mongostore.NotFoundError; print('pymongo' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def public_errors() -> list[type[errors.MongoStoreError]]:
    found = [errors.MongoStoreError]
    for error in found:
        found += [child for child in error.__subclasses__() if child.__module__ == errors.__name__]
    return [error for error in found if not error.__name__.startswith("_")]


def test_every_error_is_exported_and_drawn_in_the_tree() -> None:
    for error in public_errors():
        assert error.__name__ in mongostore.__all__
        assert f"{error.__name__} " in errors.__doc__.replace("\n", " ")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidValueError("a.b", "is odd"),
        errors.NotFoundError("session", "s"),
        errors.AlreadyExistsError("session", "s"),
        errors.IdempotencyKeyError("k"),
        errors.DocumentTooLargeError("a message", 2, 1),
        errors.InvalidDocumentError("session", "s", ("a", "b")),
        errors.UnavailableError("gone", retryable=False),
        errors.ConflictError("lost"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_the_way_between_processes(error: errors.MongoStoreError) -> None:
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)


def test_a_generated_id_is_fresh_once_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    message = Message(role="user")
    copies = [message.model_copy(), message.model_copy(deep=True), copy.deepcopy(message)]
    assert [one.id.claim() for one in (message, *copies)] == [True, False, False, False]  # type: ignore[attr-defined]
    sent = Message(role="user")
    assert type(pickle.loads(pickle.dumps(sent)).id) is str
    assert not sent.id.claim()  # type: ignore[attr-defined]
    old = Message(role="user")
    monkeypatch.setattr(ids, "FRESH_SECONDS", 0.0)
    assert not old.id.claim()  # type: ignore[attr-defined]


def is_context(verb: object) -> bool:
    """Whether a verb returns an async context manager, whose own steps are verbs."""
    returns = str(getattr(verb, "__annotations__", {}).get("return"))
    return returns.startswith("AbstractAsyncContextManager")


def verbs(repository: type) -> dict[str, object]:
    return {
        name: getattr(repository, name)
        for name in dir(repository)
        if not name.startswith("_")
        and (
            inspect.iscoroutinefunction(getattr(repository, name))
            or inspect.isasyncgenfunction(getattr(repository, name))
            or is_context(getattr(repository, name))
        )
    }


REPOSITORIES = [
    AsyncKeys,
    AsyncLeases,
    AsyncPeople,
    AsyncRetention,
    *(getattr(package, name) for package in (rooms, threads) for name in package.__all__),
    sessions.AsyncSessions,
    sessions.AsyncNamespaces,
    sessions.AsyncSessionBranches,
    sessions.AsyncSessionConversations,
    sessions.AsyncSessionContext,
    sessions.AsyncSessionMessages,
    sessions.AsyncSessionParticipants,
    sessions.AsyncSessionTurns,
]


def twin_of(repository: type) -> type:
    found: type = getattr(twins, repository.__name__.removeprefix("Async"))
    return found


@pytest.mark.parametrize("repository", [*REPOSITORIES, sessions.AsyncMessageStream])
def test_the_blocking_twin_has_every_verb_with_its_signature_and_help(repository: type) -> None:
    mirrored, twin = verbs(repository), twin_of(repository)
    assert mirrored
    for name, verb in mirrored.items():
        output, signature = inspect.signature(getattr(twin, name)), inspect.signature(verb)
        returned = signature.return_annotation.replace("AsyncIterator[", "Iterator[")
        returned = returned.replace("AbstractAsyncContextManager[", "AbstractContextManager[")
        returned = returned.replace("[AsyncMessageStream]", "[MessageStream]")
        assert output == signature.replace(return_annotation=returned), name
        assert getattr(twin, name).__doc__ == verb.__doc__, name
    public = {name for name in dir(twin) if not name.startswith("_")}
    # Some need no server and are the same function.
    shared = {name for name in public if getattr(repository, name, None) is getattr(twin, name)}
    properties = {name for name in public if isinstance(getattr(repository, name, None), property)}
    assert public - shared - properties - {"in_namespace"} == mirrored.keys() | {"core", "portal"}


def test_the_help_of_blocking_classes_says_nothing_of_async_iterators_and_coroutines() -> None:
    blocking = [mongostore.MongoStore, *(twin_of(one) for one in REPOSITORIES)]
    signatures = [
        f"{cls.__name__}.{name}{inspect.signature(member)}"
        for cls in blocking
        for name, member in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    ]
    assert [line for line in signatures if re.search("Async|Awaitable|Coroutine", line)] == []
    assert "MongoStore.usage(self) -> 'list[CollectionUsage]'" in signatures
    assert "Sessions.in_namespace(self, namespace: 'str') -> 'Self'" in signatures
    helped = pydoc.render_doc(twins.Files, renderer=pydoc.plaintext)
    assert "-> 'Iterator[bytes]'" in helped
    assert "async iter_content(" not in helped


@pytest.mark.parametrize("kind", [mongostore.AsyncMongoStore, mongostore.MongoStore])
def test_help_of_a_store_lists_its_houses(kind: type) -> None:
    helped = pydoc.render_doc(kind, renderer=pydoc.plaintext)
    store = kind("mongomock://")
    houses = [name for name in vars(store) if not name.startswith("_")]
    assert "sessions" in houses
    assert [name for name in houses if f"     {name}: " not in helped] == []


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_every_verb_is_guarded_and_documented(repository: type) -> None:
    for name, verb in verbs(repository).items():
        assert hasattr(verb, "__wrapped__") or is_context(verb), name
        assert "Raises:" in (verb.__doc__ or ""), name


def test_both_stores_have_every_repository() -> None:
    blocking, store = mongostore.MongoStore("mongomock://"), mongostore.AsyncMongoStore("mongomock://")
    repositories = repositories_of(store)
    for path, repository in repositories.items():
        assert type(attrgetter(path)(blocking)) is twin_of(type(repository))
    assert {*map(type, repositories.values())} == {*REPOSITORIES}


def test_guards_keep_what_inspection_sees() -> None:
    class Probe(Repository):
        @reads
        async def ask(self, question: str) -> str:
            """Ask."""
            return question

    assert inspect.iscoroutinefunction(Probe.ask)
    assert list(inspect.signature(Probe.ask).parameters) == ["self", "question"]


@pytest.mark.parametrize("declared", [reads, reads_majority, writes, long_running])
def test_a_verb_that_declares_what_it_does_is_taken(declared: Any) -> None:
    async def ask(self: Repository) -> None: ...

    assert type("Probe", (Repository,), {"ask": declared(ask)})


def test_a_coroutine_or_generator_that_does_not_is_refused_at_import() -> None:
    async def ask(self: Repository) -> None: ...

    async def walk(self: Repository) -> AsyncIterator[None]:
        yield

    def walk_later(self: Repository) -> AsyncIterator[None]:
        return walk(self)

    for verb in ask, walk, walk_later:
        with pytest.raises(TypeError, match=r"Probe\.probed must be decorated"):
            type("Probe", (Repository,), {"probed": verb})
    assert type("Probe", (Repository,), {"_private": ask, "plain": lambda self: None})


def test_the_version_is_that_of_the_package() -> None:
    assert mongostore.__version__ == version("mongostore")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(mongostore, "nothing")  # noqa: B009


def test_each_type_in_a_signature_is_exported() -> None:
    missing = set[str]()
    for stub in Path(mongostore.sync.__file__).parent.glob("*.pyi"):
        tree = ast.parse(stub.read_text())
        imported = {
            name.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mongostore.")
            for name in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.args, *node.args.kwonlyargs, node.args.kwarg]
                for annotation in (*(one and one.annotation for one in arguments), node.returns):
                    used = ast.walk(annotation) if annotation else ()
                    missing |= {name.id for name in used if isinstance(name, ast.Name)} & imported
    # Bytes, a path, a file or an iterator: a union that its caller never names.
    assert missing - {*mongostore.__all__} == {"Content"}


def test_no_module_has_more_than_400_lines() -> None:
    sizes = {
        path: len(path.read_text().splitlines()) for path in Path(mongostore.__file__).parent.rglob("*.py")
    }
    assert len(sizes) > 300
    assert {path: size for path, size in sizes.items() if size > 400} == {}
