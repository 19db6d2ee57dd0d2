"""The threads as a list."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mongostore.documents.mapping import StoredDocument
from mongostore.documents.threads import to_thread
from mongostore.models import Thread, ThreadFilter
from mongostore.repositories import Connection
from mongostore.repositories.paging import SortKey, SortOrder, find_page
from mongostore.repositories.search.finder import THREADS, TextSearch
from mongostore.repositories.search.lists import ConversationList, both
from mongostore.repositories.search.words import Terms
from mongostore.repositories.threads.filters import is_match, thread_filters


def list_threads(connection: Connection, order: SortOrder, where: ThreadFilter) -> ConversationList[Thread]:
    """Return the list of threads that a filter means."""
    filters, terms = thread_filters(where, order), Terms.parse(where.get("text"))
    return ConversationList(
        connection,
        order,
        partial(_find, connection, order, filters),
        to_thread,
        partial(is_match, where),
        TextSearch(connection, THREADS, terms) if terms else None,
    )


async def _find(
    connection: Connection,
    order: SortOrder,
    filters: Sequence[StoredDocument],
    more: StoredDocument,
    sort_key: SortKey | None,
    limit: int,
) -> Sequence[StoredDocument]:
    page_filter = order.keyset_filter_of_any([both(filter, more) for filter in filters], sort_key)
    return await find_page(connection, "threads", page_filter, order, limit)
