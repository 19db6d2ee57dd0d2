"""One person over everything, found, exported and erased: `store.people`."""

from mongostore.people.people import AsyncPeople

__all__ = ["AsyncPeople"]
