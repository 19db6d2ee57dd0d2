"""RoomKit's store and its room locks, for tests."""

from mongostore.testing.roomkit.locks import RoomLockSuite
from mongostore.testing.roomkit.suite import ConversationStoreSuite

__all__ = ["ConversationStoreSuite", "RoomLockSuite"]
