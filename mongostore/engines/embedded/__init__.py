"""The embedded engine: mongomock behind the asynchronous interface of PyMongo."""
