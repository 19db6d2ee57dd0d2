"""The folder of AgentSea's programs, by threadmem's name; no role threads are there."""

from __future__ import annotations

import os
from pathlib import Path

AGENTSEA_HOME = str(Path(os.environ.get("AGENTSEA_HOME", "~/.agentsea")).expanduser())


def _folder(variable: str, name: str) -> str:
    return str(Path(os.environ.get(variable, f"{AGENTSEA_HOME}/{name}")).expanduser())


AGENTSEA_DB_DIR = _folder("AGENTSEA_DB_DIR", "data")
AGENTSEA_LOG_DIR = _folder("AGENTSEA_LOG_DIR", "logs")
AGENTSEA_PROC_DIR = _folder("AGENTSEA_PROC_DIR", "proc")
