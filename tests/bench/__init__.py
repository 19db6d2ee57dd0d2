"""Benches: the store against the bare driver, on one server, in one run."""
