"""Chainlit, imported where it does no harm."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import warnings

import pytest

# Where it is imported it leaves its settings, so that is no folder of ours.
ROOT = tempfile.mkdtemp(prefix="chainlit-")
atexit.register(shutil.rmtree, ROOT, ignore_errors=True)
os.environ["CHAINLIT_APP_ROOT"] = ROOT
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import chainlit
        from chainlit.data.base import BaseDataLayer
        from chainlit.server import app
        from chainlit.types import Feedback, Pagination, ThreadFilter

        from mongostore.adapters.chainlit import GridFSStorageClient, MongoDataLayer
        from mongostore.adapters.chainlit.conversions import parents_first
        from mongostore.testing.chainlit import DataLayerSuite, FileSuite, StorageSuite
        from mongostore.testing.chainlit.files import Served
        from mongostore.testing.chainlit.parts import (
            CONTENT,
            THREAD,
            FakeStorage,
            at,
            claim,
            element,
            message,
            step,
            steps_of,
            stored,
        )
        from mongostore.testing.chainlit.session import (
            AUCKLAND,
            enter,
            http_session,
            in_zone,
            socket_session,
        )
except ModuleNotFoundError:
    if os.environ.get("CI"):
        raise
    pytest.skip("Chainlit is not installed", allow_module_level=True)
finally:
    del os.environ["CHAINLIT_APP_ROOT"]

__all__ = [
    "AUCKLAND",
    "CONTENT",
    "THREAD",
    "BaseDataLayer",
    "DataLayerSuite",
    "FakeStorage",
    "Feedback",
    "FileSuite",
    "GridFSStorageClient",
    "MongoDataLayer",
    "Pagination",
    "Served",
    "StorageSuite",
    "ThreadFilter",
    "app",
    "at",
    "chainlit",
    "claim",
    "element",
    "enter",
    "http_session",
    "in_zone",
    "message",
    "parents_first",
    "socket_session",
    "step",
    "steps_of",
    "stored",
]

SECRET = "s" * 64
