"""Chainlit's contract for a data layer."""

from __future__ import annotations

import inspect
from typing import Any

import chainlit
from chainlit.data.base import BaseDataLayer
from chainlit.types import Feedback, Pagination, ThreadFilter

from mongostore.testing.chainlit.elements import ElementSuite
from mongostore.testing.chainlit.feedback import FeedbackSuite
from mongostore.testing.chainlit.lists import ThreadListSuite
from mongostore.testing.chainlit.parts import THREAD, element, message, step, steps_of
from mongostore.testing.chainlit.session import enter, socket_session
from mongostore.testing.chainlit.steps import StepSuite
from mongostore.testing.chainlit.threads import ThreadSuite

QUEUED = {"create_step", "update_step", "delete_step", "create_element", "delete_element"}


class DataLayerSuite(ThreadSuite, ThreadListSuite, StepSuite, FeedbackSuite, ElementSuite):
    """The contract of a data layer of Chainlit, in a session that has begun and far from UTC.

    Fixtures:
        layer: The data layer, an empty one for each test, with somewhere to keep files.
    """

    async def test_every_method_takes_what_that_of_the_base_class_takes(self, layer: Any) -> None:
        for name, method in inspect.getmembers(BaseDataLayer, inspect.isfunction):
            declared = inspect.signature(method).parameters.values()
            taken = [*inspect.signature(getattr(type(layer), name)).parameters.values()]
            assert [(one.name, one.default) for one in taken[: len(declared)]] == [
                (one.name, one.default) for one in declared
            ], name

    async def test_exactly_five_methods_wait_for_the_first_message(self, layer: Any) -> None:
        await layer.create_step(message("there"))
        enter(session := socket_session())
        calls: dict[str, tuple[Any, ...]] = {
            "get_user": ("ada",),
            "create_user": (chainlit.User(identifier="ada"),),
            "upsert_feedback": (Feedback(forId="there", value=1),),
            "delete_feedback": ("f",),
            "get_element": (THREAD, "e"),
            "create_element": (element(content=b"i"),),
            "delete_element": ("e",),
            "create_step": (message("m"),),
            "update_step": (message("m"),),
            "delete_step": ("other",),
            "get_thread_author": (THREAD,),
            "delete_thread": ("other",),
            "list_threads": (Pagination(first=1), ThreadFilter(userId="u")),
            "get_thread": (THREAD,),
            "update_thread": (THREAD,),
            "get_favorite_steps": ("u",),
            "build_debug_url": (),
            "close": (),
        }
        for name, arguments in calls.items():
            await getattr(layer, name)(*arguments)
        assert {*session.thread_queues} == QUEUED
        assert {"set_step_favorite", *calls} == {
            name for name, _ in inspect.getmembers(BaseDataLayer, inspect.isfunction)
        }

    async def test_what_waited_is_stored_in_order_after_the_first_message(self, layer: Any) -> None:
        enter(session := socket_session())
        for number in range(3):
            await layer.create_step(step(f"s{number}", seconds=number))
            await layer.update_step(step(f"s{number}", f"out {number}", seconds=number))
        await layer.delete_step("s1")
        assert await layer.get_thread(THREAD) is None
        session.has_first_interaction = True
        await session.flush_method_queue()
        assert [(one["id"], one["output"]) for one in (await steps_of(layer)).values()] == [
            ("s0", "out 0"),
            ("s2", "out 2"),
        ]
