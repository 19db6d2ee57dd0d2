"""Conversations that are trees, as sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from mongostore.importers.digests import digest_of
from mongostore.importers.report import Report
from mongostore.importers.trees import Node, order_tree
from mongostore.importers.units import FileUnit, SessionUnit
from mongostore.models import Message


@dataclass(frozen=True)
class Conversation:
    """A conversation of a source.

    Attributes:
        id: None if the source gives none; then it is made of the content.
        table: How the report names where it is from.
        members: The arguments of `sessions.create` beside the id.
        current: The end of the visible path, if it is known.
    """

    id: str | None
    table: str
    members: dict[str, Any]
    nodes: Sequence[Node]
    current: str | None = None


def to_session(
    conversation: Conversation,
    report: Report,
    members_of: Callable[[dict[str, Any]], dict[str, Any]],
    files: Sequence[FileUnit] = (),
) -> SessionUnit:
    """Return the session of a conversation.

    Args:
        conversation: The conversation.
        report: Collects the nodes whose parents are missing, and those that are no messages.
        members_of: Returns the members of a message from what a node holds.
        files: The files of the messages; `members_of` may add to them.
    """
    id = conversation.id or digest_of([[node.id, node.parent, node.message] for node in conversation.nodes])
    current = conversation.current if isinstance(conversation.current, str) else None
    tree = order_tree(conversation.nodes, current)
    for orphan in tree.orphans:
        report.warn(
            conversation.table, f"{id}/{orphan}", "its parent is missing: it begins a branch of its own"
        )
    messages = []
    for branched in tree.nodes:
        node = branched.node
        assert node.message is not None, "nodes without one are bridged"
        members = members_of(node.message)
        try:
            messages.append(
                Message(
                    **{
                        "created_at": node.time,
                        **members,
                        "data": {**members["data"], "parent": branched.parent},
                    },
                    id=node.id,
                    conversation_id=branched.conversation_id,
                )
            )
        except ValidationError:
            report.refuse(conversation.table, f"{id}/{node.id}", "a member is of another type")
    return SessionUnit(id=id, members=conversation.members, messages=messages, files=files, is_tree=True)


def updated(time: datetime | None) -> dict[str, datetime]:
    """Return the member for the time of the last change, if it is known."""
    return {} if time is None else {"updated_at": time}
