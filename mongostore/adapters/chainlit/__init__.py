"""Chainlit's data layer on MongoDB, with files in GridFS.

`@cl.data_layer` returns a `MongoDataLayer()`; nothing else is needed, neither a cloud nor a schema.
"""

from mongostore.adapters.chainlit.layer import MongoDataLayer
from mongostore.adapters.chainlit.storage import GridFSStorageClient

__all__ = ["GridFSStorageClient", "MongoDataLayer"]
