"""The contract of threadmem."""

from __future__ import annotations

from mongostore.testing.threadmem.images import ImageSuite
from mongostore.testing.threadmem.messages import MessageSuite
from mongostore.testing.threadmem.openai import OpenAISuite
from mongostore.testing.threadmem.threads import ThreadSuite
from mongostore.testing.threadmem.values import ValueSuite


class RoleThreadSuite(ThreadSuite, MessageSuite, OpenAISuite, ValueSuite, ImageSuite):
    """The contract of threadmem's role threads on this side of a server, and of their messages.

    Fixtures:
        threadmem: The package or its replacement: a module or object with its `RoleThread`, `Thread`,
            `RoleMessage`, `V1Role`, `V1RoleMessage`, `V1RoleThread` and `V1UpdateRoleThread`. Other threads
            may be there, as long as no other program changes them.
    """
