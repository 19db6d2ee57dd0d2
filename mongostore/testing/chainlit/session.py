"""The circumstances in which Chainlit asks a data layer: a session, and a time zone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from chainlit.context import ChainlitContext, context_var
from chainlit.session import HTTPSession, WebsocketSession

from mongostore.testing.chainlit.parts import THREAD

AUCKLAND = "Pacific/Auckland"
zones: pytest.MarkDecorator = pytest.mark.parametrize("zone", ["UTC", AUCKLAND], indirect=True)


def enter(session: HTTPSession | WebsocketSession) -> None:
    """Do what follows as Chainlit does it in a session."""
    context_var.set(ChainlitContext(session))


def http_session(thread_id: str = THREAD) -> HTTPSession:
    """A session in which nothing is queued."""
    return HTTPSession(id=uuid4().hex, client_type="webapp", thread_id=thread_id)


def socket_session(thread_id: str = THREAD) -> WebsocketSession:
    """A session of a browser without messages."""

    def emit(*_: Any) -> Any:
        return asyncio.sleep(0)

    return WebsocketSession(
        id=uuid4().hex,
        socket_id=uuid4().hex,
        emit=emit,
        emit_call=emit,
        user_env={},
        client_type="webapp",
        thread_id=thread_id,
    )


@contextmanager
def in_zone(name: str) -> Iterator[None]:
    """Let this process be in a time zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", name)
        time.tzset()
        yield
    time.tzset()


class InSession:
    """Tests in a session that has begun, far from UTC unless they say another zone."""

    pytestmark: pytest.MarkDecorator = pytest.mark.asyncio

    @pytest.fixture(autouse=True)
    def zone(self, request: pytest.FixtureRequest) -> Iterator[None]:
        with in_zone(getattr(request, "param", AUCKLAND)):
            yield

    @pytest_asyncio.fixture(autouse=True)
    async def _session(self) -> None:
        enter(http_session())
