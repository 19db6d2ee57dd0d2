"""Which room a message belongs to: rooms found by those who are in them."""

from __future__ import annotations

from collections.abc import Sequence

from mongostore.documents.rooms import correspondent_name, recipient_name, route_name, to_room
from mongostore.documents.stored import Raw, given
from mongostore.errors import InvalidValueError
from mongostore.models import Room, RoomFilter
from mongostore.repositories import Repository, reads
from mongostore.values import check_flag, check_id, check_limit, check_list, check_offset, check_text

_NEWEST = {"room_created_at": -1, "room_id": -1}
_OLDEST = {"room_created_at": 1, "room_id": 1}
_ROOM = {"localField": "room_id", "foreignField": "_id", "as": "room"}
# How many candidates are looked at in one round trip, at first and each time after that.
_CANDIDATES = 50
_MORE_CANDIDATES = 2000


class RoomRouting(Repository):
    """The verbs that find a room by a channel and those whom it reaches there.

    Of several rooms the newest is found: the one created last, and of those created at one instant the
    one with the greatest id.
    """

    @reads
    async def find_latest(
        self, participant_id: str, *, channel_type: str | None = None, where: RoomFilter | None = None
    ) -> Room | None:
        """Return the newest room that somebody is in, as a participant or as a binding's correspondent.

        Args:
            participant_id: Who.
            channel_type: Count bindings of this type of channel alone; participants count anyway.
            where: Which rooms.

        Raises:
            InvalidValueError: An argument is of the wrong type.
            InvalidDocumentError: The room cannot be read.
        """
        person = {"participant_id": check_id("participant_id", participant_id)}
        bound = (
            person
            if channel_type is None
            else {**person, "channel_type": check_id("channel_type", channel_type)}
        )
        candidates = [
            *await self._routed("participants", person, _NEWEST, where, 1),
            *await self._routed("bindings", bound, _NEWEST, where, 1),
        ]
        candidates.sort(key=lambda found: (found["room_created_at"], found["room_id"]), reverse=True)
        rooms, meant = self._connection.collection("rooms"), room_conditions(where)
        for found in candidates:
            # Unless it has been closed or deleted since.
            room = await rooms.find_one({"_id": found["room_id"], **meant}, {"private": 0})
            if room is not None:
                return to_room(room)
        return None

    @reads
    async def find_by_binding(
        self,
        channel_id: str,
        names: Sequence[str],
        *,
        recipient: tuple[str, str] | None = None,
        where: RoomFilter | None = None,
    ) -> str | None:
        """Return the id of the newest room whose binding of a channel is somebody's.

        Args:
            channel_id: The channel; a binding speaks for its own channel alone.
            names: The binding's correspondent is one of these.
            recipient: Or, as a key and an address: the binding names no correspondent, is no group, and has
                that address, a text or an integer, under that key of its metadata.
            where: Which rooms.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """
        check_list("names", names)
        wanted = [correspondent_name(check_id("names", name)) for name in names]
        if recipient is not None:
            wanted.append(_recipient(recipient))
        of_channel = {"channel_id": check_id("channel_id", channel_id), "names": {"$in": wanted}}
        found = await self._routed("bindings", of_channel, _NEWEST, where, 1)
        return found[0]["room_id"] if found else None

    @reads
    async def find_by_participant(
        self, channel_id: str, names: Sequence[str], *, where: RoomFilter | None = None
    ) -> str | None:
        """Return the id of the newest room with a participant who was reached through a channel.

        Args:
            channel_id: The channel.
            names: The participant's id or identity is one of these.
            where: Which rooms.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """
        check_list("names", names)
        check_id("channel_id", channel_id)
        routes = {"$in": [route_name(channel_id, check_id("names", name)) for name in names]}
        found = await self._routed("participants", {"routes": routes}, _NEWEST, where, 1)
        return found[0]["room_id"] if found else None

    @reads
    async def list_by_channel(
        self,
        channel_id: str,
        *,
        group: bool | None = None,
        where: RoomFilter | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> list[str]:
        """Return the ids of the rooms that a channel is bound to, the oldest first.

        Args:
            channel_id: The channel.
            group: Whether the binding is a group's; None for both.
            where: Which rooms.
            limit: How many at most, 1 to 1000.
            offset: How many to pass over.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range.
        """
        limit, offset = check_limit("limit", limit), check_offset("offset", offset)
        groups = [False, True] if group is None else [check_flag("group", group)]
        of_channel = {"channel_id": check_id("channel_id", channel_id), "group": {"$in": groups}}
        found = await self._routed("bindings", of_channel, _OLDEST, where, limit, offset)
        return [binding["room_id"] for binding in found]

    async def _routed(
        self,
        members: str,
        match: Raw,
        order: dict[str, int],
        where: RoomFilter | None,
        limit: int,
        offset: int = 0,
    ) -> list[Raw]:
        """Return members of rooms in the order of those, as far as their rooms are meant.

        The server would read all candidates, however few of them are wanted: they are cut before their
        rooms are looked at, and mostly the first ones will do.
        """
        shown = {"_id": 0, "room_id": 1, "room_created_at": 1, "meant": _size_of_meant(where)}
        found: list[Raw] = []
        rooms = {"$lookup": {"from": self._connection.collection("rooms").name, **_ROOM}}
        seen, count = 0, min(_CANDIDATES + offset + limit, _MORE_CANDIDATES)
        while True:
            cut: list[Raw] = [{"$skip": seen}, {"$limit": count}, {"$project": dict.fromkeys(order, 1)}]
            pipeline: list[Raw] = [
                {"$match": match},
                {"$sort": order},
                *cut,
                rooms,
                {"$project": shown},
            ]
            async with await self._connection.collection(members).aggregate(
                pipeline, batchSize=count + 1
            ) as cursor:
                candidates = await cursor.to_list()
            found += [candidate for candidate in candidates if candidate["meant"]]
            if len(found) >= offset + limit or len(candidates) < count:
                return found[offset : offset + limit]
            seen, count = seen + count, _MORE_CANDIDATES


def _recipient(recipient: tuple[str, str]) -> str:
    if not isinstance(recipient, tuple) or len(recipient) != 2:
        raise InvalidValueError("recipient", "must be a tuple of a key and an address")
    key, address = recipient
    return recipient_name(check_text("recipient", key), check_id("recipient", address))


def _size_of_meant(where: RoomFilter | None) -> Raw:
    """Return the expression that counts those in `room` that are meant: one or none."""
    wanted = [
        {"$in": [f"$$room.{name}", {"$literal": condition["$in"]}]}
        if isinstance(condition, dict)
        else {"$eq": [f"$$room.{name}", {"$literal": condition}]}
        for name, condition in room_conditions(where).items()
    ]
    return {"$size": {"$filter": {"input": "$room", "as": "room", "cond": {"$and": wanted}}}}


def room_conditions(where: RoomFilter | None) -> Raw:
    """Return the filter of the rooms that are meant.

    Raises:
        InvalidValueError: A member is of the wrong type.
    """
    conditions: Raw = {"state": "open"}
    if where is None:
        return conditions
    given("where", where, RoomFilter)
    if where.organization_id is not None:
        conditions["organization_id"] = check_id("organization_id", where.organization_id)
    if where.statuses is not None:
        check_list("statuses", where.statuses)
        statuses = [check_id("statuses", status) for status in where.statuses]
        conditions["status"] = statuses[0] if len(statuses) == 1 else {"$in": statuses}
    return conditions
