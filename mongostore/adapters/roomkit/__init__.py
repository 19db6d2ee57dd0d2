"""RoomKit's conversation store and room locks on MongoDB.

`RoomKit(store=MongoConversationStore(...), lock_manager=MongoRoomLockManager(...))`; objects with the same
URI and database share one client.
"""

from mongostore.extras import explain_import

try:
    from mongostore.adapters.roomkit.locks import MongoRoomLockManager
    from mongostore.adapters.roomkit.store import MongoConversationStore
except ImportError as _error:
    raise explain_import(
        __name__, "pip install 'mongostore[roomkit]' on Python 3.12 or later", _error
    ) from None

__all__ = ["MongoConversationStore", "MongoRoomLockManager"]
