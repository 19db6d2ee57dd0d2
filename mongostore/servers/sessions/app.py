"""The sessions service as an application of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from mongostore.integrators import integrator_for
from mongostore.models import Integrator
from mongostore.servers.access import Access, install_access
from mongostore.servers.docs import add_docs_route
from mongostore.servers.error_responses import install_error_handlers
from mongostore.servers.health import add_health_routes
from mongostore.servers.middleware import MAX_BODY_BYTES, MAX_JSON_DEPTH, add_middleware
from mongostore.servers.rate_limits import limit_rate
from mongostore.servers.sessions.routes import sessions_router
from mongostore.settings import Settings
from mongostore.store import AsyncMongoStore

JOB_THREADS = 8


def create_app(
    store: AsyncMongoStore | None = None,
    *,
    integrator: Integrator | None = None,
    require_keys: bool = False,
    local: bool = False,
    rate_limit: str | None = None,
    docs: bool = True,
    max_body_bytes: int = MAX_BODY_BYTES,
    max_json_depth: int = MAX_JSON_DEPTH,
) -> FastAPI:
    """Return the sessions service.

    Args:
        store: An open store, which stays its owner's to close; else the one that `MONGOSTORE_URI` and
            `MONGOSTORE_DATABASE` name, open as long as the application runs.
        integrator: What makes insights of chat turns; else as `MONGOSTORE_INTEGRATOR` says.
        require_keys: Whether a key is needed even while the store has none.
        local: Whether those without a key, while none is needed, have to be on this machine.
        rate_limit: How often a key, or an address without one, may ask, such as `100/minute`.
        docs: Whether `/docs` and `/openapi.json` are shown.
        max_body_bytes: The largest body that is read.
        max_json_depth: The deepest JSON that is read.

    Raises:
        ConfigurationError: A setting cannot be.
    """
    serving = AsyncMongoStore() if store is None else store
    job_pool = ThreadPoolExecutor(JOB_THREADS, "mongostore-job")

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        if store is None:
            await serving.open()
        try:
            yield
        finally:
            job_pool.shutdown(wait=False, cancel_futures=True)
            if store is None:
                await serving.close()

    app = FastAPI(
        title="Sessions",
        description="Sessions of namespaces, their participants, and what is learned of their chat turns.",
        version=version("mongostore"),
        lifespan=run,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_url="/openapi.json" if docs else None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.store = serving
    app.state.job_pool = job_pool
    app.state.integrator = integrator_for(Settings()) if integrator is None else integrator
    install_access(app, Access(serving, required=require_keys, local=local))
    limit_rate(app, rate_limit)
    install_error_handlers(app)
    add_middleware(app, max_body_bytes=max_body_bytes, max_json_depth=max_json_depth)
    add_health_routes(app, serving)
    app.include_router(sessions_router)
    if docs:
        add_docs_route(app)
    return app
