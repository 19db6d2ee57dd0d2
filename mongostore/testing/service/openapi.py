"""A service's description of itself."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio

ALL = "/v1/namespaces/{namespace}/sessions"
ONE = f"{ALL}/{{activity_session}}"
BOUND = f"{ONE}/participants/{{participant}}"
MESSAGES = f"{ONE}/messages"
MESSAGE = f"{MESSAGES}/{{message}}"
CONTEXT = f"{ONE}/context"
ID_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,127}$"


class Operation(NamedTuple):
    """An operation as it has to be declared.

    Attributes:
        method: Its method.
        path: Its path, whose parameters are all that it needs.
        successes: The statuses of its successes, each of them.
        problems: Statuses of its problems, beside 422.
        body: Whether it needs one.
        optional: Its optional members.
    """

    method: str
    path: str
    successes: set[str]
    problems: set[str]
    body: bool = False
    optional: frozenset[tuple[str, str]] = frozenset()


IDEMPOTENCY = ("header", "idempotency-key")
IF_MATCH = frozenset({("header", "if-match")})
PAGED = frozenset({("query", "newest"), ("query", "limit"), ("query", "cursor")})

OPERATIONS = {
    "create_session": Operation("post", ALL, {"201"}, {"409"}, body=True, optional=frozenset({IDEMPOTENCY})),
    "list_sessions": Operation(
        "get",
        ALL,
        {"200"},
        {"400"},
        optional=PAGED | {("query", name) for name in ("include_deleted", "user_id", "order")},
    ),
    "get_session": Operation("get", ONE, {"200"}, {"404"}),
    "update_session": Operation(
        "patch", ONE, {"200"}, {"404", "412"}, body=True, optional=frozenset({("header", "if-match")})
    ),
    "soft_delete_session": Operation("delete", ONE, {"204"}, {"404"}),
    "undelete_session": Operation("post", f"{ONE}/undelete", {"200"}, {"404", "409"}),
    "truncate_session": Operation("post", f"{ONE}/truncate", {"200"}, {"404"}),
    "integrate_session": Operation("post", f"{ONE}/integrate", {"200"}, {"404"}),
    "bind_participant": Operation("put", BOUND, {"200", "201"}, {"404"}),
    "unbind_participant": Operation("delete", BOUND, {"204"}, {"404"}),
    "append_chat_turns": Operation(
        "post", f"{BOUND}/chat_turns", {"201"}, {"404"}, body=True, optional=frozenset({IDEMPOTENCY})
    ),
    "list_chat_turns": Operation("get", f"{BOUND}/chat_turns", {"200"}, {"400", "404"}, optional=PAGED),
    "list_messages": Operation(
        "get",
        MESSAGES,
        {"200"},
        {"400", "404"},
        optional=PAGED | {("query", name) for name in ("conversation_id", "before", "after")},
    ),
    "append_messages": Operation(
        "post", MESSAGES, {"201"}, {"404", "409", "412"}, body=True, optional=IF_MATCH | {IDEMPOTENCY}
    ),
    "stream_messages": Operation(
        "get",
        f"{MESSAGES}/stream",
        {"200"},
        {"404", "501"},
        optional=frozenset({("header", "last-event-id"), ("query", "last")}),
    ),
    "get_message": Operation("get", MESSAGE, {"200"}, {"404"}),
    "update_message": Operation("patch", MESSAGE, {"200"}, {"404", "412"}, body=True, optional=IF_MATCH),
    "delete_message": Operation("delete", MESSAGE, {"204"}, {"404", "412"}, optional=IF_MATCH),
    "get_context": Operation("get", CONTEXT, {"200"}, {"404"}),
    "set_context": Operation("put", CONTEXT, {"204"}, {"404", "412"}, body=True, optional=IF_MATCH),
    "delete_context": Operation("delete", CONTEXT, {"204"}, {"404", "412"}, optional=IF_MATCH),
}

REQUESTS = {
    "SessionCreateRequestV1": {*("id", "user_id", "name", "description", "data", "metadata", "participants")},
    "SessionUpdateRequestV1": {"user_id", "name", "description", "data", "metadata"},
    "MessageCreateV1": {"id", "conversation_id", "role", "content", "data", "metadata", "created_at"},
    "MessageUpdateRequestV1": {"conversation_id", "role", "content", "data", "metadata"},
}
ANSWERS = {
    "SessionV1": {
        *("id", "namespace", "user_id", "name", "description", "data", "metadata", "participants"),
        "message_count",
        *("created_at", "updated_at", "deleted_at"),
    },
    "ParticipantV1": {"participant", "bound_at", "chat_turn_count", "insights", "last_integration_turn"},
    "IntegrationResultV1": {"session", "results"},
    "MessageV1": {
        *("id", "conversation_id", "role", "content", "data", "metadata"),
        *("status", "position", "created_at", "updated_at"),
    },
    "StoredChatTurnV1": {"number", "role", "content", "created_at"},
}


class OpenAPISuite:
    """A service's OpenAPI document declares what clients are made of.

    Fixtures:
        document: The document; `client` is asked for it unless this is overridden.
    """

    pytestmark: pytest.MarkDecorator = pytest.mark.asyncio

    @pytest_asyncio.fixture
    async def document(self, client: httpx.AsyncClient) -> Any:
        return (await client.get("/openapi.json")).json()

    async def test_the_operations_are_these(self, document: Any) -> None:
        operations = [
            operation["operationId"]
            for path, operations in document["paths"].items()
            if path.startswith(ALL)
            for method, operation in operations.items()
            if method != "parameters"
        ]
        assert sorted(operations) == sorted(OPERATIONS)

    @pytest.mark.parametrize("name", OPERATIONS)
    async def test_an_operation_has_its_name_and_parameters(self, document: Any, name: str) -> None:
        expected = OPERATIONS[name]
        operation = document["paths"][expected.path][expected.method]
        assert (operation["operationId"], operation["tags"]) == (name, ["Sessions"])
        parameters = parameters_of(document, expected)
        required = {key for key, parameter in parameters.items() if parameter.get("required")}
        in_path = {("path", part) for part in re.findall(r"{(\w+)}", expected.path)}
        assert required == in_path
        assert expected.optional <= parameters.keys() - required
        assert {parameters[key]["schema"]["pattern"] for key in in_path} == {ID_PATTERN}
        assert operation.get("requestBody", {}).get("required", False) is expected.body

    @pytest.mark.parametrize("name", OPERATIONS)
    async def test_an_operation_declares_its_statuses(self, document: Any, name: str) -> None:
        expected = OPERATIONS[name]
        responses = document["paths"][expected.path][expected.method]["responses"]
        assert {status for status in responses if status.startswith("2")} == expected.successes
        for status in {"422", *expected.problems}:
            problem = resolved(document, responses[status])["content"]["application/problem+json"]
            members = resolved(document, problem["schema"])["properties"]
            assert {"type", "title", "status", "detail", "instance", "errors"} <= members.keys()

    async def test_pages_have_their_sizes(self, document: Any) -> None:
        parameters = parameters_of(document, OPERATIONS["list_sessions"])
        limit = parameters["query", "limit"]["schema"]
        assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 1000, 100)
        assert parameters["query", "include_deleted"]["schema"]["default"] is False

    @pytest.mark.parametrize("name", [*REQUESTS, *ANSWERS])
    async def test_a_model_has_its_members(self, document: Any, name: str) -> None:
        model = document["components"]["schemas"][name]
        assert {*model["properties"]} == {**REQUESTS, **ANSWERS}[name]
        assert model["additionalProperties"] is False or name in ANSWERS

    async def test_a_change_made_of_the_schema_clears_nothing_that_was_left_out(self, document: Any) -> None:
        for name in ("SessionUpdateRequestV1", "MessageUpdateRequestV1"):
            members = document["components"]["schemas"][name]["properties"]
            assert not any("default" in member for member in members.values()), name


def parameters_of(document: Any, operation: Operation) -> dict[tuple[str, str], Any]:
    """Return the parameters of an operation by where they are and what they are called there."""
    path = document["paths"][operation.path]
    declared = [*path.get("parameters", []), *path[operation.method].get("parameters", [])]
    parameters = [resolved(document, parameter) for parameter in declared]
    # Headers are the same in capitals, which no other parameter has.
    return {(parameter["in"], parameter["name"].lower()): parameter for parameter in parameters}


def resolved(document: Any, part: Any) -> Any:
    """Return a part of a document, or what it refers to."""
    while "$ref" in part:
        target = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        part = target
    return part
