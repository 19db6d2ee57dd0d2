"""threadmem's role threads on MongoDB: import this package in its place, and change nothing else."""

from __future__ import annotations

from mongostore.extras import explain_import

try:
    from mongostore.adapters.threadmem.file_storage import configure
    from mongostore.adapters.threadmem.messages import RoleMessage
    from mongostore.adapters.threadmem.server.models import (
        V1CreateRoleThread,
        V1Role,
        V1RoleMessage,
        V1RoleThread,
        V1RoleThreads,
        V1UpdateRoleThread,
    )
    from mongostore.adapters.threadmem.threads import RoleThread, Thread
except ImportError as _error:
    raise explain_import(__name__, "pip install 'mongostore[threadmem]'", _error) from None

__all__ = [
    "RoleMessage",
    "RoleThread",
    "Thread",
    "V1CreateRoleThread",
    "V1Role",
    "V1RoleMessage",
    "V1RoleThread",
    "V1RoleThreads",
    "V1UpdateRoleThread",
    "configure",
]
