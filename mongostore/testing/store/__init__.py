"""A store itself, for tests: one suite a noun.

Each asks for a `store`, open and empty for each test: an `AsyncMongoStore`, or whatever has its verbs.

    class TestSessions(SessionsSuite):
        @pytest_asyncio.fixture
        async def store(self):
            async with MyStore() as store:
                yield store

A store that never answers makes a test wait for ever: `pytest-timeout` ends that.
"""

from mongostore.testing.store.chat_turns import ChatTurnsSuite
from mongostore.testing.store.event_lists import EventListsSuite
from mongostore.testing.store.events import EventsSuite
from mongostore.testing.store.feedback import FeedbackSuite
from mongostore.testing.store.files import FilesSuite
from mongostore.testing.store.identities import IdentitiesSuite
from mongostore.testing.store.integration import IntegrationSuite
from mongostore.testing.store.integration_steps import IntegrationStepsSuite
from mongostore.testing.store.messages import MessagesSuite
from mongostore.testing.store.participants import ParticipantsSuite
from mongostore.testing.store.people import PeopleSuite
from mongostore.testing.store.room_arguments import RoomArgumentsSuite
from mongostore.testing.store.room_lists import RoomListsSuite
from mongostore.testing.store.room_values import RoomValuesSuite
from mongostore.testing.store.rooms import RoomsSuite
from mongostore.testing.store.sessions import SessionsSuite
from mongostore.testing.store.thread_adding import ThreadAddingSuite
from mongostore.testing.store.thread_deletion import ThreadDeletionSuite
from mongostore.testing.store.thread_kinds import ThreadKindsSuite
from mongostore.testing.store.thread_messages import ThreadMessagesSuite
from mongostore.testing.store.thread_search import ThreadSearchSuite
from mongostore.testing.store.threads import ThreadsSuite
from mongostore.testing.store.users import UsersSuite
from mongostore.testing.store.values import ValuesSuite
from mongostore.testing.store.watch import WatchSuite

__all__ = [
    "ChatTurnsSuite",
    "EventListsSuite",
    "EventsSuite",
    "FeedbackSuite",
    "FilesSuite",
    "IdentitiesSuite",
    "IntegrationStepsSuite",
    "IntegrationSuite",
    "MessagesSuite",
    "ParticipantsSuite",
    "PeopleSuite",
    "RoomArgumentsSuite",
    "RoomListsSuite",
    "RoomValuesSuite",
    "RoomsSuite",
    "SessionsSuite",
    "ThreadAddingSuite",
    "ThreadDeletionSuite",
    "ThreadKindsSuite",
    "ThreadMessagesSuite",
    "ThreadSearchSuite",
    "ThreadsSuite",
    "UsersSuite",
    "ValuesSuite",
    "WatchSuite",
]
