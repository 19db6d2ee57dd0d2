"""What the driver reports, told in our words and without its own."""

from __future__ import annotations

import pytest
from pymongo import errors as driver

from mongostore.engines.driver_errors import MAX_DOCUMENT_BYTES, drop_driver_context, translate_error
from mongostore.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConflictError,
    DocumentTooLargeError,
    IndexConflictError,
    MongoStoreError,
    NotOpenError,
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


def told(error: driver.PyMongoError, kind: type[MongoStoreError], message: str) -> None:
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
    told(error, UnavailableError, f"{WHERE}: {reason}")


@pytest.mark.parametrize(
    "code",
    [
        *(6, 7, 43, 64, 89, 91, 112, 133, 134, 189, 388),
        *(9001, 10107, 11600, 11602, 13388, 13435, 13436),
    ],
)
def test_a_server_in_a_failover_or_under_load_is_away(code: int) -> None:
    message = f"{WHERE}: the server is busy or changing its primary (code {code}, CodeName)"
    told(failure(code), UnavailableError, message)


@pytest.mark.parametrize("label", ["RetryableWriteError", "TransientTransactionError"])
@pytest.mark.parametrize("code", [1, 251])
def test_what_the_server_labels_as_passing_is_so(code: int, label: str) -> None:
    message = f"{WHERE}: the server is busy or changing its primary (code {code}, CodeName)"
    told(failure(code, "Other", label), UnavailableError, message)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (failure(50), 50),
        (failure(262), 262),
        (driver.ExecutionTimeout(SECRET, 50, {"codeName": "CodeName"}), 50),
        (driver.WTimeoutError(SECRET, 64, {"codeName": "CodeName"}), 64),
    ],
)
def test_what_the_server_has_given_up_has_no_answer_in_time(
    error: driver.OperationFailure, code: int
) -> None:
    reason = "no answer in time" if error.timeout else "the server is busy or changing its primary"
    told(error, UnavailableError, f"{WHERE}: {reason} (code {code}, CodeName)")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (13, "the user lacks a right"),
        (18, "wrong user, password or authSource"),
        (8000, "Atlas refused the user"),
    ],
)
@pytest.mark.parametrize("label", ["Other", "RetryableWriteError"])
def test_refused_credentials_are_denied_access(code: int, reason: str, label: str) -> None:
    told(failure(code, label), AccessDeniedError, f"{WHERE}: {reason} (code {code})")


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
    message = f"{WHERE}: an index of that name or those keys differs (code {code})"
    told(failure(code), IndexConflictError, message)


@pytest.mark.parametrize("code", [260, 280, 286])
def test_a_token_older_than_the_history_is_a_conflict(code: int) -> None:
    message = f"{WHERE}: the token is older than the server's history; read anew, then watch"
    told(failure(code), ConflictError, message)


@pytest.mark.parametrize("code", [59, 115, 263, 303, 40573])
def test_what_the_deployment_does_not_know_is_unsupported(code: int) -> None:
    message = f"{WHERE}: this deployment cannot do that (code {code}, CodeName)"
    told(failure(code), UnsupportedError, message)


@pytest.mark.parametrize("code", [11000, 11001, 12582, None])
def test_a_taken_key_is_a_conflict(code: int | None) -> None:
    error = driver.DuplicateKeyError(SECRET, code, {"keyValue": {"text": SECRET}, "errmsg": SECRET})
    told(error, ConflictError, f"{WHERE}: a unique key is taken")


@pytest.mark.parametrize(("code", "shown"), [(26, 26), (1, 1), (None, 0)])
def test_any_other_refusal_is_named_by_its_code(code: int | None, shown: int) -> None:
    message = f"{WHERE}: the server refused it (code {shown}, CodeName)"
    told(failure(code, "Other"), MongoStoreError, message)


def test_a_refusal_without_details_is_unnamed() -> None:
    message = f"{WHERE}: the server refused it (code 26, unnamed)"
    told(driver.OperationFailure(SECRET, 26), MongoStoreError, message)
    told(driver.OperationFailure(SECRET, 26, {}), MongoStoreError, message)


def test_a_closed_client_is_a_store_that_is_not_open() -> None:
    told(driver.InvalidOperation(SECRET), NotOpenError, f"{WHERE}: the client is closed")


def test_options_that_do_not_go_together_are_a_matter_of_configuration() -> None:
    message = f"{WHERE}: the URI's options do not go together"
    told(driver.ConfigurationError(SECRET), ConfigurationError, message)
    told(driver.InvalidURI(SECRET), ConfigurationError, message)


def test_a_server_that_has_just_started_is_away() -> None:
    error = driver.ConfigurationError(f"Sessions are not supported by this MongoDB deployment {SECRET}")
    told(error, UnavailableError, f"{WHERE}: the server has just started")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (driver.PyMongoError(SECRET), "PyMongoError"),
        (driver.CollectionInvalid(SECRET), "CollectionInvalid"),
        (driver.InvalidName(SECRET), "InvalidName"),
    ],
)
def test_what_has_no_meaning_of_its_own_is_named(error: driver.PyMongoError, name: str) -> None:
    told(error, MongoStoreError, f"{WHERE}: {name}")


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
