from __future__ import annotations

from enum import Enum


class DBType(str, Enum):  # noqa: UP042  # the real one is no StrEnum, which would hash and print otherwise
    SQLITE = "sqlite"
    POSTGRES = "postgres"
