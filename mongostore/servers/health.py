"""Whether a server lives, and whether its store answers: for those who watch over it, and without a key."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import FastAPI
from pydantic import BaseModel

from mongostore.errors import MongoStoreError
from mongostore.servers.error_responses import ProblemError, problem_responses
from mongostore.store import AsyncMongoStore

_READY_SECONDS = 2.0


class HealthV1(BaseModel):
    """That the server lives."""

    status: Literal["ok"] = "ok"


class ReadinessV1(BaseModel):
    """That the server and its store answer."""

    status: Literal["ready"] = "ready"


def add_health_routes(app: FastAPI, store: AsyncMongoStore) -> None:
    """Add `/health` and `/ready` to an application."""

    # Some who watch ask for the headers alone.
    @app.head("/health", include_in_schema=False)
    @app.get("/health", tags=["HealthV1"], responses=problem_responses(500))
    async def health() -> HealthV1:
        """Tell that the server lives."""
        return HealthV1()

    @app.head("/ready", include_in_schema=False)
    @app.get("/ready", tags=["HealthV1"], responses=problem_responses(500, 503))
    async def ready() -> ReadinessV1:
        """Tell whether the store answers, within two seconds."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await store.describe()
        except (MongoStoreError, TimeoutError):
            raise ProblemError(503, headers={"Retry-After": "1"}) from None
        return ReadinessV1()
