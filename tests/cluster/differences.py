"""What the contract's tests find otherwise on a cluster of two shards, and why."""

from __future__ import annotations

from typing import Final

_LATE_TAILS = "a tail waits for the shard without writes, and more is appended meanwhile"
_TWO_PAGES = "each shard reads a page of its own, of which the router shows one"
_HALF = "each shard has half of the documents, so a scan of all may be no long one"
_SHARD_KEY = "the index of the shard key finds the parts of a room as well"
_TWO_IDS = "an id is unique on its shard alone, so one of another thread is not in the way"

_NO_OWNER = "the test changes a document by other fields than its owner, which a router refuses"
_MADE_BEFORE = "a database of the tests has all collections when it is first used, and theirs comes too late"
_UNCLAIMED = "a message of no thread yet may lie on another shard than the threads that take it"
_NO_LIST = "the test stores a list in the place of an owner, which a hashed index refuses"

_FEWER = "what a repetition finds done is waited for as w=majority asks, and not as another w"

_WITHIN_COMMANDS = "test_a_verb_sends_no_more_commands_than_promised"
_WITHIN_KEYS = "test_a_query_reads_of_an_index_as_much_as_it_returns_unless_it_is_named"
_WITHIN_PLANS = "test_a_query_examines_what_it_returns_by_an_index"
_WITHIN_BUDGET = "test_a_verb_examines_three_times_what_it_returns_and_ten_at_most"
_BATCH_AGAIN = "test_a_batch_again_changes_nothing_and_other_content_is_refused"

# By the ends of the tests' names. That of one that may pass as well begins with a question mark.
DIFFERENCES: Final = {
    f"?test_costs.py::{_WITHIN_COMMANDS}[watch]": _LATE_TAILS,
    f"?test_room_costs.py::{_WITHIN_COMMANDS}[events: watch]": _LATE_TAILS,
    f"?test_room_costs.py::{_WITHIN_PLANS}[rooms: list_by_channel in pages]": _TWO_PAGES,
    f"?test_room_costs.py::{_WITHIN_KEYS}": _HALF,
    "?test_room_costs.py::test_every_index_of_rooms_is_of_use": _SHARD_KEY,
    "test_thread_costs.py::test_each_statement_names_its_owner": _TWO_IDS,
    "test_thread_costs.py::test_a_page_costs_the_same_in_any_history_and_place": _TWO_PAGES,
    f"test_thread_costs.py::{_WITHIN_BUDGET}": _TWO_PAGES,
    "?test_a_watch_ends_when_its_room_is_deleted[server]": _LATE_TAILS,
    "test_a_refused_event_leaves_everything_as_it_was[server]": _TWO_IDS,
    "test_an_element_stays_in_its_thread[server]": _TWO_IDS,
    "test_notes_are_created_once_in_any_room[server-tasks]": _TWO_IDS,
    "test_notes_are_created_once_in_any_room[server-observations]": _TWO_IDS,
    "test_a_message_is_described_as_it_is_stored[server-small-tails]": _NO_OWNER,
    "test_iter_goes_on_over_many_pages_and_past_what_cannot_be_read_if_told[server]": _NO_OWNER,
    "test_an_unreadable_message_does_not_hide_the_others[server]": _NO_OWNER,
    **{
        f"test_an_unbinding_that_was_cut_short_is_finished[server-{way}]": _NO_OWNER
        for way in ("unbind", "truncate", "delete", "mend")
    },
    **{
        f"test_iter_raises_what_cannot_be_read_or_collects_it[server-{part}]": _NO_OWNER
        for part in ("bindings", "participants", "tasks", "observations")
    },
    "test_orphans_are_deleted_and_nothing_else[server]": _NO_LIST,
    "test_a_session_that_is_being_deleted_is_begun_anew[server]": _NO_OWNER,
    "test_pop_after_pop_does_not_find_an_expired_session[server]": _NO_OWNER,
    "test_pop_finishes_a_deletion_that_was_cut_short[server-small-tails]": _NO_OWNER,
    "test_purge_of_a_crashed_purge_goes_on[server]": _NO_OWNER,
    "test_one_unreadable_session_does_not_hide_the_others[server]": _NO_OWNER,
    "[options0-it is a view and no collection]": _MADE_BEFORE,
    "[options1-a validator of the collection refuses our documents]": _MADE_BEFORE,
    **{
        f"[options{number}-the collection sessions {reason}]": _MADE_BEFORE
        for number, reason in ((2, "is capped"), (3, "has a collation"), (4, "is a time series"))
    },
    **{
        f"test_what_fewer_members_store_than_are_asked_for_is_not_acknowledged[{verb}.create]": _FEWER
        for verb in ("sessions", "threads", "keys")
    },
    f"test_thread_imports.py::{_BATCH_AGAIN}[server]": _TWO_IDS,
    "?test_a_message_without_a_thread_goes_to_the_first_that_takes_it[server]": _UNCLAIMED,
    "?test_of_threads_that_take_a_message_at_once_one_gets_it[server]": _UNCLAIMED,
    "test_a_message_stays_in_its_thread[server]": _TWO_IDS,
    **{
        f"?test_{claim}[server-threads.messages.merge loose]": _UNCLAIMED
        for claim in (
            "a_write_beside_deletions_is_kept_or_refused",
            "answers_are_lost_beside_deletions_and_nothing_else",
        )
    },
}
