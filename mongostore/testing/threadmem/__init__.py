"""threadmem's role threads, for tests."""

from mongostore.testing.threadmem.suite import RoleThreadSuite

__all__ = ["RoleThreadSuite"]
