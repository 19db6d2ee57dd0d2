"""Conversations that are trees: regenerated answers and edited questions are siblings."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_UNKNOWN = datetime.min.replace(tzinfo=UTC)


@dataclass
class Node:
    """A node of a tree.

    Attributes:
        parent: The id of its parent, or None.
        time: When it was said, if that is known.
        message: The message of the source; None for a node that only joins others.
    """

    id: str
    parent: str | None
    time: datetime | None
    message: dict[str, Any] | None
    children: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BranchNode:
    """A node with a message, in its place.

    Attributes:
        parent: The nearest node above that has a message, or None.
        conversation_id: `default` on the visible path, else the first message of its branch.
    """

    node: Node
    parent: str | None
    conversation_id: str


@dataclass
class Tree:
    """A conversation in order.

    Attributes:
        nodes: Parents first, then by the later of a node's and its parents' times, then as in the source.
        orphans: Nodes whose parent is missing; each begins a branch of its own.
    """

    nodes: list[BranchNode]
    orphans: list[str]


def order_tree(nodes: Iterable[Node], current: str | None) -> Tree:
    """Return the nodes of a tree in order; `current` is the end of the visible path, else the newest leaf."""
    known = {node.id: node for node in nodes}
    orphans = _join(known)
    ordered = _sort(known)
    path = _path(known, current if current in known else _newest(ordered))
    above: dict[str, str | None] = {}
    conversations: dict[str, str] = {}
    begun: set[str] = set()
    branched = []
    for node in ordered:
        parent = None if node.parent is None else above[node.parent]
        if node.message is None:
            above[node.id] = parent
            continue
        above[node.id] = node.id
        name = "default" if node.id in path else node.id
        if name != "default" and parent is not None and parent not in path and parent not in begun:
            # The first answer in a branch belongs to it; each further one begins another.
            name = conversations[parent]
            begun.add(parent)
        conversations[node.id] = name
        branched.append(BranchNode(node, parent, name))
    return Tree(branched, orphans)


def _join(known: dict[str, Node]) -> list[str]:
    """Fill in children; a parent that is missing, or that makes a circle, is none."""
    orphans = []
    for node in known.values():
        if node.parent is not None and node.parent not in known:
            node.parent = None
            orphans.append(node.id)
    state: dict[str, int] = {}
    for start in known:
        here: str | None = start
        walked = []
        while here is not None and here not in state:
            state[here] = 1
            walked.append(here)
            parent = known[here].parent
            if parent is not None and state.get(parent) == 1:
                known[here].parent = parent = None
                orphans.append(here)
            here = parent
        state.update(dict.fromkeys(walked, 2))
    for node in known.values():
        if node.parent is not None:
            known[node.parent].children.append(node.id)
    return orphans


def _sort(known: dict[str, Node]) -> list[Node]:
    ranks = {id: rank for rank, id in enumerate(known)}
    ready = [(node.time or _UNKNOWN, ranks[id], id) for id, node in known.items() if node.parent is None]
    heapq.heapify(ready)
    ordered = []
    while ready:
        time, _, id = heapq.heappop(ready)
        ordered.append(known[id])
        for child in known[id].children:
            own = known[child].time or _UNKNOWN
            heapq.heappush(ready, (max(time, own), ranks[child], child))
    return ordered


def _newest(ordered: list[Node]) -> str | None:
    leaves = [node for node in ordered if node.message is not None and not node.children]
    if not leaves:
        return None
    newest = max(range(len(leaves)), key=lambda rank: (leaves[rank].time or _UNKNOWN, rank))
    return leaves[newest].id


def _path(known: dict[str, Node], leaf: str | None) -> set[str]:
    path = set()
    while leaf is not None:
        path.add(leaf)
        leaf = known[leaf].parent
    return path
