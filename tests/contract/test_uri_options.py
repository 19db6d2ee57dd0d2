"""What the options of a URI do to the verbs: nothing, or the store refuses them by name when it is made."""

from __future__ import annotations

import asyncio
import re
from operator import attrgetter
from typing import Any
from uuid import uuid4

import pytest
from bson.codec_options import TypeCodec, TypeRegistry
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient, MongoClient, ReadPreference

from mongostore import AsyncMongoStore, ConfigurationError, MongoStore, UnavailableError
from tests.contract.test_injection import CALLS, OURS, Names, furnish, outcome_of

OPTIONS = [
    *(
        f"readPreference={mode}"
        for mode in ("primary", "primaryPreferred", "secondary", "secondaryPreferred")
    ),
    "readPreference=nearest",
    "readPreference=nearest&maxStalenessSeconds=120",
    "readPreference=secondaryPreferred&readPreferenceTags=dc:a",
    *(
        f"readConcernLevel={level}"
        for level in ("local", "available", "majority", "linearizable", "snapshot")
    ),
    *("w=1", "w=majority", "journal=true", "journal=false", "w=1&wtimeoutMS=9000"),
    *("retryWrites=false", "retryReads=false", "directConnection=true"),
    *(
        "maxPoolSize=1",
        "maxPoolSize=2",
        "maxPoolSize=0",
        "minPoolSize=1&maxIdleTimeMS=1000",
        "maxConnecting=1",
        "waitQueueTimeoutMS=9000",
    ),
    *("fsync=true", "w=1&journal=true", "retryWrites=false&retryReads=false", "appname=chat"),
    *("timeoutMS=9000", "socketTimeoutMS=9000", "heartbeatFrequencyMS=1000", "localThresholdMS=0"),
    *("compressors=zlib", "uuidRepresentation=standard", "tz_aware=true", "serverMonitoringMode=poll"),
    *("unicode_decode_error_handler=strict", "datetime_conversion=DATETIME_MS"),
    *("uuidRepresentation=javaLegacy", "socketTimeoutMS=0", "connectTimeoutMS=0"),
]


class Shouting(TypeCodec):
    """Makes another text of each that is read."""

    python_type = set
    bson_type = str

    def transform_python(self, value: Any) -> list[Any]:
        return sorted(value)

    def transform_bson(self, value: str) -> str:
        return value.upper()


# What no URI can say.
CLIENT_OPTIONS: dict[str, Any] = {
    **{"document_class": RawBSONDocument, "tz_aware": True, "type_registry": TypeRegistry([Shouting()])},
    **{"connect": True, "read_preference": ReadPreference.SECONDARY, "server_selector": list},
}
FORMS: dict[str, Any] = {
    "of the store": lambda uri, options: (uri, {"client_options": options}),
    "of an async client": lambda uri, options: (AsyncMongoClient(uri, **options), {}),
    "of a blocking client": lambda uri, options: (MongoClient(uri, **options), {}),
}
# Times, ids, tokens and addresses.
VARYING = re.compile(
    r"datetime\.datetime\((?:[^()]|\([^()]*\))*\)|0x\w+|[0-9a-f]{8,}|\d{10,}|\d+\.\d+|[\w=-]{24,}"
)
SMOKE = ("readPreference=secondaryPreferred", "readConcernLevel=linearizable")


def with_options(uri: str, options: str) -> str:
    return f"{uri}{'&' if '?' in uri else '?'}{options}"


async def outcomes(store: AsyncMongoStore) -> dict[str, str]:
    """Return what becomes of each verb, without what differs from call to call."""
    names = Names("own")
    await furnish(store, names)
    found = {
        path: await outcome_of(attrgetter(path)(store), arguments(names)[0])
        for path, arguments in CALLS.items()
    }
    strange = {path: one for path, one in found.items() if isinstance(one, Exception)}
    assert not {path: one for path, one in strange.items() if not isinstance(one, OURS)}
    return {path: VARYING.sub("-", f"{type(one).__name__} {one!r}") for path, one in found.items()}


@pytest.fixture(scope="module")
def expected(server_uri: str) -> dict[str, str]:
    """What becomes of each verb without any options."""

    async def plain() -> dict[str, str]:
        async with AsyncMongoStore(server_uri, f"plain_{uuid4().hex}") as store:
            found = await outcomes(store)
            await store.engine.database.client.drop_database(store.engine.database.name)
        return found

    return asyncio.run(plain())


@pytest.mark.server
@pytest.mark.parametrize(
    "options",
    [pytest.param(one, marks=() if one in SMOKE else pytest.mark.long) for one in OPTIONS],
)
async def test_each_verb_works_whatever_the_options(
    server_uri: str, database: str, expected: dict[str, str], options: str
) -> None:
    if options.split("=")[0] in server_uri:
        pytest.skip("the server's own URI says it already")
    async with AsyncMongoStore(with_options(server_uri, options), database) as store:
        assert await outcomes(store) == expected


@pytest.mark.server
@pytest.mark.long
@pytest.mark.parametrize("name", CLIENT_OPTIONS)
@pytest.mark.parametrize("form", FORMS)
async def test_each_verb_works_whatever_the_options_of_a_client(
    server_uri: str, database: str, expected: dict[str, str], form: str, name: str
) -> None:
    target, members = FORMS[form](server_uri, {name: CLIENT_OPTIONS[name]})
    try:
        async with AsyncMongoStore(target, database, **members) as store:
            assert await outcomes(store) == expected
    finally:
        if isinstance(target, AsyncMongoClient):
            await target.close()
        elif isinstance(target, MongoClient):
            target.close()


@pytest.mark.server
@pytest.mark.parametrize("verb", ["sessions.create", "threads.create", "rooms.create", "keys.create"])
async def test_what_fewer_members_store_than_are_asked_for_is_not_acknowledged(
    server_uri: str, server_store: AsyncMongoStore, database: str, verb: str
) -> None:
    uri, sessions = with_options(server_uri, "w=50&wtimeoutMS=200"), server_store.engine.database["sessions"]
    foreign = {"_id": "", "of": "another program"}
    await sessions.insert_one(dict(foreign))
    async with AsyncMongoStore(uri, database, timeout=1, ensure_indexes=False) as store:
        # The second attempt finds that the first one has done it.
        outcome = await outcome_of(attrgetter(verb)(store), CALLS[verb](Names("own"))[0])

    assert isinstance(outcome, UnavailableError), outcome
    assert "fewer members are there than w= in the URI asks for" in str(outcome)
    assert await sessions.find_one({"_id": ""}) == foreign


@pytest.mark.parametrize("options", ["w=0", "w=0&journal=false"])
@pytest.mark.parametrize("kind", [AsyncMongoStore, MongoStore])
def test_a_store_that_would_not_know_what_is_written_is_not_made(kind: Any, options: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^mongodb://here: w=0: "):
        kind(f"mongodb://here/?{options}")
    with pytest.raises(ConfigurationError, match=r"^mongodb://here: w=0: "):
        kind("mongodb://here", client_options={"w": 0})
    with pytest.raises(ConfigurationError, match=r"^mongodb://here: w=0: "):
        kind(MongoClient("mongodb://here", w=0, connect=False))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, "the name has no") for name in ("team.chat", "my chat", "a/b", "a\\b", "$x", 'a"b', "a\0b")),
        *((name, "the name has 1 to 63 bytes") for name in ("x" * 64, "ä" * 32)),
        *((name, "a server keeps it for itself") for name in ("admin", "local", "config")),
    ],
)
@pytest.mark.parametrize(
    "uri", ["mongodb://here", "mongodb+srv://here.example.com", "mongomock://", "mongod:///here"]
)
def test_a_database_that_no_server_has_is_refused_by_name(uri: str, name: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        AsyncMongoStore(uri, name)


@pytest.mark.parametrize("path", ["team.chat", "my%20chat", "team$chat", "admin"])
def test_a_database_in_the_uri_is_checked_as_well(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"(?i)database"):
        AsyncMongoStore(f"mongodb://here/{path}")


def test_a_database_of_the_environment_is_checked_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGOSTORE_DATABASE", "team.chat")
    for uri in ("mongodb://here", "mongomock://"):
        with pytest.raises(ConfigurationError, match=r"database 'team\.chat'"):
            AsyncMongoStore(uri)


@pytest.mark.parametrize(
    "uri", ["mongomock://here?w=1", "mongomock://here/chat", "mongod:///here?readPreference=nearest"]
)
def test_an_engine_without_options_takes_none(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="takes"):
        AsyncMongoStore(uri)


@pytest.mark.parametrize(
    "options",
    [
        "w=-1",
        "readPreference=near",
        "tls=perhaps",
        "tlsCAFile=/nowhere",
        "maxPoolSize=-1",
        "datetime_conversion=datetime_ms",
        "no=1&x",
    ],
)
def test_a_uri_that_cannot_work_is_refused_before_anything_is_opened(options: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^mongodb://here: "):
        AsyncMongoStore(f"mongodb://here/?{options}")
