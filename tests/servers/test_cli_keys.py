"""`mongostore keys`, as an operator uses it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mongostore import MongoStore
from mongostore.cli import app

pytestmark = pytest.mark.server


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def target(server_uri: str, database: str) -> tuple[str, ...]:
    return ("--uri", server_uri, "--database", database)


def listed(target: tuple[str, ...]) -> Any:
    return json.loads(run("keys", "list", "--json", *target).stdout)


def test_a_key_is_made_listed_and_revoked(target: tuple[str, ...], server_uri: str, database: str) -> None:
    made = run(
        "keys", "create", "billing service", "--namespace", "a", "--namespace", "b", "--owner", "ada", *target
    )
    assert (made.exit_code, made.stderr) == (0, "")
    token = made.stdout.strip()
    [key] = listed(target)
    with MongoStore(server_uri, database) as store:
        found = store.keys.verify(token)
        assert found is not None
        assert found.model_dump(mode="json") == key
    assert (key["name"], key["namespaces"], key["owner_id"]) == ("billing service", ["a", "b"], "ada")
    table = run("keys", "list", *target).stdout
    assert key["id"] in table
    assert token.rpartition(key["id"])[2] not in table + json.dumps(key)
    assert run("keys", "revoke", key["id"], *target).exit_code == 0
    assert listed(target) == []
    gone = run("keys", "revoke", key["id"], *target)
    assert gone.exit_code == 1
    assert gone.stderr.startswith(f"error: no key has the id {key['id']!r}: `mongostore keys list`")


def test_a_key_may_be_an_administrators_and_end_one_day(target: tuple[str, ...]) -> None:
    made = json.loads(run("keys", "create", "root", "--admin", "--days", 90, "--json", *target).stdout)
    assert made.pop("token").startswith(f"mgs_{made['id']}_")
    assert listed(target) == [made]
    assert made["namespaces"] == ["*"]
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89) < left < timedelta(days=90)


def test_an_expired_key_is_said_to_be(target: tuple[str, ...], server_uri: str, database: str) -> None:
    with MongoStore(server_uri, database) as store:
        store.keys.create(name="old", expires_at=datetime(2020, 1, 2, tzinfo=UTC))
    assert run("keys", "list", *target).stdout.split()[-1] == "expired"


def test_all_namespaces_and_some_are_not_said_at_once() -> None:
    assert run("keys", "create", "k", "--admin", "--namespace", "a").exit_code == 2
    wrong = run("keys", "create", "k", "--namespace", "a/b")
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("error: namespaces[0]: ")


def test_a_key_is_made_for_something() -> None:
    ran = run("keys", "create", "k")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert all(option in ran.stderr for option in ("--namespace", "--admin", "--owner"))


def test_a_key_that_nobody_will_ever_verify_is_warned_of() -> None:
    assert "name a server with --uri" in run("keys", "create", "k", "--admin").stderr
