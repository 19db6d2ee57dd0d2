"""Servers: the store over HTTP."""
