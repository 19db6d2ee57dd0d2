"""Two processes that use one role thread lose nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mongostore import MongoStore
from mongostore.adapters.threadmem import RoleThread
from mongostore.adapters.threadmem.file_storage import FileStorage

CHILD = """
import sys
from mongostore.adapters.threadmem import RoleThread, V1Role, configure
uri, database, id, name = sys.argv[1:]
configure(uri, database)
sys.stdin.readline()
[thread] = RoleThread.find(id=id)
thread.messages()
for number in range(5):
    thread.post("user", f"{name} {number}")
    thread.metadata = {**(thread.metadata or {}), f"{name} {number}": [name]}
    thread.save()
thread.add_role(V1Role(name=name, user_id="u1", user_name="Ada", icon="icon.png"))
"""


@pytest.mark.server
def test_two_processes_of_one_thread_lose_nothing(server_uri: str, database: str) -> None:
    with MongoStore(server_uri, database) as store:
        threads = RoleThread.at(FileStorage(store=store))
        thread = threads()
        children = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD, server_uri, database, thread.id, name],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
            for name in ("a", "b")
        ]
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        for child in children:
            _, errors = child.communicate(timeout=60)
            assert child.returncode == 0, errors
        [found] = threads.find(id=thread.id)
        texts = [message.text for message in found.messages()]
        written = {name: [f"{name} {number}" for number in range(5)] for name in ("a", "b")}
        assert sorted(texts) == [*written["a"], *written["b"]]
        for name, own in written.items():
            assert [text for text in texts if text.startswith(name)] == own
            assert {key: [name] for key in own}.items() <= (found.metadata or {}).items()
        assert sorted(found.role_mapping) == ["a", "b"]
