"""The contract of a sessions service."""

from __future__ import annotations

from mongostore.testing.service.openapi import OpenAPISuite
from mongostore.testing.service.participants import ParticipantSuite
from mongostore.testing.service.refusals import RefusalSuite
from mongostore.testing.service.sessions import SessionSuite


class SessionsServiceSuite(SessionSuite, ParticipantSuite, RefusalSuite, OpenAPISuite):
    """The contract of a sessions service over HTTP.

    Fixtures:
        client: An `httpx.AsyncClient` of the service, which is empty for each test, and whose every namespace
            may be used. The insights that the service makes of chat turns are its own.
    """
