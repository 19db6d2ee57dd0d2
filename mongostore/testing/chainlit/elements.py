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
        given = element(**members)
        kept = deepcopy(given.to_dict())
        found = await stored(layer, id=given.id, **members)
        assert {*found} == KEYS
        assert found == {**kept, "url": found["url"], "objectKey": found["objectKey"], "props": {}}
        assert given.to_dict() == kept
        await layer.create_step(message("m"))
        thread = await layer.get_thread(THREAD)
        assert thread is not None
        assert [{**one, "url": None} for one in thread["elements"]] == [{**found, "url": None}]
        json.dumps(thread)
        assert await layer.get_element("other", given.id) is None

    async def test_a_custom_element_has_props_and_no_file(self, layer: Any) -> None:
        props = {"a.b": [1, {"": None}], "$n": 2**70}
        given = element("CustomElement", name="Counter", props=props)
        kept = deepcopy(props)
        await layer.create_element(given)
        given.props = {"count": 2}
        before = await layer.get_element(THREAD, given.id)
        await layer.create_element(given)
        after = await layer.get_element(THREAD, given.id)
        assert before is not None
        assert (before["props"], before["url"], before["objectKey"]) == (kept, None, None)
        assert after == {**before, "props": {"count": 2}}
        assert props == kept

    async def test_an_element_with_an_address_keeps_it_and_nothing_is_fetched(self, layer: Any) -> None:
        found = await stored(layer, url="https://cat.example/cat.png?a=1")
        assert (found["url"], found["objectKey"]) == ("https://cat.example/cat.png?a=1", None)

    async def test_an_element_of_nothing_is_ignored(self, layer: Any) -> None:
        for for_id in (None, ""):
            await layer.create_element(given := element(content=b"x", for_id=for_id))
            assert await layer.get_element(THREAD, given.id) is None
        assert await layer.get_thread(THREAD) is None

    async def test_an_element_is_not_changed_by_storing_it(self, layer: Any) -> None:
        given = element("CustomElement", props={"a": {"b": [1]}})
        kept = copy(given.__dict__) | {"props": deepcopy(given.props)}
        await layer.create_element(given)
        assert given.__dict__ == kept
