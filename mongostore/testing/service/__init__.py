"""The REST interface of a sessions service, for tests."""

from mongostore.testing.service.suite import SessionsServiceSuite

__all__ = ["SessionsServiceSuite"]
