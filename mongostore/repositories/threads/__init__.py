"""Threads of users, with messages, elements and files."""

from mongostore.repositories.threads.elements import ElementRepository
from mongostore.repositories.threads.files import FileRepository
from mongostore.repositories.threads.messages import ThreadMessageRepository
from mongostore.repositories.threads.threads import ThreadRepository
from mongostore.repositories.threads.users import UserRepository

__all__ = [
    "ElementRepository",
    "FileRepository",
    "ThreadMessageRepository",
    "ThreadRepository",
    "UserRepository",
]
