"""What the server of role threads says of itself, and whether it does as it says whatever it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.schemas import APIOperation, BaseSchema

from mongostore import MongoStore
from mongostore.adapters.threadmem import V1Role
from mongostore.servers.threadmem import create_app
from tests.servers.rolehub import RoleServer

EXAMPLES = 15
MESSAGES = create_app("mongomock://").openapi()
BOSS = V1Role(name="boss", user_id="u", user_name="U", icon="i")
OPERATIONS = {
    "create_role_thread": ("post", "/v1/rolethreads"),
    "get_role_threads": ("get", "/v1/rolethreads"),
    "get_role_thread": ("get", "/v1/rolethreads/{id}"),
    "update_role_thread": ("put", "/v1/rolethreads/{id}"),
    "delete_role_thread": ("delete", "/v1/rolethreads/{id}"),
    "post_role_thread_msg": ("post", "/v1/rolethreads/{id}/msgs"),
    "add_role_to_thread": ("post", "/v1/rolethreads/{id}/roles"),
    "remove_role_from_thread": ("delete", "/v1/rolethreads/{id}/roles"),
    "root": ("get", "/"),
    "health": ("get", "/health"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[RoleServer]:
    with MongoStore("mongomock://") as store, RoleServer(store) as running:
        yield running


@pytest.fixture(scope="module")
def token(server: RoleServer) -> str:
    return server.token("ada@x")


@pytest.fixture(scope="module")
def schema(server: RoleServer) -> BaseSchema:
    found = schemathesis.openapi.from_dict(httpx.get(f"{server.url}/openapi.json").json())
    found.config.update(base_url=server.url)
    return found


def test_the_operations_have_names() -> None:
    found = {
        operation["operationId"]: (method, path)
        for path, operations in MESSAGES["paths"].items()
        for method, operation in operations.items()
    }
    assert found == OPERATIONS


def test_what_a_message_may_have_is_told() -> None:
    members = MESSAGES["components"]["schemas"]["PostMessageModel"]["properties"]
    assert members.keys() == {"role", "msg", "images", "private", "metadata"}


def test_every_operation_of_threads_asks_for_a_token() -> None:
    for path, operations in MESSAGES["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) is path.startswith("/v1"), operation["operationId"]


def test_the_page_and_the_description_can_be_hidden() -> None:
    with (
        MongoStore("mongomock://") as store,
        RoleServer(store, docs=False) as server,
        server.client(None) as client,
    ):
        assert client.get("/docs").status_code == client.get("/openapi.json").status_code == 404
        assert client.get("/health").status_code == 200


def ask(
    schema: BaseSchema, name: str, mode: GenerationMode, token: str, before: Any = None, **parts: Any
) -> None:
    """Ask an operation many things; whatever it answers has to be what is declared."""
    load_all_checks()
    operations: list[APIOperation] = [result.ok() for result in schema.get_all_operations()]
    [operation] = [one for one in operations if one.definition.raw["operationId"] == name]
    # Ids are taken once, images are URLs, and numbers may be too large to be stored: no schema tells.
    excluded = CHECKS.get_by_names(["positive_data_acceptance"])

    @given(case=operation.as_strategy(mode, **parts))
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[*HealthCheck])
    def run(case: Case) -> None:
        if before:
            case.path_parameters = {"id": before()}
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, excluded_checks=excluded)

    run()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_as_declared(schema: BaseSchema, token: str, name: str) -> None:
    ask(schema, name, GenerationMode.POSITIVE, token)


@pytest.mark.parametrize("name", [name for name, (_, path) in OPERATIONS.items() if "{" in path])
def test_every_answer_about_a_thread_that_is_there_is_as_declared(
    schema: BaseSchema, server: RoleServer, token: str, name: str
) -> None:
    def before() -> str:
        thread = server.threads("ada@x", role_mapping={"boss": BOSS})
        thread.post("user", "hi", ["https://x/y"], metadata={"k": [1]})
        return thread.id

    ask(schema, name, GenerationMode.POSITIVE, token, before)


@pytest.mark.parametrize("name", [name for name, (_, path) in OPERATIONS.items() if path.startswith("/v1")])
def test_what_does_not_fit_is_refused_as_declared(schema: BaseSchema, token: str, name: str) -> None:
    ask(schema, name, GenerationMode.NEGATIVE, token)


def test_all_that_was_asked_broke_nothing(server: RoleServer, token: str) -> None:
    with server.client(token) as client:
        assert client.get("/v1/rolethreads").status_code == 200
