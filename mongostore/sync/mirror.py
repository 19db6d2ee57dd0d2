"""The base of all blocking twins of repositories: the way to their async core."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, get_args, get_type_hints

from mongostore.portal import Portal, Twin, mirror, mirror_context, mirror_iter
from mongostore.store import AsyncMongoStore

C = TypeVar("C")
E = TypeVar("E")
T = TypeVar("T")
M = TypeVar("M", bound="Mirror[Any]")
P = ParamSpec("P")
# The blocking store, as its repositories' twins see it.
Owner = Twin[AsyncMongoStore]
# Items of an iteration that are fetched at a time.
_PREFETCH = 100


class Mirror(Generic[C]):
    """A repository's blocking twin, which finds its core anew when the store has begun anew.

    A subclass names its async class, whose public members it has in blocking form. It mirrors one by itself
    where there is another form than the usual one, and annotates the twins of the core's own repositories.
    """

    def __init_subclass__(cls) -> None:
        """Mirror the members of the async class."""
        super().__init_subclass__()
        for name, member in members_of(core_of(cls)).items():
            if name not in vars(cls):
                setattr(cls, name, _mirror_member(name, member))

    def __init__(self, store: Owner, find: Callable[[AsyncMongoStore], C]) -> None:
        self._store = store
        self._find = find
        self._found: tuple[AsyncMongoStore, C] | None = None
        for name, twin in self._parts().items():
            setattr(self, name, twin(store, functools.partial(_find_part, find, name)))

    @classmethod
    @functools.cache
    def _parts(cls) -> dict[str, Any]:
        return get_type_hints(cls)

    @property
    def core(self) -> C:
        """The async repository."""
        if self._found is None or self._found[0] is not self._store.core:
            self._found = self._store.core, self._find(self._store.core)
        return self._found[1]

    @property
    def portal(self) -> Portal:
        """The portal to the repository's event loop."""
        return self._store.portal


def mirror_scope(method: Callable[Concatenate[C, P], C]) -> Callable[Concatenate[M, P], M]:
    """Return the blocking twin of a method that returns its repository for a part of what is stored."""

    @functools.wraps(method)
    def call(self: M, /, *args: P.args, **kwargs: P.kwargs) -> M:
        # Now, for a core that is found later raises later.
        method(self.core, *args, **kwargs)
        find = self._find
        return type(self)(self._store, lambda core: method(find(core), *args, **kwargs))

    vars(call)["__signature__"] = inspect.signature(method).replace(return_annotation="Self")
    return call


def mirror_stream(
    method: Callable[Concatenate[C, P], AbstractAsyncContextManager[E]],
    twin: Callable[[Owner, Callable[[AsyncMongoStore], E]], T],
) -> Callable[Concatenate[Mirror[C], P], AbstractContextManager[T]]:
    """Return the blocking twin of a method whose context manager returns an object with a twin."""
    entering = mirror_context(method)

    @functools.wraps(method)
    @contextmanager
    def call(self: Mirror[C], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        with entering(self, *args, **kwargs) as entered:
            yield twin(self._store, lambda core: entered)

    signature = inspect.signature(entering)
    returned = str(signature.return_annotation).replace("Async", "")
    vars(call)["__signature__"] = signature.replace(return_annotation=returned)
    return call


def core_of(twin: type) -> type:
    """Return the async class of a twin."""
    [core] = get_args(vars(twin)["__orig_bases__"][0])
    return cast(type, core)


def members_of(core: type) -> dict[str, object]:
    """Return the public members of an async class, by their names, as they are declared."""
    return {
        name: member
        for base in reversed(core.__mro__)
        for name, member in vars(base).items()
        if not name.startswith("_")
    }


def _mirror_member(name: str, member: object) -> object:
    if isinstance(member, staticmethod):
        return member
    if isinstance(member, property):
        return _mirror_property(member)
    if inspect.iscoroutinefunction(member):
        return mirror(member)
    if inspect.isasyncgenfunction(member):
        return mirror_iter(member, prefetch=_PREFETCH)
    raise TypeError(f"{name} has no usual blocking form: mirror it by a line of its own")


def _mirror_property(member: property) -> property:
    def get(self: Mirror[Any]) -> Any:
        assert member.fget is not None, "every property of a repository can be read"
        return member.fget(self.core)

    return property(get, doc=member.__doc__)


def _find_part(find: Callable[[AsyncMongoStore], Any], name: str, core: AsyncMongoStore) -> Any:
    return getattr(find(core), name)
