"""Threads of users, with messages, elements and files."""

from mongostore.repositories.threads.elements import AsyncThreadElements
from mongostore.repositories.threads.feedback import AsyncThreadFeedback
from mongostore.repositories.threads.files import AsyncFiles
from mongostore.repositories.threads.messages import AsyncThreadMessages
from mongostore.repositories.threads.threads import AsyncThreads
from mongostore.repositories.threads.users import AsyncUsers

__all__ = [
    "AsyncFiles",
    "AsyncThreadElements",
    "AsyncThreadFeedback",
    "AsyncThreadMessages",
    "AsyncThreads",
    "AsyncUsers",
]
