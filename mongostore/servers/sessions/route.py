"""The route of every operation: it checks the caller first, and answers errors wherever it is included."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from mongostore.errors import MongoStoreError, NotFoundError
from mongostore.models import ApiKey
from mongostore.servers.error_responses import ProblemError, to_problem
from mongostore.servers.sessions.preconditions import check_none_match, unless_known
from mongostore.servers.sessions.service import service_of


class SessionsRoute(APIRoute):
    """A route that knows its caller before it reads the body, and answers every error as a problem.

    So it works in any application, without the middleware and the error handlers of `create_app`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        answer = super().get_route_handler()

        async def answer_caller(request: Request) -> Response:
            try:
                service = service_of(request.app)
                await service.open()
                _check_namespace(request, await service.access.authenticate(request))
                if self.body_field is not None:
                    _check_media_type(request)
                check_none_match(request)
                return unless_known(request, await answer(request))
            except (HTTPException, RequestValidationError, MongoStoreError) as error:
                return to_problem(request, error)

        return answer_caller


def _check_namespace(request: Request, caller: ApiKey | None) -> None:
    """Answer a key as if there were nothing in the namespaces that it may not use."""
    namespace = request.path_params["namespace"]
    if caller is not None and not caller.allows(namespace):
        session = request.path_params.get("activity_session")
        raise NotFoundError("session", session) if session else NotFoundError("namespace", namespace)


def _check_media_type(request: Request) -> None:
    media_type, _, _ = request.headers.get("content-type", "application/json").partition(";")
    kind, _, suffix = media_type.strip().lower().partition("/")
    if kind != "application" or suffix.rpartition("+")[2] != "json":
        raise ProblemError(415, "Send the body as application/json")
