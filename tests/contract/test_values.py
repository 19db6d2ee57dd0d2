"""What callers give comes back equal, or is refused with the path of what cannot be stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings

from mongostore import AsyncMongoStore, InvalidValueError, Message
from tests.contract.edge_cases import (
    CURSORS,
    NASTY,
    NO_IDS,
    OBJECTS,
    VALUES,
    Colour,
    Loud,
    deep,
    refused,
    same,
)

circle: list[Any] = []
circle.append(circle)

REFUSED = [
    (object(), ""),
    ((1, 2), ""),
    ({"a": [1, {"b": b"bytes"}]}, ".a[1].b"),
    ({"a": {1: 2}}, ".a"),
    ([datetime(2020, 1, 1)], "[0]"),
    ({"a": {1, 2}}, ".a"),
    ([1j], "[0]"),
    (deep(300), None),
    (circle, None),
    (10**5000, ""),
]


class TestValues:
    @pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
    @pytest.mark.smoke
    async def test_odd_values_come_back_equal(self, store: AsyncMongoStore, value: Any) -> None:
        sessions = store.sessions
        await sessions.create("s", data={"k": value}, metadata={"k": value})
        session = await sessions.get("s")
        assert same(session.data, {"k": value})
        assert same(session.metadata, {"k": value})
        await sessions.messages.append(
            "s", Message(id="m", role="user", content=value, data={"k": value}, metadata={"k": value})
        )
        await sessions.context.set("s", value)
        for _ in range(2):
            message = await sessions.messages.get("s", "m")
            assert same(message.content, value)
            assert same(message.data, {"k": value})
            assert same(message.metadata, {"k": value})
            assert same(await sessions.context.get("s"), value)
            await sessions.messages.update("s", "m", content=value, data={"k": value}, metadata={"k": value})
            await sessions.update("s", data={"k": value}, metadata={"k": value})

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(content=VALUES, data=OBJECTS, metadata=OBJECTS)
    async def test_values_of_any_kind_come_back_equal(
        self, store: AsyncMongoStore, content: Any, data: dict[str, Any], metadata: dict[str, Any]
    ) -> None:
        sessions, session_id = store.sessions, uuid4().hex
        await sessions.create(session_id, data=data, metadata=metadata)
        await sessions.messages.append(
            session_id, Message(id="m", role="user", content=content, data=data, metadata=metadata)
        )
        await sessions.context.set(session_id, content)
        message, session = await sessions.messages.get(session_id, "m"), await sessions.get(session_id)
        assert same(message.content, content)
        assert same(message.data, data)
        assert same(message.metadata, metadata)
        assert same(session.data, data)
        assert same(session.metadata, metadata)
        assert same(await sessions.context.get(session_id), content)
        await sessions.delete(session_id)

    @pytest.mark.parametrize(("value", "path"), REFUSED, ids=range(len(REFUSED)))
    async def test_what_is_no_json_is_refused_with_its_path_and_nothing_is_written(
        self, store: AsyncMongoStore, value: Any, path: str | None
    ) -> None:
        sessions = store.sessions
        await sessions.create("s", data={"k": 1})
        await sessions.messages.append("s", Message(id="m", role="user", content="kept"))
        before = await sessions.get("s"), await sessions.messages.get("s", "m")
        for call, root in (
            (sessions.messages.append("s", Message(role="user", content=value)), "content"),
            (
                sessions.messages.append_many("s", [Message(role="user"), Message(role="u", content=value)]),
                "content",
            ),
            (sessions.messages.append("s", Message(role="user", data={"k": value})), "data.k"),
            (sessions.messages.append("s", Message(role="user", metadata={"k": value})), "metadata.k"),
            (sessions.messages.upsert("s", Message(id="m", role="user", content=value)), "content"),
            (sessions.messages.update("s", "m", content=value), "content"),
            (sessions.messages.update("s", "m", metadata={"k": value}), "metadata.k"),
            (sessions.context.set("s", value), "value"),
            (sessions.update("s", data={"k": value}), "data.k"),
            (sessions.update("s", metadata={"k": value}), "metadata.k"),
            (sessions.create("t", data={"k": value}), "data.k"),
            (sessions.create("t", metadata={"k": value}), "metadata.k"),
        ):
            [error] = await refused(call)
            assert error.path == root + path if path is not None else error.path.startswith(root)
        assert before == (await sessions.get("s"), await sessions.messages.get("s", "m"))
        assert not await sessions.exists("t")

    async def test_subclasses_of_plain_values_come_back_as_plain_values(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s")
        await store.sessions.messages.append(
            "s", Message(id="m", role="user", content=[Colour.RED, Loud("loud")])
        )
        message = await store.sessions.messages.get("s", "m")
        assert same(message.content, ["red", "loud"])

    @pytest.mark.parametrize("bad", NO_IDS, ids=range(len(NO_IDS)))
    async def test_ids_that_are_no_plain_strings_never_reach_a_query(
        self, store: AsyncMongoStore, bad: Any
    ) -> None:
        sessions = store.sessions
        await sessions.create("s", user_id="u")
        await sessions.messages.append("s", Message(id="m", role="user", content="kept"))
        calls: list[Any] = [
            sessions.get(bad),
            sessions.find(bad),
            sessions.exists(bad),
            sessions.update(bad, name="x"),
            sessions.truncate(bad),
            sessions.soft_delete(bad),
            sessions.undelete(bad),
            sessions.delete(bad),
            sessions.messages.append(bad, Message(role="user")),
            sessions.messages.append_many(bad, []),
            sessions.messages.update(bad, "m", content=1),
            sessions.messages.update("s", bad, content=1),
            sessions.messages.update("s", "m", conversation_id=bad),
            sessions.messages.upsert(bad, Message(role="user")),
            sessions.messages.upsert("s", Message.model_construct(id=bad, role="user")),
            sessions.messages.append("s", Message.model_construct(id="x", role="u", conversation_id=bad)),
            sessions.messages.get(bad, "m"),
            sessions.messages.get("s", bad),
            sessions.messages.delete(bad, "m"),
            sessions.messages.delete("s", bad),
            sessions.messages.delete_many("s", [bad]),
            sessions.messages.list(bad),
            sessions.messages.count(bad),
            sessions.conversations.list(bad),
            sessions.context.get(bad),
            sessions.context.set(bad, []),
            sessions.context.delete(bad),
            anext(sessions.messages.iter(bad)),
            anext(sessions.messages.watch(bad)),
        ]
        if bad is not None:
            calls += [
                sessions.create(bad),
                sessions.create("t", user_id=bad),
                sessions.list(user_id=bad),
                sessions.count(user_id=bad),
                anext(sessions.iter(user_id=bad)),
                sessions.messages.list("s", conversation_id=bad),
                anext(sessions.messages.iter("s", conversation_id=bad)),
            ]
        await refused(*calls)
        assert await sessions.count() == 1
        assert (await sessions.messages.get("s", "m")).content == "kept"

    @pytest.mark.parametrize("bad", [0, -5, 1001, 2**70, "5", 1.0, True, None, {"$gt": 0}], ids=str)
    async def test_limits_and_positions_are_checked_integers(self, store: AsyncMongoStore, bad: Any) -> None:
        await store.sessions.create("s")
        await refused(store.sessions.list(limit=bad), store.sessions.messages.list("s", limit=bad))
        if bad not in (0, 1001, None) and bad != "5":
            for where in ({"before": bad}, {"after": bad}):
                with pytest.raises(InvalidValueError):
                    await store.sessions.messages.list("s", **where)

    @pytest.mark.parametrize("bad", CURSORS, ids=range(len(CURSORS)))
    async def test_cursors_of_others_are_refused(self, store: AsyncMongoStore, bad: Any) -> None:
        with pytest.raises(InvalidValueError):
            await store.sessions.list(cursor=bad)

    async def test_names_and_roles_are_plain_strings(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        await sessions.create("s")
        several: list[Any] = [5, "\ud800", b"x", {"$gt": ""}]
        for bad in several:
            await refused(
                sessions.create("t", name=bad),
                sessions.create("t", description=bad),
                sessions.update("s", name=bad),
                sessions.messages.append("s", Message.model_construct(id="m", role=bad)),
                sessions.messages.update("s", "m", role=bad),
            )

    async def test_wrong_shapes_are_refused(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        await sessions.create("s")
        await sessions.messages.append("s", Message(id="m", role="user"))
        five: Any = 5
        calls: list[Any] = [
            sessions.update("s", unknown=1),
            sessions.update("s", revision="1"),
            sessions.update("s", data=[1]),
            sessions.update("s", data=None),
            sessions.update("s", metadata=[1]),
            sessions.update("s", metadata={1: 2}),
            sessions.create("t", data=[1]),
            sessions.create("t", metadata="x"),
            sessions.messages.append("s", {"role": "user"}),
            sessions.messages.append_many("s", "text"),
            sessions.messages.append_many("s", None),
            sessions.messages.upsert("s", None),
            sessions.messages.update("s", "m", id="other"),
            sessions.messages.update("s", "m", metadata=5),
            sessions.messages.update("s", "m", data=[1]),
            sessions.messages.append("s", Message.model_construct(id="x", role="u", data=five)),
            sessions.messages.append("s", Message.model_construct(id="x", role="u", metadata=five)),
            sessions.messages.append("s", Message.model_construct(role="u", created_at=datetime(2020, 1, 1))),
            sessions.messages.delete_many("s", "m"),
            sessions.messages.delete_many("s", 5),
            sessions.list(deleted="yes"),
            sessions.messages.list("s", newest="no"),
        ]
        await refused(*calls)
        assert await sessions.messages.count("s") == 1

    async def test_errors_never_tell_what_was_said(self, store: AsyncMongoStore) -> None:
        canary = "canary-secret"
        await store.sessions.create("s")
        errors = await refused(
            store.sessions.messages.append("s", Message(role="user", content=[canary, {canary, "set"}])),
            store.sessions.context.set("s", {"k": (canary,)}),
            store.sessions.list(cursor=canary),
        )
        assert all(canary not in str(error) for error in errors)
        with pytest.raises(ValueError, match="role") as invalid:
            Message(role=[canary])
        assert canary not in str(invalid.value)
