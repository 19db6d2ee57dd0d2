"""One person over everything: `store.people`."""
