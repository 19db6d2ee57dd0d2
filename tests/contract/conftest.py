"""What the contract tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave most of what is asked of the embedded engine to the long run.

    The same is asked on a server in every run, and `tests/unit/test_embedded.py` compares the engine itself
    with a server.
    """
    for item in items:
        cases = getattr(item, "callspec", None)
        is_embedded = cases is not None and cases.params.get("store_uri") == "embedded"
        if is_embedded and HERE in item.path.parents and not item.get_closest_marker("smoke"):
            item.add_marker(pytest.mark.long)
