"""What the service says of itself, and whether it does as it says whatever it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.schemas import APIOperation, BaseSchema

from mongostore import AsyncMongoStore
from mongostore.servers.sessions import create_app
from tests.servers.serving import Serving

# The service is another process.
THERE = {"namespace": "acme", "activity_session": "s1", "participant": "ada", "message": "m1"}
# It has no end where there is a session.
ENDLESS = {"stream_messages"}
# Cursors and ETags, of which no schema can tell which ones the server has given.
CHOSEN_BY_SERVER = {"cursor", "if-match"}
# A key that was used for another body is refused, which no schema can tell: each request has one of its own.
KEY, NUMBERS = "idempotency-key", count()
OPENAPI = create_app(AsyncMongoStore("mongomock://")).openapi()
OPERATIONS = sorted(
    operation["operationId"] for path in OPENAPI["paths"].values() for operation in path.values()
)


@pytest.fixture(params=[4, pytest.param(8, marks=pytest.mark.long)])
def examples(request: pytest.FixtureRequest) -> int:
    """How often an operation is asked."""
    return int(request.param)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("serving") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def schema(serving: Serving) -> BaseSchema:
    texts = httpx.get(f"{serving.url}/openapi.json").json()
    for operations in texts["paths"].values():
        for operation in operations.values():
            # Nobody needs a key where there is none.
            operation.pop("security", None)
    found = schemathesis.openapi.from_dict(texts)
    found.config.update(base_url=serving.url)
    return found


def operation_of(schema: BaseSchema, name: str) -> APIOperation:
    operations = [result.ok() for result in schema.get_all_operations()]
    [found] = [one for one in operations if one.definition.raw["operationId"] == name]
    return found


def ask(
    operation: APIOperation, mode: GenerationMode, examples: int, before: Any = None, **fixed_parts: Any
) -> None:
    """Ask an operation many things; whatever it answers has to be what is declared."""
    load_all_checks()
    names = {one["name"] for one in operation.definition.raw.get("parameters", [])}
    chosen = not CHOSEN_BY_SERVER.isdisjoint(names)
    excluded = CHECKS.get_by_names(["positive_data_acceptance"] if chosen else [])

    @given(case=operation.as_strategy(mode, **fixed_parts))
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=[*HealthCheck])
    def run(case: Case) -> None:
        if before:
            before()
        if mode is GenerationMode.POSITIVE and KEY in case.headers:
            case.headers[KEY] = f"{next(NUMBERS)}-{case.headers[KEY]}"[:255]
        case.call_and_validate(excluded_checks=excluded)

    run()


def test_every_body_has_an_example() -> None:
    for path, operations in OPENAPI["paths"].items():
        for operation in operations.values():
            for body in operation.get("requestBody", {}).get("content", {}).values():
                name = body["schema"]["$ref"].rpartition("/")[2]
                members = OPENAPI["components"]["schemas"][name]["properties"].values()
                assert any("examples" in member for member in members), path


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_as_declared(schema: BaseSchema, name: str, examples: int) -> None:
    ask(operation_of(schema, name), GenerationMode.POSITIVE, examples)


@pytest.mark.parametrize("name", sorted({*OPERATIONS} - ENDLESS))
def test_every_answer_about_what_is_there_is_as_declared(
    schema: BaseSchema, serving: Serving, name: str, examples: int
) -> None:
    operation = operation_of(schema, name)
    names = {one.name for one in operation.path_parameters}
    with httpx.Client(base_url=f"{serving.url}/v1/namespaces/acme") as client:

        def before() -> None:
            client.post("/sessions", json={"id": "s1"})
            client.post("/sessions/s1/undelete")
            client.put("/sessions/s1/participants/ada")
            turns = {"turns": [{"role": "user", "content": "Is this a duplicate charge?"}]}
            client.post("/sessions/s1/participants/ada/chat_turns", json=turns)
            message = {"id": "m1", "role": "user", "content": "Is this a duplicate charge?"}
            client.post("/sessions/s1/messages", json={"messages": [message]})
            client.put("/sessions/s1/context", json={"value": [message]})
            if name == "undelete_session":
                client.delete("/sessions/s1")

        path = {name: value for name, value in THERE.items() if name in names}
        ask(operation, GenerationMode.POSITIVE, examples, before, path_parameters=path)


@pytest.mark.parametrize("name", sorted({*OPERATIONS} - {"health", "ready"}))
def test_what_does_not_fit_is_refused_as_declared(schema: BaseSchema, name: str, examples: int) -> None:
    ask(operation_of(schema, name), GenerationMode.NEGATIVE, examples)


def test_all_that_was_asked_broke_nothing(serving: Serving) -> None:
    assert "Traceback" not in serving.log
    assert "raised at" not in serving.log
    assert httpx.get(f"{serving.url}/ready").status_code == 200
