"""The real threadmem as client of a server of ours, and as a server that we are a client of.

It pins versions that we do not, so it gets an environment of its own in the cache, once.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from PIL import Image

from mongostore import AccessDeniedError, MongoStore, NotFoundError, UnavailableError, UnsupportedError
from mongostore.adapters.threadmem import RoleMessage, RoleThread, V1Role, V1RoleMessage
from mongostore.adapters.threadmem.server.models import V1UpdateRoleThread
from tests.conftest import absent
from tests.environments import install, make_environment
from tests.ports import free_port
from tests.servers.rolehub import Hub, RoleServer

VERSION = "0.2.39"
HERE = Path(__file__).parent
HOME = HERE.parents[1] / ".cache" / f"threadmem-{VERSION}"
LOGGING = """[loggers]
keys=root
[handlers]
keys=
[formatters]
keys=
[logger_root]
handlers=
"""
BOSS = V1Role(name="boss", user_id="u", user_name="U", icon="i")

# To install it takes long, and a network.
pytestmark = [pytest.mark.timeout(600), pytest.mark.long]


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with the real threadmem."""
    python, complete = HOME / "bin" / "python", HOME / "complete"
    if not complete.exists():
        done = install(make_environment(HOME), f"threadmem=={VERSION}")
        if done.returncode:
            absent(f"threadmem {VERSION} cannot be installed: {done.stderr[-500:]}")
        complete.touch()
    return python


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


def environment(home: Path, **more: str) -> dict[str, str]:
    """Variables for threadmem, whose database is a file in a folder."""
    return {**os.environ, "AGENTSEA_HOME": str(home), **more}


@pytest.mark.server
def test_the_real_client_uses_our_server(
    python: Path, server_uri: str, database: str, tmp_path: Path
) -> None:
    with MongoStore(server_uri, database) as store, RoleServer(store) as server:
        done = subprocess.run(
            [python, HERE / "children" / "threadmem_client.py", server.url, server.token("ada@x")],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_real_client_is_let_in_by_the_hub(
    python: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTSEA_HUB_URL", hub.url)
    ask = "import sys, threadmem; print(len(threadmem.RoleThread.find(remote=sys.argv[1])))"
    with MongoStore("mongomock://") as store, RoleServer(store) as server:
        server.threads("ada@hub")
        for token, texts in (("hub.ada", "1"), ("hub.ben", "0")):
            done = subprocess.run(
                [python, "-c", ask, server.url],
                env=environment(tmp_path, AGENTSEA_HUB_API_KEY=token),
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            assert done.stdout.split() == [texts], done.stderr


@pytest.fixture(scope="module")
def real(python: Path, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the real server."""
    folder = tmp_path_factory.mktemp("threadmem")
    (folder / "logging.conf").write_text(LOGGING)
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", folder / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [python, "-m", "uvicorn", "threadmem.server.app:app", "--port", str(port)],
            cwd=folder,
            env=environment(folder, AGENTSEA_HUB_URL=hub.url),
            stdout=written,
            stderr=written,
        )
    deadline = time.monotonic() + 60
    while True:
        try:
            requests.get(f"{url}/health", timeout=5).raise_for_status()
            break
        except requests.RequestException:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
    yield url
    process.terminate()
    process.wait(30)


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> str:
    """Who asks the real server."""
    name = f"u{uuid4().hex}"
    monkeypatch.setenv("AGENTSEA_HUB_API_KEY", f"hub.{name}")
    return f"{name}@hub"


@pytest.fixture
def thread(real: str, owner: str) -> RoleThread:
    return RoleThread(remote=real, name="name", metadata={"k": 1})


def seen(thread: RoleThread) -> RoleThread:
    """The thread as the server gives it to somebody who asks anew."""
    [found] = [one for one in RoleThread.find(remote=thread.remote) if one.id == thread.id]
    return found


def test_a_thread_is_made_and_gets_the_servers_id(real: str, thread: RoleThread, owner: str) -> None:
    assert (thread.owner_id, thread.name, thread.metadata) == (owner, "name", {"k": 1})
    assert [one.id for one in RoleThread.find(remote=real)] == [thread.id]
    assert RoleThread.find(remote=real, name="name")[0].to_v1() == thread.to_v1()
    assert RoleThread.find(remote=real, name="other") == []
    public = RoleThread(remote=real, public=True)
    assert seen(public).public is True


def test_posts_arrive_there(thread: RoleThread) -> None:
    thread.post("user", "hi", [Image.new("RGB", (2, 1)), "https://x/y"])
    thread.add_msg(RoleMessage.from_v1(V1RoleMessage(id="x", role="assistant", text="answer", created=1.0)))
    found = seen(thread).messages()
    assert [one.to_v1() for one in found] == [one.to_v1() for one in thread.messages()]
    assert [one.text for one in found] == ["hi", "answer"]
    assert found[0].images[0].startswith("data:image/png;base64,")
    assert found[0].images[1] == "https://x/y"


@pytest.mark.parametrize("member", [{"private": True}, {"metadata": {"k": 1}}])
def test_what_it_would_drop_is_not_sent(real: str, thread: RoleThread, member: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match=next(iter(member))):
        thread.post("user", "hi", **member)
    assert seen(thread).messages() == []
    # It does drop it.
    headers = {"Authorization": f"Bearer {os.environ['AGENTSEA_HUB_API_KEY']}"}
    body = {"role": "user", "msg": "hi", **member}
    requests.post(f"{real}/v1/rolethreads/{thread.id}/msgs", json=body, headers=headers, timeout=60)
    [message] = seen(thread).messages()
    assert (message.private, message.metadata) == (False, None)


def test_roles_come_and_go_there(thread: RoleThread) -> None:
    [stale] = RoleThread.find(remote=thread.remote, id=thread.id)
    thread.add_role(BOSS)
    assert thread.role_mapping == seen(thread).role_mapping == {"boss": BOSS}
    with pytest.raises(ValueError, match="Role boss already exists"):
        thread.add_role(BOSS)
    # What it answers is a failure of its own, and no conflict.
    with pytest.raises(UnavailableError, match="500"):
        stale.add_role(BOSS)
    thread.remove_role("boss")
    assert thread.role_mapping == seen(thread).role_mapping == {}


def test_names_and_metadata_are_saved_there_but_not_whether_it_is_public(thread: RoleThread) -> None:
    thread.name, thread.metadata = "new", {"l": 2}
    thread.save()
    assert (seen(thread).name, seen(thread).metadata) == ("new", {"l": 2})
    with pytest.raises(UnavailableError, match="500"):
        thread.update(V1UpdateRoleThread(public=True))
    assert seen(thread).public is False


def test_what_is_public_there_stays_so(real: str, owner: str) -> None:
    thread = RoleThread(remote=real, public=True)
    # It answers as if it had done so.
    thread.update(V1UpdateRoleThread(public=False))
    assert thread.public is True
    assert seen(thread).public is True


def test_it_deletes_nothing(thread: RoleThread) -> None:
    with pytest.raises(UnavailableError, match="500"):
        thread.delete()
    assert seen(thread).name == "name"


def test_it_lets_nobody_else_in(
    real: str, thread: RoleThread, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTSEA_HUB_API_KEY", "hub.somebody")
    with pytest.raises(NotFoundError):
        thread.refresh()
    monkeypatch.setenv("AGENTSEA_HUB_API_KEY", "k.forged")
    for call in (thread.refresh, thread.save, lambda: RoleThread.find(remote=real)):
        with pytest.raises(AccessDeniedError):
            call()


def test_a_copy_is_made_there(thread: RoleThread) -> None:
    thread.post("user", "hi", ["https://x/y"])
    thread.add_role(BOSS)
    made = thread.copy()
    made.save()
    assert made.id != thread.id
    assert [one.text for one in seen(made).messages()] == ["hi"]
    assert seen(made).role_mapping == {"boss": BOSS}
