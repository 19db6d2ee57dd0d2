"""A deployment is asked once for each capability, and a refusal names the loss and the remedy."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.server_api import ServerApi

from mongostore import AsyncMongoStore, Capability, ConfigurationError, UnsupportedError
from mongostore.diagnostics import CheckStatus
from tests.contract.command_log import CommandLog
from tests.faults.deployments import with_options

pytestmark = pytest.mark.server

# The command that uses a capability, and what comes of it where a server refuses that. By the code of a
# standalone server, and of Atlas, which has one for all that M0 and Flex leave out.
USES = {
    Capability.TRANSACTIONS: (["find"], 20, "cannot write several documents", "--replSet"),
    Capability.CHANGE_STREAMS: (["aggregate"], 8000, "`watch` cannot work", "than Flex"),
    Capability.KILL_SESSIONS: (["killSessions"], 8000, "dead process", "dedicated"),
    # This server refuses the stage before a command can fail.
    Capability.SEARCH: ([], 6047401, "Atlas Search cannot work", "use Atlas"),
}


class Refusing:
    """Makes commands of one store fail."""

    def __init__(self, client: MongoClient[dict[str, Any]], database: str) -> None:
        self._client = client
        self._database = database

    def refuse(self, capability: Capability, code: int, times: int) -> None:
        commands = USES[capability][0]
        data = {"failCommands": commands, "errorCode": code, "appName": self._database}
        if commands:
            self._client.admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)

    def end(self) -> None:
        self._client.admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.fixture
def refusing(admin_uri: str, database: str) -> Any:
    with MongoClient[dict[str, Any]](admin_uri) as client:
        failing = Refusing(client, database)
        yield failing
        failing.end()


def without_indexes(uri: str, database: str, **options: Any) -> AsyncMongoStore:
    uri = with_options(uri, appName=database)
    return AsyncMongoStore(uri, database, ensure_indexes=False, **options)


def test_every_capability_is_asked_for() -> None:
    # What a server of any kind has, is not.
    assert {*USES} == {*Capability} - {Capability.TTL}


@pytest.mark.parametrize("capability", USES)
async def test_a_refusal_names_the_loss_and_the_remedy(
    server_uri: str, database: str, refusing: Refusing, capability: Capability
) -> None:
    _, code, loss, remedy = USES[capability]
    refusing.refuse(capability, code, times=1)
    async with without_indexes(server_uri, database, transactions="off") as store:
        assert store.capabilities == {*Capability} - {capability, Capability.SEARCH}
        refusal = store.engine.refusals[capability]
        assert (refusal.kind, f"(code {code}" in refusal.reason) == (UnsupportedError, True)
        assert loss in refusal.reason
        assert remedy in refusal.reason
        [found] = [one for one in await store.diagnose() if one.check == "capabilities"]
        # The store has a search of its own.
        is_warned = capability is not Capability.SEARCH
        assert (found.status is CheckStatus.WARNING, loss in found.advice) == (is_warned, is_warned)


async def test_a_verb_that_cannot_work_says_so_before_it_asks(
    server_uri: str, database: str, refusing: Refusing
) -> None:
    refusing.refuse(Capability.CHANGE_STREAMS, 8000, times=1)
    async with without_indexes(server_uri, database) as store:
        for changes in (store.sessions.messages.watch("s"), store.rooms.events.watch("r")):
            with pytest.raises(
                UnsupportedError, match="`watch` cannot work, for the deployment has no change"
            ):
                await anext(changes)


async def test_a_store_that_needs_transactions_does_not_open_without(
    server_uri: str, database: str, refusing: Refusing
) -> None:
    refusing.refuse(Capability.TRANSACTIONS, 20, times=1)
    with pytest.raises(UnsupportedError, match='transactions="off"'):
        async with without_indexes(server_uri, database):
            pass


@pytest.mark.parametrize("capability", [one for one in USES if one is not Capability.SEARCH])
async def test_a_busy_moment_is_no_refusal(
    server_uri: str, database: str, refusing: Refusing, capability: Capability
) -> None:
    refusing.refuse(capability, 262, times=3)
    async with without_indexes(server_uri, database) as store:
        assert store.capabilities == {*Capability} - {Capability.SEARCH}


async def test_the_strict_stable_api_is_named_where_it_leaves_something_out(
    server_uri: str, database: str
) -> None:
    options = {"server_api": ServerApi("1", strict=True)}
    async with without_indexes(server_uri, database, client_options=options) as store:
        kinds = {capability: refusal.kind for capability, refusal in store.engine.refusals.items()}
        assert kinds == {Capability.KILL_SESSIONS: ConfigurationError, Capability.SEARCH: UnsupportedError}
        assert "strict=False" in store.engine.refusals[Capability.KILL_SESSIONS].reason


async def test_asking_takes_few_commands(server_uri: str, database: str) -> None:
    wire = CommandLog()
    async with without_indexes(server_uri, database, client_options={"event_listeners": [wire]}):
        sent = Counter(sent.name for sent in wire.sent)
    # One of the greetings is for the clock; the stream is closed.
    asked = ["hello", "find", "abortTransaction", "aggregate", "killCursors", "killSessions", "aggregate"]
    assert sent == Counter([*asked, "hello"])
