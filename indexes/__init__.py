"""The truth about indexes: one `createIndexes` command a collection, as data."""
