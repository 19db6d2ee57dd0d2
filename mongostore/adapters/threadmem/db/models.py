"""Records of threads and messages in the shape of threadmem's tables: compound values are JSON texts."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class RoleMessageRecord:
    """A row of messages."""

    id: str
    role: str
    text: str
    images: str | None
    private: bool | None
    created: float
    meta_data: str | None = None
    thread_id: str | None = None


@dataclass
class RoleThreadRecord:
    """A row of threads, with those of its messages."""

    id: str
    owner_id: str | None
    public: bool
    name: str | None
    role_mapping: str | None
    meta_data: str | None
    remote: str | None
    version: str | None
    created: float
    updated: float
    messages: list[RoleMessageRecord] = field(default_factory=list)
