"""Chainlit's contract for a data layer: the files of elements."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mongostore.testing.chainlit.parts import (
    CONTENT,
    STORAGE_URL,
    THREAD,
    FakeStorage,
    element,
    message,
    stored,
)
from mongostore.testing.chainlit.session import InSession

Served = Callable[[str], Awaitable[bytes | None]]


class FileSuite(InSession):
    """The contract of a data layer of Chainlit for the files of elements.

    Fixtures:
        layer: The data layer, an empty one for each test.
        served: An async function that returns what a browser gets at the address of an element, and None
            where it gets nothing.
    """

    @pytest.mark.parametrize(
        ("kind", "members"),
        [
            ("Pdf", {"content": b"%PDF", "page": 3}),
            ("Video", {"content": b"v", "player_config": {"a.b": {"$x": [1, None]}}}),
            ("Audio", {"content": b"a", "auto_play": True}),
            ("Text", {"content": "Grüße, Welt", "language": "text"}),
            ("File", {"content": b"f", "display": "side"}),
        ],
    )
    async def test_every_kind_of_element_is_whole(
        self, layer: Any, served: Served, kind: str, members: dict[str, Any]
    ) -> None:
        sent = element(kind, **members)
        expected = sent.to_dict()
        found = await stored(layer, kind=kind, **members, id=sent.id)
        assert found == {**expected, "url": found["url"], "objectKey": found["objectKey"], "props": {}}
        content = members["content"]
        assert await served(found["url"]) == (content.encode() if isinstance(content, str) else content)

    async def test_a_file_may_be_deleted_right_after_the_call(
        self, layer: Any, served: Served, tmp_path: Path
    ) -> None:
        path = tmp_path / "big.bin"
        path.write_bytes(CONTENT)
        sent = element(path=str(path), content=b"not this", url="https://nor.example/this")
        storing = asyncio.create_task(layer.create_element(sent))
        await asyncio.sleep(0)
        path.unlink()
        await storing
        found = await layer.get_element(THREAD, sent.id)
        assert found is not None
        assert await served(found["url"]) == CONTENT

    async def test_a_file_of_any_name_is_served(self, layer: Any, served: Served) -> None:
        for name in ("", "a/b.png", "../x", "ü" * 400, "half \ud83d", "\0", 'a"b\r\nc: d'):
            found = await stored(layer, name=name, content=b"x")
            assert await served(found["url"]) == b"x"

    async def test_deleting_an_element_deletes_its_file(self, layer: Any, served: Served) -> None:
        found = await stored(layer, content=CONTENT)
        assert await served(found["url"]) == CONTENT
        await layer.delete_element(found["id"], THREAD)
        assert await served(found["url"]) is None
        assert await layer.get_element(THREAD, found["id"]) is None

    async def test_a_replaced_file_is_the_new_one(self, layer: Any, served: Served) -> None:
        sent = element(content=b"old")
        await layer.create_element(sent)
        sent.content = b"new"
        await layer.create_element(sent)
        found = await layer.get_element(THREAD, sent.id)
        assert found is not None
        assert await served(found["url"]) == b"new"


class StorageSuite(FileSuite):
    """The same of a data layer that keeps files in a storage client of its caller.

    Fixtures:
        layer: The data layer, an empty one for each test, that keeps files in the fixture `storage`.
    """

    @pytest.fixture
    def storage(self) -> FakeStorage:
        return FakeStorage()

    @pytest.fixture
    def served(self, storage: FakeStorage) -> Served:
        async def served(url: str) -> bytes | None:
            key = url.removeprefix(STORAGE_URL).rpartition("?read=")[0]
            data, _ = storage.files.get(key, (None, ""))
            return data.encode() if isinstance(data, str) else data

        return served

    async def test_the_storage_gets_files_and_is_asked_for_addresses(
        self, layer: Any, storage: FakeStorage
    ) -> None:
        found = await stored(layer, id="e", name="a.png", content=b"x", mime="image/png")
        again = await layer.get_element(THREAD, "e")
        assert storage.files == {found["objectKey"]: (b"x", "image/png")}
        assert found["url"].startswith(f"{STORAGE_URL}{found['objectKey']}?read=")
        assert again is not None
        assert again["url"] != found["url"]
        await stored(layer, kind="CustomElement", props={"a": 1})
        await stored(layer, url="https://cat.example/cat.png")
        assert len(storage.files) == 1

    async def test_the_storage_is_told_of_every_deletion(self, layer: Any, storage: FakeStorage) -> None:
        await layer.create_step(message("m"))
        await layer.create_step(message("n"))
        keys = {
            id: (await stored(layer, id=id, content=b"x", for_id=of))["objectKey"]
            for id, of in (("e1", "m"), ("e2", "m"), ("e3", "n"), ("e4", "n"))
        }
        await layer.delete_element("e1")
        await layer.delete_element("unknown")
        assert len(storage.files) == 3
        await layer.delete_step("m")
        assert {*storage.files} == {keys["e3"], keys["e4"]}
        await layer.delete_thread(THREAD)
        await layer.create_element(element(content=b"late"))
        assert storage.files == {}
