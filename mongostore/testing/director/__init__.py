"""Director's database, for tests."""

from mongostore.testing.director.suite import DatabaseSuite

__all__ = ["DatabaseSuite"]
