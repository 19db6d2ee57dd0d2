"""Steps of Chainlit's data layer that cannot be stored, or say more than others could be asked to keep."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mongostore import ConflictError, DocumentTooLargeError, InvalidValueError
from tests.adapters.chainlit_parts import (
    THREAD,
    Feedback,
    MongoDataLayer,
    message,
    parents_first,
    step,
    steps_of,
)


async def test_a_step_belongs_to_one_thread(layer: MongoDataLayer, caplog: pytest.LogCaptureFixture) -> None:
    await layer.create_step(step("s", "mine"))
    with pytest.raises(ConflictError):
        await layer.update_step(step("s", "theirs", threadId="other"))
    assert (await steps_of(layer))["s"]["output"] == "mine"
    assert "step s is not stored" in caplog.text


async def test_a_chain_of_thousands_in_reverse_is_put_right(layer: MongoDataLayer) -> None:
    chain: Any = [step(f"s{n}", parentId=f"s{n + 1}", metadata={"same": "x" * 50}) for n in range(5000)]
    assert [one["id"] for one in parents_first(chain)] == [f"s{n}" for n in reversed(range(5000))]


async def test_a_step_of_15_mb_is_whole_and_one_of_17_is_an_error_that_names_it(
    layer: MongoDataLayer, caplog: pytest.LogCaptureFixture
) -> None:
    await layer.create_step(message("m"))
    await layer.update_step(message("m", "x" * 15_000_000))
    with pytest.raises(DocumentTooLargeError):
        await layer.update_step(message("m", "y" * 17_000_000))
    assert [record.levelno for record in caplog.records if "step m is not stored" in record.message] == [
        logging.ERROR
    ]
    assert (await steps_of(layer))["m"]["output"] == "x" * 15_000_000


async def test_what_is_no_json_is_an_error_that_names_the_step(
    layer: MongoDataLayer, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidValueError, match="metadata"):
        await layer.create_step(message("m", metadata={"a": object()}))
    assert "step m is not stored" in caplog.text
    assert await layer.get_thread(THREAD) is None


async def test_a_step_comes_back_with_all_that_is_none_in_it(layer: MongoDataLayer) -> None:
    texts, done = message("m", "Hi"), step("s", "found", 1, none=None)
    await layer.create_step(texts)
    await layer.create_step(done)
    thread = await layer.get_thread(THREAD)
    assert thread is not None
    assert thread["steps"] == [{**one, "feedback": None} for one in (texts, done)]
    assert await layer.set_step_favorite(texts, True) == {**texts, "metadata": {"favorite": True}}
    assert texts == message("m", "Hi")


async def test_what_is_no_time_is_kept(layer: MongoDataLayer) -> None:
    await layer.create_step(step("s", createdAt="yesterday"))
    assert (await steps_of(layer))["s"]["createdAt"] == "yesterday"


async def test_a_feedback_is_not_changed_by_storing_it(layer: MongoDataLayer) -> None:
    await layer.create_step(message("m"))
    sent = Feedback(forId="m", value=1)
    await layer.upsert_feedback(sent)
    assert sent.id is None
