"""Elements of Chainlit's data layer, and where their files are kept, on each engine."""

from __future__ import annotations

import asyncio
import json
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest

from mongostore import AsyncMongoStore, DocumentTooLargeError
from tests.adapters.chainlit_parts import (
    THREAD,
    GridFSStorageClient,
    MongoDataLayer,
    Shelf,
    element,
    message,
    stored,
)

KEYS = {
    *("id", "threadId", "type", "chainlitKey", "url", "objectKey", "name", "display", "size", "language"),
    *("page", "props", "autoPlay", "playerConfig", "forId", "mime"),
}
CONTENT = bytes(range(256)) * 4096


async def test_elements_come_before_their_steps_and_threads(layer: MongoDataLayer) -> None:
    given = element(content=CONTENT, size="large", mime="image/png", language="en")
    kept = deepcopy(given.to_dict())
    found = await stored(layer, id=given.id, content=CONTENT, size="large", mime="image/png", language="en")
    assert {*found} == KEYS
    key = f"threads/{THREAD}/{given.id}/it.bin"
    assert found == {**kept, "url": found["url"], "objectKey": key, "props": {}}
    assert given.to_dict() == kept
    await layer.create_step(message("m"))
    thread = await layer.get_thread(THREAD)
    assert thread is not None
    assert [{**one, "url": None} for one in thread["elements"]] == [{**found, "url": None}]
    json.dumps(thread)
    assert await layer.get_element("other", given.id) is None


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
    layer: MongoDataLayer, browser: httpx.AsyncClient, kind: str, members: dict[str, Any]
) -> None:
    given = element(kind, **members)
    expected = given.to_dict()
    found = await stored(layer, kind=kind, **members, id=given.id)
    assert found == {**expected, "url": found["url"], "objectKey": found["objectKey"], "props": {}}
    content = members["content"]
    served = await browser.get(found["url"])
    assert served.content == (content.encode() if isinstance(content, str) else content)


async def test_a_custom_element_has_props_and_no_file(layer: MongoDataLayer, store: AsyncMongoStore) -> None:
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
    assert await store.engine.database["files.files"].count_documents({}) == 0


async def test_an_element_with_an_address_keeps_it_and_nothing_is_fetched(
    layer: MongoDataLayer, store: AsyncMongoStore
) -> None:
    found = await stored(layer, url="https://cat.example/cat.png?a=1")
    assert (found["url"], found["objectKey"]) == ("https://cat.example/cat.png?a=1", None)
    assert await store.engine.database["files.files"].count_documents({}) == 0


async def test_an_element_of_nothing_is_ignored(layer: MongoDataLayer) -> None:
    for for_id in (None, ""):
        await layer.create_element(given := element(content=b"x", for_id=for_id))
        assert await layer.get_element(THREAD, given.id) is None
    assert await layer.get_thread(THREAD) is None


async def test_a_file_may_be_deleted_right_after_the_call(
    layer: MongoDataLayer, browser: httpx.AsyncClient, tmp_path: Path
) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(CONTENT)
    given = element(path=str(path), content=b"not this", url="https://nor.example/this")
    storing = asyncio.create_task(layer.create_element(given))
    await asyncio.sleep(0)
    path.unlink()
    await storing
    found = await layer.get_element(THREAD, given.id)
    assert found is not None
    assert (await browser.get(found["url"])).content == CONTENT


async def test_a_missing_file_is_an_error_that_names_the_element(
    layer: MongoDataLayer, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    given = element(path=str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError):
        await layer.create_element(given)
    assert f"element {given.id} is not stored" in caplog.text


async def test_too_many_props_are_an_error_that_names_the_element(
    layer: MongoDataLayer, caplog: pytest.LogCaptureFixture
) -> None:
    given = element("CustomElement", props={"x": "y" * 17_000_000})
    with pytest.raises(DocumentTooLargeError):
        await layer.create_element(given)
    assert f"element {given.id} is not stored" in caplog.text


async def test_a_file_of_any_name_is_served(layer: MongoDataLayer, browser: httpx.AsyncClient) -> None:
    for name in ("", "a/b.png", "../x", "ü" * 400, "half \ud83d", "\0", 'a"b\r\nc: d'):
        found = await stored(layer, name=name, content=b"x")
        served = await browser.get(found["url"])
        assert (served.status_code, served.content) == (200, b"x")
        assert served.headers["content-disposition"].startswith("inline; filename*=UTF-8''")
        assert "c" not in served.headers


async def test_deleting_an_element_deletes_its_file(
    layer: MongoDataLayer, store: AsyncMongoStore, browser: httpx.AsyncClient
) -> None:
    found = await stored(layer, content=CONTENT)
    assert (await browser.get(found["url"])).status_code == 200
    await layer.delete_element(found["id"], THREAD)
    assert (await browser.get(found["url"])).status_code == 404
    assert await layer.get_element(THREAD, found["id"]) is None
    for name in ("files.files", "files.chunks"):
        assert await store.engine.database[name].count_documents({}) == 0


async def test_a_replaced_file_is_the_new_one(layer: MongoDataLayer, browser: httpx.AsyncClient) -> None:
    given = element(content=b"old")
    await layer.create_element(given)
    given.content = b"new"
    await layer.create_element(given)
    found = await layer.get_element(THREAD, given.id)
    assert found is not None
    assert (await browser.get(found["url"])).content == b"new"


@pytest.fixture
def shelf() -> Shelf:
    """A storage that is not ours."""
    return Shelf()


@pytest.fixture
def shelved(layer: MongoDataLayer, store: AsyncMongoStore, shelf: Shelf) -> MongoDataLayer:
    """A layer whose files lie elsewhere."""
    return MongoDataLayer(store=store, storage_provider=shelf)


async def test_another_storage_gets_files_and_is_asked_for_addresses(
    shelved: MongoDataLayer, shelf: Shelf, store: AsyncMongoStore
) -> None:
    found = await stored(shelved, id="e", name="a.png", content=b"x", mime="image/png")
    again = await shelved.get_element(THREAD, "e")
    assert shelf.files == {f"threads/{THREAD}/e/a.png": (b"x", "image/png")}
    assert found["objectKey"] == f"threads/{THREAD}/e/a.png"
    assert found["url"].startswith(f"https://shelf.example/threads/{THREAD}/e/a.png?read=")
    assert again is not None
    assert again["url"] != found["url"]
    await stored(shelved, kind="CustomElement", props={"a": 1})
    await stored(shelved, url="https://cat.example/cat.png")
    assert len(shelf.files) == 1
    assert await store.engine.database["files.files"].count_documents({}) == 0


async def test_another_storage_is_told_of_every_deletion(shelved: MongoDataLayer, shelf: Shelf) -> None:
    await shelved.create_step(message("m"))
    await shelved.create_step(message("n"))
    for id, of in (("e1", "m"), ("e2", "m"), ("e3", "n"), ("e4", "n")):
        await shelved.create_element(element(id=id, content=b"x", for_id=of))
    await shelved.delete_element("e1")
    await shelved.delete_element("unknown")
    assert len(shelf.files) == 3
    await shelved.delete_step("m")
    assert {key.split("/")[2] for key in shelf.files} == {"e3", "e4"}
    await shelved.delete_thread(THREAD)
    await shelved.create_element(element(content=b"late"))
    assert shelf.files == {}


async def test_what_another_storage_does_not_store_is_an_error_that_names_the_element(
    shelved: MongoDataLayer, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.fails = True
    given = element(content=b"x")
    with pytest.raises(OSError, match="has not stored"):
        await shelved.create_element(given)
    assert f"element {given.id} is not stored" in caplog.text
    assert await shelved.get_element(THREAD, given.id) is None


async def test_files_may_lie_in_another_database(layer: MongoDataLayer, store: AsyncMongoStore) -> None:
    async with AsyncMongoStore("mongomock://", "files") as other:
        apart = MongoDataLayer(store=store, storage_provider=GridFSStorageClient(store=other))
        await stored(apart, id="e", name="a", content=b"x")
        assert await other.files.find(f"threads/{THREAD}/e/a") is not None
        await apart.delete_thread(THREAD)
        assert await other.files.find(f"threads/{THREAD}/e/a") is None


async def test_an_element_is_not_changed_by_storing_it(layer: MongoDataLayer) -> None:
    given = element("CustomElement", props={"a": {"b": [1]}})
    kept = copy(given.__dict__) | {"props": deepcopy(given.props)}
    await layer.create_element(given)
    assert given.__dict__ == kept
