"""Chainlit reads what was imported from its own tables."""

from __future__ import annotations

from mongostore import AsyncMongoStore
from mongostore.importers import Importer, Options
from tests.adapters.chainlit_parts import MongoDataLayer, Pagination, ThreadFilter
from tests.importers.expected import DATA, load


async def test_chainlit_shows_what_was_imported(store: AsyncMongoStore) -> None:
    expected = load("chainlit")
    options = Options(files=DATA / "chainlit" / "files")
    await Importer(store).run("chainlit", str(DATA / "chainlit" / "chainlit.db"), options)
    layer = MongoDataLayer(store=store)
    for identifier, ids in expected["sidebar"].items():
        user = await layer.get_user(identifier)
        assert user is not None
        output = await layer.list_threads(Pagination(first=20), ThreadFilter(userId=user.id))
        assert [thread["id"] for thread in output.data] == ids
    for one in expected["threads"]:
        thread = await layer.get_thread(one["id"])
        assert thread is not None
        assert [step["id"] for step in thread["steps"]] == [step["id"] for step in one["steps"]]
        assert [element["id"] for element in thread["elements"] or ()] == [e["id"] for e in one["elements"]]
