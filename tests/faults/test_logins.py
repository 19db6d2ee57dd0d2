"""Logins without a password: the options reach PyMongo's client, and no error or log shows them."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult

from mongostore import (
    AccessDeniedError,
    AsyncMongoStore,
    ConfigurationError,
    Event,
    Message,
    MongoStoreError,
    UnavailableError,
)
from tests.faults.deployments import SECRET, Cluster, certificate, cluster

pytestmark = [pytest.mark.server, pytest.mark.long]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server's certificate and of two clients', which the server trusts."""
    folder = tmp_path_factory.mktemp("logins")
    trusted = [certificate(folder, name).read_text() for name in ("server", "ada", "stranger")]
    (folder / "server.crt").write_text("".join(trusted))
    return folder


@pytest.fixture(scope="module")
def members(mongod_binary: Path, certificates: Path) -> Iterator[Cluster]:
    folder = certificates / "data"
    with cluster(mongod_binary, folder, members=1, login=True, tls=certificates) as started:
        with MongoClient[dict[str, Any]](started.admin_uri) as client:
            roles = [{"role": "readWrite", "db": "chat"}]
            client["$external"].command("createUser", "CN=ada", roles=roles)
        yield started


def uri_of(members: Cluster) -> str:
    return f"mongodb://{members.members[0].address}/chat?replicaSet={members.name}"


def by_certificate(certificates: Path, name: str) -> dict[str, Any]:
    return {
        "authMechanism": "MONGODB-X509",
        "tls": True,
        "tlsCAFile": str(certificates / "server.crt"),
        "tlsCertificateKeyFile": str(certificates / f"{name}.pem"),
    }


def check_silence(certificates: Path, caplog: pytest.LogCaptureFixture, *texts: object) -> None:
    """Check that neither these texts nor the log name a file of the certificates."""
    for text in (*map(str, texts), caplog.text):
        assert str(certificates) not in text


async def refused(
    members: Cluster, certificates: Path, kind: type[MongoStoreError], options: dict[str, Any]
) -> str:
    with pytest.raises(MongoStoreError) as caught:
        async with AsyncMongoStore(uri_of(members), client_options=options):
            pass
    assert type(caught.value) is kind
    whole = "".join(traceback.format_exception(caught.value))
    assert SECRET not in whole
    assert str(certificates) not in whole
    return str(caught.value)


@pytest.mark.parametrize("way", ["options", "uri"])
async def test_a_store_is_opened_by_a_certificate(
    members: Cluster, certificates: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    caplog.set_level(logging.DEBUG, "mongostore")
    options, uri = by_certificate(certificates, "ada"), uri_of(members)
    if way == "uri":
        options["tls"] = "true"
        uri, options = f"{uri}&{'&'.join(f'{name}={value}' for name, value in options.items())}", {}
    async with AsyncMongoStore(uri, client_options=options) as store:
        await store.sessions.create(way)
        changes = store.sessions.messages.watch(way)
        first = changes.__anext__()
        for number in range(130):
            await store.sessions.messages.append(way, Message(role="user", content=number))
        assert len((await store.sessions.messages.list(way, limit=200)).items) == 130
        await store.rooms.create(way)
        await store.rooms.events.append(way, Event(channel_id="c"))
        first.close()
        await changes.aclose()
        status = await store.engine.database.command("connectionStatus")
        assert status["authInfo"]["authenticatedUsers"] == [{"user": "CN=ada", "db": "$external"}]
        found = {one.check: one for one in await store.diagnose()}
        assert found["rights"].status == "ok"
        check_silence(certificates, caplog, store, store.address, store.engine.refusals, *found.values())


async def test_a_refused_certificate_shows_no_path(
    members: Cluster, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = by_certificate(certificates, "stranger")
    text = await refused(members, certificates, AccessDeniedError, stranger)
    assert "by its subject" in text
    untrusted = {**by_certificate(certificates, "ada"), "tlsCAFile": str(certificates / "ada.crt")}
    assert "tlsCAFile=" in await refused(members, certificates, UnavailableError, untrusted)
    check_silence(certificates, caplog)


class Tokens(OIDCCallback):
    """Counts the tokens that the driver has asked for."""

    def __init__(self) -> None:
        self.count = 0

    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        self.count += 1
        return OIDCCallbackResult(access_token=SECRET)


async def test_a_callback_reaches_the_client_and_a_missing_mechanism_is_named(
    members: Cluster, certificates: Path
) -> None:
    tokens = Tokens()
    options = {
        "tls": True,
        "tlsCAFile": str(certificates / "server.crt"),
        "authMechanism": "MONGODB-OIDC",
        "authMechanismProperties": {"OIDC_CALLBACK": tokens},
    }
    text = await refused(members, certificates, ConfigurationError, options)
    assert "no login by MONGODB-OIDC: correct authMechanism" in text
    assert tokens.count == 1
