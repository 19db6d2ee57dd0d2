"""A pytest plugin for threadmem's own tests: our package stands in the place of threadmem.

`MONGOSTORE_URI` and `MONGOSTORE_DATABASE` say where the threads are kept.
"""

from __future__ import annotations

import importlib
import sys

OURS = "mongostore.adapters.threadmem"
MODULES = ("", ".config", ".db", ".db.models", ".server", ".server.models", ".env", ".img")

for module in MODULES:
    sys.modules[f"threadmem{module}"] = importlib.import_module(OURS + module)
