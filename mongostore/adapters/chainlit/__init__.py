"""Chainlit's data layer on MongoDB, with files in GridFS.

`@cl.data_layer` returns a `MongoDataLayer()`; nothing else is needed, neither a cloud nor a schema.
"""

from mongostore.extras import explain_import

try:
    from mongostore.adapters.chainlit.layer import MongoDataLayer
    from mongostore.adapters.chainlit.storage import GridFSStorageClient
except ImportError as _error:
    raise explain_import(
        __name__, "pip install 'mongostore[chainlit]' on Python 3.13 or earlier", _error
    ) from None

__all__ = ["GridFSStorageClient", "MongoDataLayer"]
