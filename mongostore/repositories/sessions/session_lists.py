"""The sessions of a namespace, or of all, as a list."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mongostore.documents.mapping import StoredDocument
from mongostore.documents.sessions import PUBLIC_FIELDS, to_session
from mongostore.models import Session, SessionFilter
from mongostore.repositories.paging import SortKey, SortOrder, find_page
from mongostore.repositories.search.finder import SESSIONS, TextSearch
from mongostore.repositories.search.lists import ConversationList, both, has_metadata
from mongostore.repositories.search.words import Terms
from mongostore.repositories.sessions.filters import filters_of_states, session_filter
from mongostore.repositories.sessions.storage import SessionStorage


def list_sessions(
    storage: SessionStorage, namespace: str | None, order: SortOrder, where: SessionFilter
) -> ConversationList[Session]:
    """Return the list of a namespace's sessions, or of those of all, that a filter means."""
    filter, terms = session_filter(namespace, order, where), Terms.parse(where.get("text"))
    # A slash ends a namespace in the keys of sessions, and a 0 follows a slash.
    of_namespace = {"session": {"$gte": f"{namespace}/", "$lt": f"{namespace}0"}}
    scopes: dict[str, StoredDocument] = {
        "sessions": {"namespace": namespace},
        "session_segments": of_namespace,
        "session_turns": of_namespace,
    }
    metadata = where.get("metadata")
    return ConversationList(
        storage.connection,
        order,
        partial(_find, storage, order, filter),
        to_session,
        (lambda session: has_metadata(session.metadata, metadata)) if metadata else None,
        TextSearch(storage.connection, SESSIONS, terms, scopes if namespace else {}) if terms else None,
    )


async def _find(
    storage: SessionStorage,
    order: SortOrder,
    filter: StoredDocument,
    more: StoredDocument,
    sort_key: SortKey | None,
    limit: int,
) -> Sequence[StoredDocument]:
    page_filter = order.keyset_filter_of_any(filters_of_states(both(filter, more)), sort_key)
    documents = await find_page(storage.connection, "sessions", page_filter, order, limit, PUBLIC_FIELDS)
    return await storage.insights.load_into(documents)
