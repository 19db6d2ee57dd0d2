"""What `mongostore people export` gives out."""

from __future__ import annotations

import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from mongostore import Element, Message, MongoStore
from mongostore.cli import app
from mongostore.repositories.threads import AsyncFiles


def test_an_export_of_a_person_holds_each_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, path = f"mongomock://{uuid4().hex}", tmp_path / "ada.zip"
    read = AsyncFiles.iter_content

    async def replace(self: AsyncFiles, key: str) -> AsyncIterator[bytes]:
        async for piece in read(self, key):
            if piece.startswith(b"old"):
                await self.upload(key, b"new")
                await self.delete("ada/gone")
            yield piece

    with MongoStore(uri) as store:
        user = store.threads.users.create("ada")
        store.sessions.create("s", user_id="ada")
        store.sessions.messages.append("s", Message(role="user", content="half \ud83d", data={"ä": 1}))
        contents = {"../up": b"one", "ada/of-an-element": b"old" * 200_000, "ada/alone": b"three"}
        for number, (key, content) in enumerate(contents.items()):
            store.threads.create(f"t{number}", user_id=user.id)
            store.threads.files.upload(key, content)
            if number < 2:
                element = Element(id=f"../{number}", message_id="m", file_key=key)
                store.threads.elements.upsert(f"t{number}", element)
        store.threads.files.upload("ada/gone", b"x")
        store.sessions.create("hidden", user_id="ada")
        store.sessions.soft_delete("hidden")
        monkeypatch.setattr(AsyncFiles, "iter_content", replace)
        done = CliRunner().invoke(app, ["people", "export", "ada", "-o", str(path), "--uri", uri, "--json"])
    assert done.exit_code == 0, done.output
    assert "1 softly deleted sessions are without their messages" in done.stderr
    received = {}
    with zipfile.ZipFile(path) as archive:
        assert not any(".." in name for name in archive.namelist())
        assert len({*archive.namelist()}) == len(archive.namelist())
        for name in archive.namelist():
            folder, _, number = name.partition("/")
            value = None if folder == "files" else json.loads(archive.read(name))["value"]
            if value is not None and f"files/{number.removesuffix('.json')}" in archive.namelist():
                received[value["file_key"]] = archive.read(f"files/{number.removesuffix('.json')}")
            if folder == "messages":
                assert value["content"] == "half \ud83d"
    assert received == {"../up": b"one", "ada/of-an-element": b"new", "ada/alone": b"three"}
    assert json.loads(done.stdout)["records"]["files"] == 3
