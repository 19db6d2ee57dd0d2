"""Health and readiness of a server, for those who monitor it, without a key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from fastapi import FastAPI
from pydantic import BaseModel

from mongostore.errors import MongoStoreError
from mongostore.servers.error_responses import ProblemError, problem_responses
from mongostore.store import AsyncMongoStore

_READY_SECONDS = 2.0


class HealthV1(BaseModel):
    """The server runs."""

    status: Literal["ok"] = "ok"


class ReadinessV1(BaseModel):
    """The server and its store answer."""

    status: Literal["ready"] = "ready"


def add_health_routes(
    app: FastAPI, open_store: Callable[[], Awaitable[None]], store: AsyncMongoStore
) -> None:
    """Add `/health` and `/ready` to an application.

    Args:
        app: The application.
        open_store: Opens its store, unless that is open.
        store: The store.
    """

    @app.get("/health", tags=["HealthV1"], responses=problem_responses(500))
    async def health() -> HealthV1:
        """Answer while the server runs, without asking the store."""
        return HealthV1()

    @app.get("/ready", tags=["HealthV1"], responses=problem_responses(500, 503))
    async def ready() -> ReadinessV1:
        """Answer if the store does, within two seconds."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await open_store()
                await store.describe()
        except (MongoStoreError, TimeoutError):
            raise ProblemError(503, headers={"Retry-After": "1"}) from None
        return ReadinessV1()
