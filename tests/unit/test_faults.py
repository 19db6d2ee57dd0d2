"""What the driver reports, told in our words and without its own."""

from __future__ import annotations

import pytest
from bson.errors import InvalidBSON
from pymongo import errors as driver

from mongostore import AsyncMongoStore
from mongostore.engines import mongo
from mongostore.engines.driver_errors import MAX_DOCUMENT_BYTES, drop_driver_context, translate_error
from mongostore.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConflictError,
    DocumentTooLargeError,
    IndexConflictError,
    MongoStoreError,
    NotOpenError,
    TokenExpiredError,
    UnavailableError,
    UnsupportedError,
)

WHERE = "mongodb://host:27017/chat"
SECRET = "dup key: { text: 'what the user said' } mongodb://user:password@host"


def failure(code: int | None, *labels: str, name: str = "CodeName") -> driver.OperationFailure:
    return driver.OperationFailure(
        SECRET, code, {"codeName": name, "errmsg": SECRET, "errorLabels": [*labels]}
    )


class LateError(driver.PyMongoError):
    """An error of no other kind that a deadline made."""

    @property
    def timeout(self) -> bool:
        return True


def assert_translated(error: Exception, kind: type[MongoStoreError], message: str) -> None:
    reported = translate_error(error, WHERE)

    assert type(reported) is kind
    assert str(reported) == message
    assert not isinstance(reported, UnavailableError) or reported.retryable


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (driver.AutoReconnect(SECRET), "the connection was lost"),
        (driver.NotPrimaryError(SECRET), "the connection was lost"),
        (driver.ConnectionFailure(SECRET), "the connection was lost"),
        (driver.NetworkTimeout(SECRET), "no answer in time"),
        (driver.ServerSelectionTimeoutError(SECRET), "no answer in time: no server to ask was found"),
        (
            driver.WaitQueueTimeoutError(SECRET),
            "no answer in time: every connection of the pool is in use (see maxPoolSize)",
        ),
        (LateError(SECRET), "no answer in time"),
    ],
)
def test_without_an_answer_the_server_is_away(error: driver.PyMongoError, reason: str) -> None:
    assert_translated(error, UnavailableError, f"{WHERE}: {reason}")


@pytest.mark.parametrize(
    "code",
    [
        *(6, 7, 24, 43, 46, 63, 89, 91, 107, 112, 129, 133, 134, 150, 175, 189, 202, 234, 237, 239, 317, 365),
        *(384, 388, 9001, 10107, 11600, 11602, 13388, 13435, 13436),
    ],
)
def test_a_server_in_a_failover_or_under_load_is_away(code: int) -> None:
    message = f"{WHERE}: the server is busy or changing its primary (code {code}, CodeName)"
    assert_translated(failure(code), UnavailableError, message)


@pytest.mark.parametrize("label", ["RetryableWriteError", "TransientTransactionError"])
@pytest.mark.parametrize("code", [1, 251])
def test_what_the_server_labels_as_passing_is_so(code: int, label: str) -> None:
    message = f"{WHERE}: the server is busy or changing its primary (code {code}, CodeName)"
    assert_translated(failure(code, "Other", label), UnavailableError, message)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (failure(50), 50),
        (failure(262), 262),
        (driver.ExecutionTimeout(SECRET, 50, {"codeName": "CodeName"}), 50),
    ],
)
def test_what_the_server_has_given_up_has_no_answer_in_time(
    error: driver.OperationFailure, code: int
) -> None:
    reason = "no answer in time" if error.timeout else "the server is busy or changing its primary"
    assert_translated(error, UnavailableError, f"{WHERE}: {reason} (code {code}, CodeName)")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (13, "the user lacks a right: give it the role readWrite on the store's database"),
        (18, "wrong user, password or authSource"),
        (8000, "Atlas refused the user"),
    ],
)
@pytest.mark.parametrize("label", ["Other", "RetryableWriteError"])
def test_refused_credentials_are_denied_access(code: int, reason: str, label: str) -> None:
    assert_translated(failure(code, label), AccessDeniedError, f"{WHERE}: {reason} (code {code}, CodeName)")


@pytest.mark.parametrize(
    "error",
    [
        driver.DocumentTooLarge(SECRET),
        *(failure(code) for code in (10334, 17280, 17419, 17420)),
    ],
)
def test_a_document_that_the_server_cannot_hold_is_too_large(error: driver.PyMongoError) -> None:
    reported = translate_error(error, WHERE)

    assert isinstance(reported, DocumentTooLargeError)
    assert str(reported) == "a document takes 16,777,217 bytes; at most 16,777,216 can be stored"
    assert reported.size > reported.limit == MAX_DOCUMENT_BYTES


@pytest.mark.parametrize("code", [85, 86])
def test_another_index_of_that_name_is_a_conflict_of_indexes(code: int) -> None:
    message = (
        f"{WHERE}: an index of that name or those keys differs: see `mongostore indexes check` "
        f"(code {code}, CodeName)"
    )
    assert_translated(failure(code), IndexConflictError, message)


@pytest.mark.parametrize("code", [260, 280, 286])
def test_a_token_older_than_the_history_has_expired(code: int) -> None:
    message = f"{WHERE}: the token is older than the server's history; read anew, then watch"
    assert_translated(failure(code), TokenExpiredError, message)


@pytest.mark.parametrize("code", [59, 115, 238, 263, 303, 40324, 40573])
def test_what_the_deployment_does_not_know_is_unsupported(code: int) -> None:
    message = (
        f"{WHERE}: this deployment cannot do that: use a replica set of MongoDB, or Atlas "
        f"(code {code}, CodeName)"
    )
    assert_translated(failure(code), UnsupportedError, message)


@pytest.mark.parametrize("code", [11000, 11001, 12582, None])
def test_a_taken_key_is_a_conflict(code: int | None) -> None:
    error = driver.DuplicateKeyError(SECRET, code, {"keyValue": {"text": SECRET}, "errmsg": SECRET})
    assert_translated(error, ConflictError, f"{WHERE}: a unique key is taken")


@pytest.mark.parametrize(("code", "output"), [(26, 26), (1, 1), (None, 0)])
def test_any_other_refusal_is_named_by_its_code(code: int | None, output: int) -> None:
    message = f"{WHERE}: the server refused it (code {output}, CodeName)"
    assert_translated(failure(code, "Other"), MongoStoreError, message)


def test_a_refusal_without_details_has_its_code_alone() -> None:
    message = f"{WHERE}: the server refused it (code 26)"
    assert_translated(driver.OperationFailure(SECRET, 26), MongoStoreError, message)
    assert_translated(driver.OperationFailure(SECRET, 26, {}), MongoStoreError, message)


def test_a_closed_client_is_a_store_that_is_not_open() -> None:
    for text in ("Cannot use AsyncMongoClient after close", "Cannot use ended session"):
        assert_translated(driver.InvalidOperation(text), NotOpenError, f"{WHERE}: the client is closed")


def test_what_the_driver_itself_refuses_is_not_a_closed_client() -> None:
    error = driver.InvalidOperation("Read preference in a transaction must be primary")
    assert_translated(error, MongoStoreError, f"{WHERE}: the driver refuses the operation")


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (79, ConfigurationError, "the server has no write concern of that name: correct w= in the URI"),
        (301, ConfigurationError, "the deployment has no retryable writes: add retryWrites=false to the URI"),
        (322, ConfigurationError, "the server does not know this API version: correct server_api"),
        (
            323,
            ConfigurationError,
            "the API version leaves this command out: set strict=False in server_api",
        ),
        (
            121,
            ConfigurationError,
            "a validator of the collection refuses our documents: use another database, or a prefix",
        ),
        (166, ConfigurationError, "it is a view and no collection: use another database, or a prefix"),
        (167, ConfigurationError, "it is a view and no collection: use another database, or a prefix"),
        (10003, ConfigurationError, "the collection is capped: use another database, or a prefix"),
        (13297, ConfigurationError, "a database has that name in other letter case: write it as it is there"),
        (355, UnavailableError, "the server is busy or changing its primary"),
        (67, IndexConflictError, "the server cannot build an index: see `mongostore indexes check`"),
        (291, IndexConflictError, "no index serves this: run `mongostore indexes apply`"),
        (11601, UnavailableError, "the server was told to end the operation"),
        (
            100,
            UnavailableError,
            "fewer members are there than w= in the URI asks for: start them, or ask for fewer",
        ),
        (64, UnavailableError, "too few members had stored it in time: see wtimeoutMS and w= in the URI"),
        (462, UnavailableError, "the server takes no more requests for now: send fewer, or scale it up"),
    ],
)
def test_a_refusal_comes_with_its_remedy(code: int, kind: type[MongoStoreError], reason: str) -> None:
    assert_translated(failure(code), kind, f"{WHERE}: {reason} (code {code}, CodeName)")


@pytest.mark.parametrize(
    "text",
    [
        "Transaction numbers are only allowed on a replica set member or mongos",
        "This MongoDB deployment does not support retryable writes. Please add retryWrites=false",
    ],
)
def test_servers_without_retryable_writes_are_known_by_their_text(text: str) -> None:
    reported = translate_error(driver.OperationFailure(text, 20, {"codeName": "IllegalOperation"}), WHERE)

    assert isinstance(reported, ConfigurationError)
    assert "retryWrites=false" in str(reported)


@pytest.mark.parametrize("code", [14031, 12501])
def test_a_full_disk_is_not_tried_again(code: int) -> None:
    reported = translate_error(failure(code), WHERE)

    assert isinstance(reported, UnavailableError)
    assert not reported.retryable
    assert "disk is full" in str(reported)


def bulk(**details: object) -> driver.BulkWriteError:
    nothing = {"writeErrors": [], "writeConcernErrors": [], "nInserted": 0}
    return driver.BulkWriteError({**nothing, **details})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            bulk(writeErrors=[{"index": 3, "code": 13, "errmsg": SECRET}, {"code": 1, "errmsg": SECRET}]),
            AccessDeniedError,
            "the user lacks a right: give it the role readWrite on the store's database (code 13)",
        ),
        (
            bulk(writeConcernErrors=[{"code": 64, "codeName": "WriteConcernTimeout", "errmsg": SECRET}]),
            UnavailableError,
            "too few members had stored it in time: see wtimeoutMS and w= in the URI "
            "(code 64, WriteConcernTimeout)",
        ),
        (
            bulk(writeErrors=[{"code": 50, "errmsg": SECRET}]),
            UnavailableError,
            "no answer in time (code 50)",
        ),
        (
            bulk(writeErrors=[{"code": 11000, "errmsg": "E11000 collection: chat.files index: n_1 dup key"}]),
            ConflictError,
            "a unique key is taken: that of the index n_1 of files",
        ),
        (bulk(), MongoStoreError, "the server refused it (code 0)"),
    ],
)
def test_of_several_writes_the_first_error_counts(
    error: driver.BulkWriteError, kind: type[MongoStoreError], message: str
) -> None:
    assert_translated(error, kind, f"{WHERE}: {message}")


def test_values_that_cannot_be_read_are_others() -> None:
    assert_translated(
        InvalidBSON(SECRET),
        MongoStoreError,
        f"{WHERE}: a stored value cannot be read: another program wrote it",
    )


def test_failing_encryption_is_a_matter_of_configuration() -> None:
    message = f"{WHERE}: client-side encryption failed: see auto_encryption_opts"
    assert_translated(driver.EncryptionError(Exception(SECRET)), ConfigurationError, message)


@pytest.mark.parametrize("cause", [driver.ServerSelectionTimeoutError(SECRET), driver.AutoReconnect(SECRET)])
def test_encryption_without_an_answer_names_what_may_be_missing(cause: driver.PyMongoError) -> None:
    message = (
        f"{WHERE}: client-side encryption gets no answer: install mongocryptd, or name MongoDB's "
        "crypt_shared library in auto_encryption_opts"
    )
    assert_translated(driver.EncryptionError(cause), UnavailableError, message)


def test_a_client_that_cannot_encrypt_is_a_matter_of_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    error = type("MongoCryptError", (Exception,), {"__module__": "pymongocrypt.errors"})

    def refuse(*args: object, **options: object) -> None:
        raise error("no such library\nand more")

    monkeypatch.setattr(mongo, "AsyncMongoClient", refuse)
    with pytest.raises(ConfigurationError, match=r"host:27017: no such library$"):
        AsyncMongoStore(WHERE, client_options={"auto_encryption_opts": None})


def test_options_that_do_not_go_together_are_a_matter_of_configuration() -> None:
    message = f"{WHERE}: the URI's options do not go together"
    assert_translated(driver.ConfigurationError(SECRET), ConfigurationError, message)
    assert_translated(driver.InvalidURI(SECRET), ConfigurationError, message)


def test_a_server_that_has_just_started_is_away() -> None:
    error = driver.ConfigurationError(f"Sessions are not supported by this MongoDB deployment {SECRET}")
    advice = "if it stays in no replica set, run rs.initiate(), and make a client that you hand in anew"
    assert_translated(error, UnavailableError, f"{WHERE}: the server has just started: {advice}")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (driver.PyMongoError(SECRET), "PyMongoError"),
        (driver.CollectionInvalid(SECRET), "CollectionInvalid"),
        (driver.InvalidName(SECRET), "InvalidName"),
    ],
)
def test_what_has_no_meaning_of_its_own_is_named(error: driver.PyMongoError, name: str) -> None:
    assert_translated(error, MongoStoreError, f"{WHERE}: {name}")


@pytest.mark.parametrize(
    ("error", "is_hidden", "is_parted"),
    [
        (ConflictError("ours"), True, True),
        (ConflictError("ours"), False, False),
        (KeyError("not ours"), True, False),
    ],
)
def test_only_what_an_error_of_ours_hides_is_parted_from_it(
    error: Exception, is_hidden: bool, is_parted: bool
) -> None:
    error.__context__ = context = failure(1)
    error.__suppress_context__ = is_hidden

    with pytest.raises(type(error)) as raised, drop_driver_context():
        raise error

    assert raised.value is error
    assert error.__context__ is (None if is_parted else context)


def test_where_nothing_is_raised_nothing_happens() -> None:
    with drop_driver_context():
        pass
