"""Chainlit's contract for a data layer: elements."""

from __future__ import annotations

import json
from copy import copy, deepcopy
from typing import Any

from mongostore.testing.chainlit.parts import CONTENT, THREAD, element, message, stored
from mongostore.testing.chainlit.session import InSession

KEYS = {
    *("id", "threadId", "type", "chainlitKey", "url", "objectKey", "name", "display", "size", "language"),
    *("page", "props", "autoPlay", "playerConfig", "forId", "mime"),
}


class ElementSuite(InSession):
    """Elements, with and without their files."""

    async def test_elements_come_before_their_steps_and_threads(self, layer: Any) -> None:
        members: dict[str, Any] = {"content": CONTENT, "size": "large", "mime": "image/png", "language": "en"}
        sent = element(**members)
        remaining = deepcopy(sent.to_dict())
        found = await stored(layer, id=sent.id, **members)
        assert {*found} == KEYS
        assert found == {**remaining, "url": found["url"], "objectKey": found["objectKey"], "props": {}}
        assert sent.to_dict() == remaining
        await layer.create_step(message("m"))
        thread = await layer.get_thread(THREAD)
        assert thread is not None
        assert [{**one, "url": None} for one in thread["elements"]] == [{**found, "url": None}]
        json.dumps(thread)
        assert await layer.get_element("other", sent.id) is None

    async def test_a_custom_element_has_props_and_no_file(self, layer: Any) -> None:
        props = {"a.b": [1, {"": None}], "$n": 2**70}
        sent = element("CustomElement", name="Counter", props=props)
        remaining = deepcopy(props)
        await layer.create_element(sent)
        sent.props = {"count": 2}
        before = await layer.get_element(THREAD, sent.id)
        await layer.create_element(sent)
        after = await layer.get_element(THREAD, sent.id)
        assert before is not None
        assert (before["props"], before["url"], before["objectKey"]) == (remaining, None, None)
        assert after == {**before, "props": {"count": 2}}
        assert props == remaining

    async def test_an_element_with_an_address_keeps_it_and_nothing_is_fetched(self, layer: Any) -> None:
        found = await stored(layer, url="https://cat.example/cat.png?a=1")
        assert (found["url"], found["objectKey"]) == ("https://cat.example/cat.png?a=1", None)

    async def test_an_element_of_nothing_is_ignored(self, layer: Any) -> None:
        for for_id in (None, ""):
            await layer.create_element(sent := element(content=b"x", for_id=for_id))
            assert await layer.get_element(THREAD, sent.id) is None
        assert await layer.get_thread(THREAD) is None

    async def test_an_element_is_not_changed_by_storing_it(self, layer: Any) -> None:
        sent = element("CustomElement", props={"a": {"b": [1]}})
        remaining = copy(sent.__dict__) | {"props": deepcopy(sent.props)}
        await layer.create_element(sent)
        assert sent.__dict__ == remaining
