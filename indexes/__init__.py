"""The truth about indexes: one command a collection, as data; `search/` is for Atlas Search."""
