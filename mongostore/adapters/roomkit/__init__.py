"""RoomKit's conversation store and room locks on MongoDB.

`RoomKit(store=MongoConversationStore(...), lock_manager=MongoRoomLockManager(...))`; objects with the same
URI and database share one client.
"""

from mongostore.adapters.roomkit.locks import MongoRoomLockManager
from mongostore.adapters.roomkit.store import MongoConversationStore

__all__ = ["MongoConversationStore", "MongoRoomLockManager"]
