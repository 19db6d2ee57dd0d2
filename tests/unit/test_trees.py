"""The order and the branches of conversations that are trees."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mongostore.importers.trees import Node, order_tree


def node(id: str, parent: str | None, second: int | None = None, message: Any = ()) -> Node:
    time = None if second is None else datetime.fromtimestamp(second, UTC)
    return Node(id, parent, time, {} if message == () else message)


def outcome(nodes: list[Node], current: str | None = None) -> list[tuple[str, str | None, str]]:
    tree = order_tree(nodes, current)
    return [(positions.node.id, positions.parent, positions.conversation_id) for positions in tree.nodes]


def test_parents_come_first_and_then_times() -> None:
    nodes = [node("b", "a", 1), node("c", "a", 9), node("a", None, 5), node("d", "b", 2)]
    assert [id for id, *_ in outcome(nodes)] == ["a", "b", "d", "c"]


def test_a_branch_is_named_by_its_first_message_and_each_further_answer_begins_one() -> None:
    nodes = [
        *(node("q", None, 1), node("a1", "q", 2), node("a2", "q", 3)),
        *(node("x", "a1", 4), node("y", "a1", 5), node("z", "x", 6)),
    ]
    assert outcome(nodes, "a2") == [
        ("q", None, "default"),
        ("a1", "q", "a1"),
        ("a2", "q", "default"),
        ("x", "a1", "a1"),
        ("y", "a1", "y"),
        ("z", "x", "a1"),
    ]


def test_nodes_without_a_message_are_bridged() -> None:
    nodes = [
        node("root", None, message=None),
        node("a", "root", 1),
        node("gap", "a", message=None),
        node("b", "gap", 2),
    ]
    assert outcome(nodes) == [("a", None, "default"), ("b", "a", "default")]


@pytest.mark.parametrize("current", [None, "gone"])
def test_the_newest_leaf_ends_the_path_if_the_source_names_none(current: str | None) -> None:
    nodes = [node("a", None, 1), node("b", "a", 3), node("c", "a", 2)]
    assert [id for id, _, name in outcome(nodes, current) if name == "default"] == ["a", "b"]


def test_circles_and_missing_parents_end_nothing() -> None:
    nodes = [node("a", "b", 1), node("b", "a", 2), node("c", "gone", 3), node("self", "self", 4)]
    tree = order_tree(nodes, None)
    assert {positions.node.id for positions in tree.nodes} == {"a", "b", "c", "self"}
    assert "c" in tree.orphans
    assert "self" in tree.orphans
    assert len(tree.orphans) == 3


def test_a_chain_of_many_nodes_needs_no_recursion() -> None:
    count = 5000
    nodes = [node(str(n), str(n - 1) if n else None, n) for n in reversed(range(count))]
    assert [id for id, *_ in outcome(nodes)] == [str(n) for n in range(count)]
