"""The blocking twins of the sessions' repositories: one line a verb.

Type checkers read `session_twins.pyi` instead, which `python -m tests.stubs` writes from the async ones.
"""

from __future__ import annotations

from collections.abc import Callable

from mongostore.portal import mirror, mirror_iter
from mongostore.repositories.sessions import (
    AsyncMessageStream,
    AsyncNamespaces,
    AsyncSessionBranches,
    AsyncSessionContext,
    AsyncSessionConversations,
    AsyncSessionMessages,
    AsyncSessionParticipants,
    AsyncSessions,
    AsyncSessionTurns,
)
from mongostore.store import AsyncMongoStore
from mongostore.sync.mirror import Mirror, Owner, mirror_property, mirror_scope, mirror_stream


class MessageStream(Mirror[AsyncMessageStream]):
    """Blocking twin of `AsyncMessageStream`."""

    message = mirror_property(AsyncMessageStream.message)
    text = mirror_property(AsyncMessageStream.text)
    write = mirror(AsyncMessageStream.write)
    update = mirror(AsyncMessageStream.update)
    flush = mirror(AsyncMessageStream.flush)


class SessionMessages(Mirror[AsyncSessionMessages]):
    """Blocking twin of `AsyncSessionMessages`."""

    append = mirror(AsyncSessionMessages.append)
    append_many = mirror(AsyncSessionMessages.append_many)
    stream = mirror_stream(AsyncSessionMessages.stream, MessageStream)
    replace = mirror(AsyncSessionMessages.replace)
    replace_newest = mirror(AsyncSessionMessages.replace_newest)
    pop = mirror(AsyncSessionMessages.pop)
    get = mirror(AsyncSessionMessages.get)
    find = mirror(AsyncSessionMessages.find)
    describe_document = mirror(AsyncSessionMessages.describe_document)
    exists = mirror(AsyncSessionMessages.exists)
    count = mirror(AsyncSessionMessages.count)
    list = mirror(AsyncSessionMessages.list)
    iter = mirror_iter(AsyncSessionMessages.iter, prefetch=100)
    cursor_of = staticmethod(AsyncSessionMessages.cursor_of)
    update = mirror(AsyncSessionMessages.update)
    upsert = mirror(AsyncSessionMessages.upsert)
    delete = mirror(AsyncSessionMessages.delete)
    delete_many = mirror(AsyncSessionMessages.delete_many)
    truncate = mirror(AsyncSessionMessages.truncate)
    watch = mirror_iter(AsyncSessionMessages.watch, prefetch=1)


class SessionConversations(Mirror[AsyncSessionConversations]):
    """Blocking twin of `AsyncSessionConversations`."""

    list = mirror(AsyncSessionConversations.list)


class SessionContext(Mirror[AsyncSessionContext]):
    """Blocking twin of `AsyncSessionContext`."""

    get = mirror(AsyncSessionContext.get)
    find = mirror(AsyncSessionContext.find)
    set = mirror(AsyncSessionContext.set)
    delete = mirror(AsyncSessionContext.delete)


class SessionParticipants(Mirror[AsyncSessionParticipants]):
    """Blocking twin of `AsyncSessionParticipants`."""

    create = mirror(AsyncSessionParticipants.create)
    ensure = mirror(AsyncSessionParticipants.ensure)
    get = mirror(AsyncSessionParticipants.get)
    find = mirror(AsyncSessionParticipants.find)
    list = mirror(AsyncSessionParticipants.list)
    delete = mirror(AsyncSessionParticipants.delete)


class SessionBranches(Mirror[AsyncSessionBranches]):
    """Blocking twin of `AsyncSessionBranches`."""

    append_many = mirror(AsyncSessionBranches.append_many)
    list = mirror(AsyncSessionBranches.list)
    find_by_message = mirror(AsyncSessionBranches.find_by_message)


class SessionTurns(Mirror[AsyncSessionTurns]):
    """Blocking twin of `AsyncSessionTurns`."""

    append = mirror(AsyncSessionTurns.append)
    append_many = mirror(AsyncSessionTurns.append_many)
    count = mirror(AsyncSessionTurns.count)
    list = mirror(AsyncSessionTurns.list)
    iter = mirror_iter(AsyncSessionTurns.iter, prefetch=100)
    integrate = mirror(AsyncSessionTurns.integrate)


class Namespaces(Mirror[AsyncNamespaces]):
    """Blocking twin of `AsyncNamespaces`."""

    exists = mirror(AsyncNamespaces.exists)
    list = mirror(AsyncNamespaces.list)
    list_sessions = mirror(AsyncNamespaces.list_sessions)
    iter = mirror_iter(AsyncNamespaces.iter, prefetch=100)


class Sessions(Mirror[AsyncSessions]):
    """Blocking twin of `AsyncSessions`."""

    def __init__(self, store: Owner, find: Callable[[AsyncMongoStore], AsyncSessions]) -> None:
        super().__init__(store, find)
        self.messages = SessionMessages(store, lambda core: find(core).messages)
        self.branches = SessionBranches(store, lambda core: find(core).branches)
        self.conversations = SessionConversations(store, lambda core: find(core).conversations)
        self.context = SessionContext(store, lambda core: find(core).context)
        self.participants = SessionParticipants(store, lambda core: find(core).participants)
        self.turns = SessionTurns(store, lambda core: find(core).turns)
        self.namespaces = Namespaces(store, lambda core: find(core).namespaces)

    namespace = mirror_property(AsyncSessions.namespace)

    cursor_of = staticmethod(AsyncSessions.cursor_of)
    in_namespace = mirror_scope(AsyncSessions.in_namespace)
    create = mirror(AsyncSessions.create)
    ensure = mirror(AsyncSessions.ensure)
    get = mirror(AsyncSessions.get)
    find = mirror(AsyncSessions.find)
    exists = mirror(AsyncSessions.exists)
    count = mirror(AsyncSessions.count)
    list = mirror(AsyncSessions.list)
    iter = mirror_iter(AsyncSessions.iter, prefetch=100)
    update = mirror(AsyncSessions.update)
    truncate = mirror(AsyncSessions.truncate)
    soft_delete = mirror(AsyncSessions.soft_delete)
    undelete = mirror(AsyncSessions.undelete)
    delete = mirror(AsyncSessions.delete)
    describe_storage = mirror(AsyncSessions.describe_storage)
