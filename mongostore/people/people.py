"""One person over sessions, threads and rooms: `store.people`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import get_args

from mongostore.arguments import check_flag, check_id, check_list, check_text
from mongostore.documents.mapping import check_instance
from mongostore.errors import ConflictError, InvalidValueError, NotFoundError
from mongostore.models.people import ErasureMode, ErasureReport, Person, PersonRecord
from mongostore.people.erasure import Erasure
from mongostore.people.export import export_records
from mongostore.people.houses import Houses
from mongostore.repositories import Connection, Repository, long_running
from mongostore.repositories.api_keys import AsyncKeys
from mongostore.repositories.heads import Heads
from mongostore.repositories.leftovers import Leftovers
from mongostore.repositories.mentions import PersonFinder, Scope
from mongostore.repositories.rooms import AsyncRooms
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.sessions.tail import Tail
from mongostore.repositories.threads import AsyncThreads

# What they write meanwhile is met by the next pass.
_PASSES = 5


class AsyncPeople(Repository):
    """One person over everything.

    Where tenants may use the same names, name the tenant of the person: then only the sessions of these
    namespaces count, and the rooms and identities of this organization. These verbs read whole collections
    where no index finds a name.
    """

    def __init__(
        self,
        connection: Connection,
        tail: Tail,
        sessions: AsyncSessions,
        threads: AsyncThreads,
        rooms: AsyncRooms,
        keys: AsyncKeys,
    ) -> None:
        super().__init__(connection)
        self._tail = tail
        self._finder = PersonFinder(connection)
        self._houses = Houses(sessions, threads, rooms, keys, Heads(connection, tail))

    @long_running
    async def get(
        self, name: str, *, namespaces: Sequence[str] | None = None, organization_id: str | None = None
    ) -> Person:
        """Return the person with a name, and all names that are linked to it.

        Users and identities link them.

        Args:
            name: An id or identifier of a user, an id or address of an identity, an owner or a participant.
            namespaces: Only sessions of these.
            organization_id: Only rooms and identities of this one.

        Raises:
            NotFoundError: If nothing has that name.
            InvalidValueError: If an argument is of the wrong type.
        """
        person = await self.find(name, namespaces=namespaces, organization_id=organization_id)
        if person is None:
            raise NotFoundError("person", name)
        return person

    @long_running
    async def find(
        self, name: str, *, namespaces: Sequence[str] | None = None, organization_id: str | None = None
    ) -> Person | None:
        """Return the person with a name as `get` does; None if there is none.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
        """
        if not check_id("name", name):
            raise InvalidValueError("name", "must not be empty")
        if namespaces is not None:
            check_list("namespaces", namespaces)
            namespaces = [check_id("namespaces", one) for one in namespaces]
        if organization_id is not None:
            check_id("organization_id", organization_id)
        scope = Scope(namespaces, organization_id)
        names = await self._finder.names(name, scope)
        counts = await self._finder.count(names, scope)
        if not counts:
            return None
        return Person(names=names, counts=counts, namespaces=namespaces, organization_id=organization_id)

    @long_running
    async def export(self, person: Person) -> AsyncIterator[PersonRecord]:
        """Yield as JSON everything that is a person's or that they said.

        The texts of others are left out. The contents of files are not among it: `threads.files.iter_content`
        of a `file_key`, of an element or of a file in a folder of theirs, reads them. Of a softly deleted
        session it is the session alone: undelete it to have its messages.

        Raises:
            InvalidValueError: If it is no person that `get` returned.
            InvalidDocumentError: If something cannot be read.
        """
        _check_person(person)
        scope = Scope(person.namespaces, person.organization_id)
        async with aclosing(export_records(self._finder, self._houses, person.names, scope)) as records:
            async for record in records:
                yield record

    @long_running
    async def erase(
        self, person: Person, *, mode: ErasureMode = "delete", dry_run: bool = False
    ) -> ErasureReport:
        """Erase a person: delete what is theirs, and what they said among others.

        Their sessions and threads, and rooms without another participant, go whole in both modes. In what
        they share with others `delete` removes what they said and that they were there; `anonymize` leaves
        the places, without words and names. The words of others stay. If it was cut short, call it again
        with any of the names: they are stored until it is complete, for 30 days at most. A repetition does
        no harm.

        Args:
            person: The person, as `get` returned it.
            mode: `delete` or `anonymize`.
            dry_run: Whether to count only, as the erasure in this mode would.

        Raises:
            ConflictError: If they keep writing.
            InvalidValueError: If an argument is of the wrong type, or there is no such mode.
        """
        _check_person(person)
        if mode not in get_args(ErasureMode):
            raise InvalidValueError("mode", f"must be {' or '.join(get_args(ErasureMode))}")
        scope = Scope(person.namespaces, person.organization_id)
        check_flag("dry_run", dry_run)
        erasure = Erasure(self._finder, self._houses, person.names, scope, mode, dry_run=dry_run)
        if dry_run:
            await erasure.run_pass()
            return _report(person, mode, erasure, dry_run=True)
        await self._finder.store_names(person.names, scope)
        # What an erasure that was killed has begun to delete names no person any more.
        await Leftovers(self._connection, self._tail).finish_all()
        await erasure.leave_tombstones()
        for _ in range(_PASSES):
            if not await erasure.run_pass():
                if not erasure.errors:
                    await self._finder.delete_names(person.names, scope)
                return _report(person, mode, erasure, dry_run=False)
        raise ConflictError("the person keeps writing: end their access first, and erase again")


def _report(person: Person, mode: ErasureMode, erasure: Erasure, *, dry_run: bool) -> ErasureReport:
    return ErasureReport(
        names=person.names, mode=mode, dry_run=dry_run, lines=erasure.lines(), errors=erasure.errors
    )


def _check_person(person: Person) -> None:
    check_instance("person", person, Person)
    if not isinstance(person.counts, dict):
        raise InvalidValueError("person.counts", "must be a dict")
    for member, values in (("names", person.names), ("namespaces", person.namespaces or [])):
        check_list(f"person.{member}", values)
        for value in values:
            check_text(f"person.{member}", value)
    if person.organization_id is not None:
        check_text("person.organization_id", person.organization_id)
