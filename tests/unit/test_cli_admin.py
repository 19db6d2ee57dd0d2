import json
import threading
from uuid import uuid4

import pytest
from pymongo import MongoClient
from typer.testing import CliRunner

from mongostore.cli import app
from mongostore.index_definitions import load_indexes
from tests.faults.deployments import Member

NAMES = [index["name"] for command in load_indexes() for index in command["indexes"]]


@pytest.fixture
def uri():
    return f"mongomock://{uuid4().hex}"


def run(*arguments):
    return CliRunner().invoke(app, arguments)


def test_ping_of_the_embedded_engine_is_well(uri):
    result = run("ping", "--uri", uri)
    assert result.exit_code == 0
    assert "embedded" in result.stdout
    assert "made when a store opens" in result.stdout


def test_ping_as_json(uri):
    report = json.loads(run("ping", "--json", "--uri", uri).stdout)
    assert report["ok"] is True
    assert (report["target"], report["topology"], report["hosts"]) == (uri, "embedded", [])
    assert 0 <= report["round_trip_ms"]["median"] <= report["round_trip_ms"]["worst"]
    assert report["connections"] == {"current": None, "available": None}
    assert report["indexes"] == {"present": 0, "missing": len(NAMES), "differing": 0}


@pytest.mark.server
def test_ping_needs_the_indexes_and_makes_none(server_uri, admin_uri, database):
    # Only who may monitor the whole server is told of its connections.
    target = ("--uri", admin_uri, "--database", database)
    result = run("ping", *target)
    assert result.exit_code == 1
    assert "replica set" in result.stdout
    assert f"0 present, {len(NAMES)} missing, 0 differing" in result.stdout
    with MongoClient(server_uri) as client:
        assert client[database].list_collection_names() == []
    run("indexes", "apply", *target)
    result = run("ping", "--json", *target)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["connections"]["current"] > 0


@pytest.mark.server
def test_ping_waits_for_a_server_that_is_starting(monkeypatch, mongod_binary, tmp_path):
    monkeypatch.setattr("mongostore.engines.mongo.OPEN_SECONDS", 0.5)
    server = Member(mongod_binary, tmp_path / "data", [])
    target = ("--uri", f"mongodb://{server.address}/?serverSelectionTimeoutMS=500", "--json")
    assert run("ping", *target).exit_code == 1
    starting = threading.Timer(2, server.start)
    starting.start()
    try:
        report = json.loads(run("ping", "--wait", "60", *target).stdout)
        assert report["topology"] == "standalone"
    finally:
        starting.join()
        server.stop()


def test_ping_of_nothing_is_one_line_without_the_password(monkeypatch):
    monkeypatch.setattr("mongostore.engines.mongo.OPEN_SECONDS", 0.5)
    result = run("ping", "--uri", "mongodb://user:secret@127.0.0.1:1/")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: mongodb://127.0.0.1:1: ")
    assert len(result.stderr.splitlines()) == 1
    assert "secret" not in result.stderr


def test_indexes_show_every_definition():
    result = run("indexes", "show")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in NAMES)


def test_indexes_check_names_what_is_missing_and_apply_creates_it(uri):
    result = run("indexes", "check", "--uri", uri)
    assert result.exit_code == 1
    assert result.stdout.count("missing") == len(NAMES)
    result = run("indexes", "apply", "--uri", uri)
    assert result.exit_code == 0
    assert result.stdout.count("created") == len(NAMES)
    result = run("indexes", "check", "--uri", uri)
    assert result.exit_code == 0
    assert result.stdout.count("present") == len(NAMES)


@pytest.mark.server
def test_indexes_that_differ_are_shown_and_left_while_the_missing_are_made(server_uri, database):
    target = ("--uri", server_uri, "--database", database)
    with MongoClient(server_uri) as client:
        sessions = client[database].sessions
        sessions.create_index("namespace", name="newest_sessions_of_user", sparse=True)
        sessions.create_index("other")
        result = run("indexes", "check", *target)
        assert result.exit_code == 1
        assert "sparse: True" in result.stdout
        result = run("indexes", "apply", *target)
        assert result.exit_code == 1
        assert result.stdout.count("created") == len(NAMES) - 1
        assert "foreign" in result.stdout
        assert sessions.index_information()["newest_sessions_of_user"]["key"] == [("namespace", 1)]
