"""Chainlit reads what was imported from its own tables."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

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


async def test_a_long_name_of_a_file_keeps_its_ending(store: AsyncMongoStore, tmp_path: Path) -> None:
    database = shutil.copy(DATA / "chainlit" / "chainlit.db", tmp_path)
    with closing(sqlite3.connect(database)) as rows, rows:
        rows.execute("UPDATE elements SET name = ? WHERE objectKey IS NOT NULL", (f"{'a' * 150}/b.png",))
    await Importer(store).run("chainlit", database, Options(files=DATA / "chainlit" / "files"))
    names = [file.key.split("/", 3)[3] async for file in store.threads.files.iter(prefix="threads/")]
    assert {*names} == {"a" * 96 + ".png"}
