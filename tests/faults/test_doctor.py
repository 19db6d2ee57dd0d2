"""What the doctor says of collections that it cannot read to their ends in time."""

from __future__ import annotations

import pytest

from mongostore import diagnostics
from mongostore.documents import COLLECTIONS
from mongostore.documents.mapping import SCHEMA_VERSION
from tests.faults.conftest import Faults

pytestmark = pytest.mark.server
FIRST, *_, LAST = COLLECTIONS


async def schema_check(faults: Faults) -> diagnostics.CheckResult:
    # The server holds up the first collection for longer than its share of the time.
    await faults.fail(["find"], 1, blockConnection=True, blockTimeMS=2000)
    [found] = [one for one in await faults.store.diagnose() if one.check == "schema"]
    return found


async def test_a_collection_that_takes_too_long_is_named_and_the_others_are_read(
    faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "SCAN_SECONDS", 0.5 * len(COLLECTIONS))
    found = await schema_check(faults)
    assert (found.status, found.found.rpartition(": ")[2]) == ("unknown", FIRST)
    newer = {"_id": "newer", "schema_version": SCHEMA_VERSION + 1}
    await faults.store.engine.database[LAST].insert_one(newer)
    found = await schema_check(faults)
    assert (found.status, found.found.rpartition(" in ")[2]) == ("error", LAST)
