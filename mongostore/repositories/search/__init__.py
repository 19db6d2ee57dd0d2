"""The search for words in all houses."""
