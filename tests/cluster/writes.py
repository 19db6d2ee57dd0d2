"""Writes of a cluster: each statement goes to the shard of its owner, under the number that its retry has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.catalog import Catalog
from tests.cluster.messages import Command

STATEMENTS = {"insert": "documents", "update": "updates", "delete": "deletes"}
# Of statements that are sent to several shards no other number is known than that of the command.
_OF_RETRIES = ("lsid", "txnNumber", "stmtIds")

# Runs a command on a shard, or where there is none by the server's own router code.
Run = Callable[[str | None, Command], Awaitable[Command]]


@dataclass
class _Group:
    """Statements for one shard, by their places in the command; without a shard it is a single one."""

    shard: str | None
    positions: list[int] = field(default_factory=list)


def filter_of(name: str, statement: Any) -> Any:
    """Return what tells the owner of a statement of a write."""
    return statement if name == "insert" else statement["q"]


async def run_write(catalog: Catalog, run: Run, command: Command) -> Command:
    """Run a command that writes, and return the answer to it."""
    name = next(iter(command))
    statements: Sequence[Any] = command[STATEMENTS[name]]
    groups = await _group(catalog, command, name, statements)
    if len(groups) == 1:
        return await _run_group(run, command, name, groups[0])
    merged: Command = {"n": 0, "ok": 1.0}
    for group in groups:
        answer = await _run_group(run, command, name, group)
        if answer["ok"] != 1:
            return answer
        for member in ("upserted", "writeErrors"):
            for one in answer.get(member, ()):
                merged.setdefault(member, []).append({**one, "index": group.positions[one["index"]]})
        for member in ("n", "nModified"):
            if member in answer:
                merged[member] = merged.get(member, 0) + answer[member]
        merged |= {
            one: answer[one]
            for one in ("operationTime", "$clusterTime", "writeConcernError")
            if one in answer
        }
        if "writeErrors" in merged and command.get("ordered", True):
            break
    return merged


async def _group(catalog: Catalog, command: Command, name: str, statements: Sequence[Any]) -> list[_Group]:
    is_ordered = command.get("ordered", True)
    groups: list[_Group] = []
    for position, statement in enumerate(statements):
        shards, is_one = await catalog.target(command["$db"], command[name], filter_of(name, statement))
        shard = shards[0] if is_one else None
        open_groups = groups[-1:] if is_ordered else groups
        group = next((one for one in open_groups if shard and one.shard == shard), None)
        if group is None:
            groups.append(group := _Group(shard))
        group.positions.append(position)
    return groups


async def _run_group(run: Run, command: Command, name: str, group: _Group) -> Command:
    statements: Sequence[Any] = command[STATEMENTS[name]]
    if group.shard is None:
        command = {member: value for member, value in command.items() if member not in _OF_RETRIES}
    if len(group.positions) == len(statements):
        return await run(group.shard, command)
    part = {**command, STATEMENTS[name]: [statements[position] for position in group.positions]}
    if group.shard and "txnNumber" in command:
        part["stmtIds"] = group.positions
    return await run(group.shard, part)
