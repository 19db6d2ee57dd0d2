"""Registers the type after `load_db` was imported by name, as Director's routes do."""

from __future__ import annotations

from director.constants import DBType
from director.db import db_types, load_db

try:
    load_db("mongodb")
except ValueError:
    pass
else:
    raise AssertionError("the stand-in knows the type already")

from mongostore.adapters.director import MongoDB, register

before = dict(db_types)
MongoDB()
assert db_types == before
register()
register()
assert list(db_types) == [*before, "mongodb"]
assert type(load_db("mongodb")) is MongoDB
assert DBType("mongodb") is MongoDB().db_type
assert isinstance(DBType("mongodb"), DBType)
assert (DBType("mongodb").name, DBType("mongodb").value) == ("MONGODB", "mongodb")
