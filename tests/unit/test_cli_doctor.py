"""What the doctor says of deployments that lack something."""

from __future__ import annotations

import json
import signal
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from typer.testing import CliRunner

from mongostore import MongoStore, diagnostics
from mongostore.cli import app
from mongostore.engines import deployment
from tests.faults.deployments import SECRET, cluster

CHECKS = ["topology", "capabilities", "server", "write concern", "rights", "clocks"]
CHECKS += ["connections", "indexes", "schema", "leftovers"]


def run_doctor(uri: str, *more: str, well: bool = True) -> dict[str, tuple[str, str, str]]:
    """Return what each check says as status, finding and advice."""
    done = CliRunner().invoke(app, ["doctor", "--json", "--uri", uri, *more])
    report = json.loads(done.stdout)
    assert (done.exit_code, report["ok"]) == (0 if well else 1, well), report
    return {one["check"]: (one["status"], one["found"], one["advice"]) for one in report["checks"]}


def test_the_embedded_engine_is_well_but_forgets() -> None:
    findings = run_doctor("mongomock://")
    assert findings["topology"][0] == "warning"
    assert findings["indexes"][:2] == ("ok", "made when a store opens")
    done = CliRunner().invoke(app, ["doctor", "--uri", "mongomock://"])
    assert done.exit_code == 0
    assert "Everything is forgotten" in done.stdout


@pytest.mark.server
def test_what_a_server_lacks_is_said_and_nothing_is_written(server_uri: str, database: str) -> None:
    findings = run_doctor(server_uri, "--database", database, well=False)
    assert list(findings) == CHECKS
    assert findings["indexes"][0] == "error"
    assert "mongostore indexes apply" in findings["indexes"][2]
    with MongoClient[dict[str, Any]](server_uri) as client:
        assert client[database].list_collection_names() == []
    CliRunner().invoke(app, ["indexes", "apply", "--uri", server_uri, "--database", database])
    findings = run_doctor(server_uri, "--database", database)
    assert findings["indexes"][0] == findings["write concern"][0] == findings["clocks"][0] == "ok"
    assert findings["topology"][0] == "warning"
    assert "three members" in findings["topology"][2]


def test_unfinished_deletions_are_named_and_mended(database: str) -> None:
    uri = f"mongomock://{database}"
    with MongoStore(uri) as store:
        store.sessions.create("s1")
        heads = store.core.engine.collection("sessions")
        store.portal.run(heads.update_one({}, {"$set": {"state": "deleting"}}))
        status, found, advice = run_doctor(uri)["leftovers"]
        assert (status, found) == ("warning", "1 unfinished deletion in sessions")
        assert "mongostore doctor --mend" in advice
        assert run_doctor(uri, "--mend")["leftovers"] == ("ok", "1 mended, none left", "")
        assert run_doctor(uri)["leftovers"] == ("ok", "none", "")


def test_a_search_for_leftovers_that_takes_long_ends_unknown(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mongostore.cli.doctor.LEFTOVER_SECONDS", 0)
    status, found, advice = run_doctor(f"mongomock://{database}")["leftovers"]
    assert (status, "too many documents" in found) == ("unknown", True)
    assert "mongostore doctor --mend" in advice


@pytest.mark.server
def test_an_index_that_differs_is_bad(server_uri: str, database: str) -> None:
    with MongoClient[dict[str, Any]](server_uri) as client:
        client[database].threads.create_index([("kind", 1)], name="threads_of_kind")
    status, found, advice = run_doctor(server_uri, "--database", database, well=False)["indexes"]
    assert (status, found) == ("error", "differing: threads_of_kind")
    assert "indexes check" in advice


@pytest.mark.server
def test_a_document_of_a_newer_version_is_bad(server_uri: str, database: str) -> None:
    with MongoClient[dict[str, Any]](server_uri) as client:
        client[database].rooms.insert_one({"_id": "r", "schema_version": diagnostics.SCHEMA_VERSION + 1})
    status, found, advice = run_doctor(server_uri, "--database", database, well=False)["schema"]
    assert (status, found) == ("error", f"newer than {diagnostics.SCHEMA_VERSION} in rooms")
    assert "update" in advice


@pytest.mark.server
@pytest.mark.parametrize(
    ("option", "check", "status"),
    [
        ("w=1", "write concern", "warning"),
        ("w=majority&journal=false", "write concern", "warning"),
        ("maxPoolSize=0", "connections", "warning"),
        ("maxPoolSize=10000000", "connections", "error"),
    ],
)
def test_options_of_the_uri_that_weaken_it(admin_uri: str, option: str, check: str, status: str) -> None:
    done = CliRunner().invoke(app, ["doctor", "--json", "--uri", f"{admin_uri}&{option}"])
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)["checks"]}
    assert findings[check]["status"] == status
    assert findings[check]["advice"]


def test_option_that_cannot_work_is_one_line() -> None:
    done = CliRunner().invoke(app, ["doctor", "--json", "--uri", "mongodb://127.0.0.1:1/?w=0"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: mongodb://127.0.0.1:1: w=0")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.server
@pytest.mark.parametrize(("seconds", "status"), [(-2, "warning"), (2, "warning"), (60, "error")])
def test_a_clock_that_is_wrong(
    server_uri: str, monkeypatch: pytest.MonkeyPatch, seconds: int, status: str
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return super().now(tz) + timedelta(seconds=seconds)

    monkeypatch.setattr(deployment, "datetime", Clock)
    done = CliRunner().invoke(app, ["doctor", "--json", "--uri", server_uri])
    [clock] = [one for one in json.loads(done.stdout)["checks"] if one["check"] == "clocks"]
    assert clock["status"] == status
    assert ("behind" if seconds > 0 else "ahead of") in clock["found"]


@pytest.mark.server
@pytest.mark.parametrize(
    ("skews", "status", "found"),
    [
        (
            {"a:1": 0.1, "b:1": -0.1},
            "ok",
            "a:1: 0.100 s ahead of{} 0.200 s{}",
        ),
        (
            {"a:1": 0.3, "b:1": -0.4},
            "warning",
            "b:1: 0.400 s behind{} 0.700 s{}",
        ),
        (
            {"a:1": 0.0, "b:1": 7.0},
            "error",
            "b:1: 7.000 s ahead of{} 7.000 s{}",
        ),
        ({}, "unknown", "no host answers by its name"),
    ],
)
def test_the_clocks_of_all_members_are_compared(
    server_uri: str, monkeypatch: pytest.MonkeyPatch, skews: dict[str, float], status: str, found: str
) -> None:
    async def clock_skews(client: object, hosts: object) -> dict[str, float]:
        return skews

    monkeypatch.setattr(diagnostics, "clock_skews", clock_skews)
    done = CliRunner().invoke(app, ["doctor", "--json", "--uri", server_uri])
    [clock] = [one for one in json.loads(done.stdout)["checks"] if one["check"] == "clocks"]
    assert clock["status"] == status
    assert clock["found"] == found.format(" this machine's;", " between the members'")


@pytest.mark.server
def test_each_user_s_rights_are_told(mongod_binary: Path, tmp_path: Path) -> None:
    crud = ["find", "insert", "update", "remove"]
    roles: dict[str, list[Any]] = {
        "reader": ["read"],
        "crud": ["crud"],
        "owner": ["readWrite"],
        "wide": ["readWrite", {"role": "readWrite", "db": "other"}],
    }
    with cluster(mongod_binary, tmp_path, members=1, login=True) as guarded:
        with MongoClient[dict[str, Any]](guarded.admin_uri) as client:
            privileges = [{"resource": {"db": "chat", "collection": ""}, "actions": [*crud, "listIndexes"]}]
            client.chat.command("createRole", "crud", privileges=privileges, roles=[])
            for user, sent in roles.items():
                client.chat.command("createUser", user, pwd=SECRET, roles=sent)
        rights = {}
        CliRunner().invoke(app, ["indexes", "apply", "--uri", guarded.uri_of(f"owner:{SECRET}@", "chat")])
        for user in roles:
            uri = guarded.uri_of(f"{user}:{SECRET}@", "chat")
            rights[user] = run_doctor(uri, well=user != "reader")["rights"]
        rights["root"] = run_doctor(f"{guarded.admin_uri}&authSource=admin", "--database", "chat")["rights"]
    assert {user: status for user, (status, _, _) in rights.items()} == {
        "reader": "error",
        "crud": "warning",
        "owner": "ok",
        "wide": "warning",
        "root": "warning",
    }
    assert rights["reader"][1] == "lacks insert, remove, update"
    assert rights["crud"][1] == "lacks createCollection, createIndex"
    assert rights["wide"][1] == rights["root"][1] == "writes to other databases, too"


@pytest.mark.server
def test_the_clocks_of_all_members_that_answer_are_compared(mongod_binary: Path, tmp_path: Path) -> None:
    with cluster(mongod_binary, tmp_path, login=True) as three:
        primary = three.primary()
        paused, _ = (member for member in three.members if member is not primary)
        # It does not know the user yet.
        three.ask(paused, {"configureFailPoint": "rsSyncApplyStop", "mode": "alwaysOn"})
        uri = three.add_user("ada", {"role": "readWrite", "db": "mongostore"})
        CliRunner().invoke(app, ["indexes", "apply", "--uri", uri])
        findings = run_doctor(uri)
        assert findings["topology"][:2] == ("ok", "replica set rs of 3")
        assert (findings["clocks"][0], "the members'" in findings["clocks"][1]) == ("ok", True)
        paused.send(signal.SIGSTOP)
        assert run_doctor(uri)["clocks"][0] == "ok"
