"""Chainlit's data layer, for tests.

Chainlit leaves its settings in the folder that CHAINLIT_APP_ROOT names, or in the present one, when it is
imported, as it is by importing this.
"""

from mongostore.testing.chainlit.files import FileSuite, StorageSuite
from mongostore.testing.chainlit.suite import DataLayerSuite

__all__ = ["DataLayerSuite", "FileSuite", "StorageSuite"]
