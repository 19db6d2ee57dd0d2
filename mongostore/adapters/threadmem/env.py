"""The environment variables of threadmem that mean something here."""

from __future__ import annotations

HUB_API_KEY_ENV = "AGENTSEA_HUB_API_KEY"
HUB_URL_ENV = "AGENTSEA_HUB_URL"
