"""The sessions service as an application of its own."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI

from mongostore.models import Integrator
from mongostore.servers.docs import add_docs_route
from mongostore.servers.error_responses import install_error_handlers
from mongostore.servers.health import add_health_routes
from mongostore.servers.middleware import MAX_BODY_BYTES, MAX_JSON_DEPTH, add_middleware
from mongostore.servers.sessions.routes import sessions_router
from mongostore.servers.sessions.service import SessionsService
from mongostore.settings import IntegratorName
from mongostore.store import AsyncMongoStore


def create_app(
    store: AsyncMongoStore | None = None,
    *,
    integrator: Integrator | IntegratorName | None = None,
    require_keys: bool | None = None,
    local: bool = False,
    rate_limit: str | None = None,
    docs: bool = True,
    max_body_bytes: int = MAX_BODY_BYTES,
    max_json_depth: int = MAX_JSON_DEPTH,
) -> FastAPI:
    """Return the sessions service, to be served by itself or mounted in another application.

    Args:
        store: An open store, which stays its owner's to close; one that is not open is opened by the first
            request. Else the store that `MONGOSTORE_URI` and `MONGOSTORE_DATABASE` name.
        integrator: The integrator of chat turns, or its name; else by `MONGOSTORE_INTEGRATOR`.
        require_keys: Whether a key is needed even while the store has none. By default it is needed by
            callers on other machines, and by all callers where the service is mounted.
        local: Whether, while no key is needed, only requests to this machine by its own name are answered.
        rate_limit: The number of requests of a key, or of an address without one, such as `100/minute`.
        docs: Whether `/docs` and `/openapi.json` are there.
        max_body_bytes: The largest body that is read.
        max_json_depth: The deepest JSON that is read.

    Raises:
        ConfigurationError: If a setting cannot work.
    """
    service = SessionsService(
        store, integrator=integrator, require_keys=require_keys, local=local, rate_limit=rate_limit
    )
    app = FastAPI(
        title="Sessions",
        description="Sessions of namespaces, their participants, and the insights into their chat turns.",
        version=version("mongostore"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_url="/openapi.json" if docs else None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.sessions_service, app.state.end_streams = service, service.end_streams
    install_error_handlers(app)
    add_middleware(app, max_body_bytes=max_body_bytes, max_json_depth=max_json_depth)
    add_health_routes(app, service.open, service.store)
    app.include_router(sessions_router)
    if docs:
        add_docs_route(app)
    return app
