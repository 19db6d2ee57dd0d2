"""One person over everything, found, given out and erased: `store.people`."""

from mongostore.people.people import AsyncPeople

__all__ = ["AsyncPeople"]
