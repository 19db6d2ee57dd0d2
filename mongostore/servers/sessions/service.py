"""The service behind the routes: a store that opens itself, its integrator, and the rules of access."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from mongostore.integrators import integrator_for
from mongostore.integrators.keywords import KeywordIntegrator
from mongostore.models import Integrator
from mongostore.repositories.daemon_threads import DaemonThreads
from mongostore.servers.access import Access
from mongostore.servers.concurrency import CallerSlots
from mongostore.servers.rate_limits import RateLimit
from mongostore.servers.served_store import ServedStore
from mongostore.settings import IntegratorName, Settings
from mongostore.store import AsyncMongoStore

# Integrations work at the same time in all, and of one caller in one namespace.
_INTEGRATIONS = 8
_INTEGRATIONS_A_CALLER = 2
_WAITING_A_CALLER = 16
# Streams of events, of each of which a process remembers little.
_STREAMS = 2000
STREAMS_A_CALLER = 500


class SessionsService(ServedStore):
    """The sessions service of one application.

    Args:
        store: As `ServedStore` takes it.
        integrator: The integrator of chat turns, or its name; else by `MONGOSTORE_INTEGRATOR`.
        require_keys: As `Access` takes it.
        local: As `Access` takes it.
        rate_limit: The number of requests in a time, such as `100/minute`.
    """

    def __init__(
        self,
        store: AsyncMongoStore | None = None,
        *,
        integrator: Integrator | IntegratorName | None = None,
        require_keys: bool | None = None,
        local: bool = False,
        rate_limit: str | None = None,
    ) -> None:
        super().__init__(store)
        self.integrator: Integrator
        if integrator is None or isinstance(integrator, IntegratorName):
            self.integrator, self._has_own_integrator = integrator_for(Settings(), integrator), True
        else:
            self.integrator, self._has_own_integrator = integrator, False
        self.job_pool: DaemonThreads = DaemonThreads()
        self.integrations: CallerSlots = CallerSlots(_INTEGRATIONS, _INTEGRATIONS_A_CALLER, _WAITING_A_CALLER)
        self.streams: CallerSlots = CallerSlots(_STREAMS, STREAMS_A_CALLER, STREAMS_A_CALLER)
        rate = None if rate_limit is None else RateLimit(rate_limit)
        self.access: Access = Access(self.store, required=require_keys, local=local, rate=rate)

    async def start(self) -> None:
        """Open the store, also after `close`, and start the process of the integrator."""
        self.begin()
        await self.open()
        if self._has_own_integrator and isinstance(self.integrator, KeywordIntegrator):
            self.integrator.start()

    async def close(self) -> None:
        """Close the store if the service has opened it, and end the integrator's processes."""
        if self._has_own_integrator and isinstance(self.integrator, KeywordIntegrator):
            self.integrator.close()
        await super().close()


def service_of(app: FastAPI) -> SessionsService:
    """Return the service of an application: its own, else one of the environment that needs keys."""
    service: SessionsService | None = getattr(app.state, "sessions_service", None)
    if service is None:
        # To include the router sets no rules of access, so that strangers are refused.
        service = SessionsService(getattr(app.state, "store", None), require_keys=True)
        app.state.sessions_service = service
    return service


@asynccontextmanager
async def serve(app: FastAPI) -> AsyncIterator[None]:
    """Open the service of an application as long as it runs."""
    service = service_of(app)
    await service.start()
    try:
        yield
    finally:
        await service.close()
