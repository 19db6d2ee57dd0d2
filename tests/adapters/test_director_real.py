"""The real Director on the real server.

Runs where `DIRECTOR_SRC` names a checkout of github.com/video-db/Director (or its `backend` folder), with

    pip install flask==3.0.3 flask-socketio==5.3.6 flask-cors==4.0.1

beside this package. The SDKs that Director's agents call, and nothing of its own, are replaced by
placeholders as far as they are not installed: no agent is run here. Director pins an older pydantic than
Beanie takes, but runs on a newer one.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock
from uuid import uuid4

import pytest

from mongostore.sync import shared_store

SOURCE = os.environ.get("DIRECTOR_SRC")
SDKS = {
    "PIL",
    "anthropic",
    "composio_openai",
    "elevenlabs",
    "fal_client",
    "jwt",
    "langfuse",
    "openai",
    "openai_function_calling",
    "psycopg2",
    "replicate",
    "requests",
    "slack_sdk",
    "urllib3",
    "videodb",
    "yt_dlp",
}

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(SOURCE is None, reason="DIRECTOR_SRC names no checkout of video-db/Director"),
    # Director's own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Placeholder(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock(name=f"{self.__name__}.{name}")


class PlaceholderFinder(MetaPathFinder, Loader):
    """Stands last, so that it is asked for what is not installed alone."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        known = fullname.partition(".")[0] in SDKS
        return ModuleSpec(fullname, self, is_package=True) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Placeholder(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


@pytest.fixture(scope="module")
def director(director_adapter: Callable[[Path], ModuleType]) -> Iterator[ModuleType]:
    """The adapter on the real Director, registered after the routes have imported `load_db` by name."""
    checkout = Path(SOURCE or "")
    backend = checkout / "backend" if (checkout / "backend").is_dir() else checkout
    finder = PlaceholderFinder()
    sys.meta_path.append(finder)
    adapter = director_adapter(backend)
    import_module("director.entrypoint.api.routes")
    adapter.register()
    yield adapter
    sys.meta_path.remove(finder)
    for name in [name for name, module in sys.modules.items() if isinstance(module, Placeholder)]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def module_database(databases: list[str]) -> str:
    databases.append(f"test_{uuid4().hex[:16]}")
    return databases[-1]


@pytest.fixture
def db(
    director: ModuleType, server_uri: str, module_database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A database as Director's routes make them, from the environment alone."""
    monkeypatch.setenv("MONGOSTORE_URI", server_uri)
    monkeypatch.setenv("MONGOSTORE_DATABASE", module_database)
    monkeypatch.setenv("SERVER_DB_TYPE", "mongodb")
    loaded = sys.modules["director.entrypoint.api.routes"].load_db("mongodb")
    assert type(loaded) is director.MongoDB
    yield loaded
    for row in loaded.get_sessions():
        loaded.delete_session(row["session_id"])


@pytest.fixture
def core(director: ModuleType) -> ModuleType:
    return import_module("director.core.session")


@pytest.fixture
def app(db: Any) -> Any:
    """Director's blueprints, without its set-up of logging for the whole process."""
    flask = import_module("flask")
    routes = sys.modules["director.entrypoint.api.routes"]
    app = flask.Flask("director")
    app.config["DB_TYPE"] = "sqlite"
    app.register_blueprint(routes.session_bp)
    app.register_blueprint(routes.config_bp)
    return app


@pytest.fixture
def client(app: Any) -> Any:
    return app.test_client()


def test_the_backend_is_a_director_database(db: Any) -> None:
    base = sys.modules["director.db.base"].BaseDB
    assert isinstance(db, base)
    assert vars(type(db)).keys() >= base.__abstractmethods__
    assert db.db_type is sys.modules["director.constants"].DBType("mongodb")


def test_a_new_session_is_created_once(db: Any, core: ModuleType) -> None:
    for video in ("first", "second"):
        core.Session(db=db, session_id="s", conv_id="c", collection_id="c1", video_id=video).create()
    session = core.Session(db=db, session_id="s")
    row = session.get()
    assert (row["video_id"], row["collection_id"], row["metadata"]) == ("first", "c1", {})
    assert row["conversation"] == []
    assert [one["session_id"] for one in session.get_all()] == ["s"]


def test_a_session_without_an_id_reads_empty(db: Any, core: ModuleType) -> None:
    session = core.Session(db=db)
    assert session.reasoning_context == []
    assert session.get() == {"conversation": []}
    assert session.get_all() == []


def test_messages_stream_into_their_places(db: Any, core: ModuleType) -> None:
    session = core.Session(db=db, session_id="s", conv_id="c")
    session.create()
    session.new_message(core.MsgType.input, content=[{"type": "text", "text": "hi"}]).publish()
    output = session.output_message
    for word in ("one", "two", "three"):
        output.content.append(core.TextContent(text=word, agent_name="agent"))
        output.actions.append(f"said {word}")
        output.push_update()
    session.new_message(core.MsgType.input, content=[{"type": "text", "text": "more"}]).publish()
    output.update_status(core.MsgStatus.success)
    conversation = core.Session(db=db, session_id="s").get()["conversation"]
    assert [row["msg_type"] for row in conversation] == ["input", "output", "input"]
    streamed = conversation[1]
    assert streamed["msg_id"] == output.msg_id
    assert [content["text"] for content in streamed["content"]] == ["one", "two", "three"]
    assert streamed["content"][0] == core.TextContent(text="one", agent_name="agent").model_dump()
    assert streamed["actions"] == ["said one", "said two", "said three"]
    assert streamed["status"] == "success"
    assert type(streamed["status"]) is type(streamed["msg_type"]) is str


def test_every_kind_of_content_comes_back_as_it_was_dumped(db: Any, core: ModuleType) -> None:
    contents = [
        core.TextContent(text="t"),
        core.ImageContent(image=core.ImageData(url="u")),
        core.VideoContent(video=core.VideoData(id="v", length=1.5)),
        core.VideosContent(videos=[core.VideoData()]),
        core.SearchResultsContent(
            search_results=[
                core.SearchData(
                    video_id="v",
                    stream_url="u",
                    duration=2,
                    shots=[core.ShotData(search_score=0.5, start=0, end=1.25, text="t")],
                )
            ]
        ),
    ]
    message = core.Session(db=db, session_id="s", conv_id="c").new_message(content=contents)
    message.publish()
    (row,) = db.get_conversations("s")
    assert json.dumps(row["content"]) == json.dumps([content.model_dump() for content in contents])
    db.delete_session("s")


def test_reasoning_context_is_saved_and_restored(db: Any, core: ModuleType) -> None:
    session = core.Session(db=db, session_id="s", conv_id="c")
    session.reasoning_context = [
        core.ContextMessage(content="Be brief.", role=core.RoleTypes.system),
        core.ContextMessage(content="hi", role=core.RoleTypes.user),
        core.ContextMessage(
            content="one moment", tool_calls=[{"id": "t", "tool": {"a.b": 1}}], role=core.RoleTypes.assistant
        ),
        core.ContextMessage(content="done", tool_call_id="t", role=core.RoleTypes.tool),
    ]
    session.save_context_messages()
    restored = core.Session(db=db, session_id="s", conv_id="other")
    assert restored.reasoning_context == session.reasoning_context
    assert session.delete() == (True, ["conversation", "session"])
    assert core.Session(db=db, session_id="s").reasoning_context == []


def test_routes_list_show_and_delete_sessions(db: Any, core: ModuleType, client: Any) -> None:
    for number, name in enumerate(("old", "new")):
        db.create_session(name, updated_at=number)
    session = core.Session(db=db, session_id="old", conv_id="c")
    session.new_message(core.MsgType.input, content=[{"type": "text", "text": "hi"}]).publish()
    for path in ("/session/", "/session"):
        listed = client.get(path)
        assert listed.status_code == 200
        assert [row["session_id"] for row in listed.json] == ["new", "old"]
        assert listed.json == db.get_sessions()
    answer = client.get("/session/old")
    assert answer.status_code == 200
    assert answer.json == {**db.get_session("old"), "conversation": db.get_conversations("old")}
    deleted = client.delete("/session/old")
    assert (deleted.status_code, deleted.json) == (200, {"message": "Session deleted successfully."})
    assert [row["session_id"] for row in client.get("/session/").json] == ["new"]


def test_routes_answer_for_an_unknown_session(client: Any) -> None:
    answer = client.get("/session/unknown")
    assert (answer.status_code, answer.json) == (200, {"conversation": []})
    deleted = client.delete("/session/unknown")
    assert deleted.status_code == 500
    assert deleted.json["message"].endswith("components: conversation, context, session")


def test_config_check_tells_whether_the_database_answers(client: Any) -> None:
    assert client.get("/config/check").json["db_configured"] is True
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONGOSTORE_URI", "mongodb://127.0.0.1:9/")
        answer = client.get("/config/check")
    assert (answer.status_code, answer.json["db_configured"]) == (200, False)


def test_a_chat_event_that_fails_leaves_both_messages(
    db: Any, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    socketio = import_module("flask_socketio").SocketIO(app, async_mode="threading", async_handlers=False)
    socketio.on_namespace(import_module("director.entrypoint.api.socket_io").ChatNamespace("/chat"))
    unreachable = MagicMock(side_effect=ConnectionError)
    monkeypatch.setattr(import_module("videodb"), "connect", unreachable, raising=False)
    chat = socketio.test_client(app, namespace="/chat")
    message = {
        "session_id": "s",
        "conv_id": "c",
        "msg_type": "input",
        "collection_id": "default",
        "content": [{"type": "text", "text": "hi"}],
    }
    for _ in range(2):
        chat.emit("chat", message, namespace="/chat")
    chat.disconnect(namespace="/chat")
    unreachable.assert_called()
    assert db.get_session("s")["collection_id"] == "default"
    rows = db.get_conversations("s")
    assert [(row["msg_type"], row["status"]) for row in rows] == [
        ("input", "success"),
        ("output", "error"),
    ] * 2


def test_requests_share_one_store(client: Any, server_uri: str, db: Any) -> None:
    store = shared_store(server_uri)
    for _ in range(20):
        client.get("/session/")
    assert shared_store(server_uri) is store
