from __future__ import annotations

from director.constants import DBType
from director.db.base import BaseDB

db_types: dict[DBType, type[BaseDB]] = {}


def load_db(db_type: str) -> BaseDB:
    """Asks the dict for a plain string first and the enum after, so that both have to know it."""
    if db_type not in db_types:
        raise ValueError(db_type)
    return db_types[DBType(db_type)]()
