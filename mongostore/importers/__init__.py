"""Imports of conversations that others have stored."""

from mongostore.importers.engine import Importer
from mongostore.importers.report import Counts, Report
from mongostore.importers.sources import Options, SourceError, names
from mongostore.importers.units import Refusal

__all__ = ["Counts", "Importer", "Options", "Refusal", "Report", "SourceError", "names"]
