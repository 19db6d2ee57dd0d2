"""The odd values of the suites."""

from mongostore.testing.store.oddities import BOTTOMLESS, NASTY, NO_IDS, Loud, refused, same

__all__ = ["BOTTOMLESS", "NASTY", "NO_IDS", "Loud", "refused", "same"]
