"""Stands in for Director where there is no checkout of it: the public names that a database meets."""
