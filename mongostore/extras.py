"""Errors where a package is missing that not everybody installs."""

from __future__ import annotations


def explain_import(module: str, remedy: str, error: ImportError) -> ImportError:
    """Return the error of a module whose packages are missing, or too old, with what installs them."""
    return type(error)(f"{module} needs more packages: {remedy} ({error})", name=error.name, path=error.path)
