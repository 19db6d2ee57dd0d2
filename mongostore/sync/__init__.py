"""The blocking twin of the store: each verb is mirrored from the async core and has no logic of its own."""

from mongostore.sync.store import MongoStore, shared_store
from mongostore.sync.twins import MessageStream, Sessions

__all__ = ["MessageStream", "MongoStore", "Sessions", "shared_store"]
