"""Dialogues to try a store with, one conversation a line, one file a work.

All are in the public domain: Plato in Jowett's translation (1871), Carroll (1865), Doyle (1891) and
Wilde (1895).
"""
