"""Finds the packages: `pyproject.toml` cannot say "all that are found, and one from another folder"."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["mongostore", "mongostore.*"]), "mongostore.indexes"])
