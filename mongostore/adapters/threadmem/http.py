"""Requests to a server of role threads: threadmem's own, or ours."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
from pydantic import BaseModel, ValidationError
from requests.auth import AuthBase

from mongostore.adapters.threadmem.env import HUB_API_KEY_ENV
from mongostore.adapters.threadmem.server.models import PostMessageModel
from mongostore.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    MongoStoreError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)

# Seconds to connect, and to wait for an answer.
_TIMEOUT = (5, 60)
_THREADS = "/v1/rolethreads"
_TOKEN = re.compile("[!-~]+")
_OF_REQUESTS = ("response", "request")

Model = TypeVar("Model", bound=BaseModel)


class Bearer(AuthBase):
    """Sends a token in the place of a password in `.netrc` or in the address."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the token into a request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def request(
    address: str,
    method: str,
    thread_id: str | None,
    part: str = "",
    body: Any = None,
    token: str | None = None,
    query: Mapping[str, Any] | None = None,
) -> Any:
    """Send a request about a thread, or about all, and return the JSON of the answer, None if it has none.

    Args:
        address: The server's, such as `http://localhost:8090`.
        method: Of HTTP.
        thread_id: The thread; None for all.
        part: The part of it, such as `/msgs`.
        body: The body, as JSON.
        token: The sender; else `AGENTSEA_HUB_API_KEY`.
        query: The query of the address.

    Errors about an answer, or the lack of one, are also those of requests, with the `response`.

    Raises:
        ConfigurationError: There is no token, or it or the address cannot be one.
        AccessDeniedError: The server does not accept the token.
        NotFoundError: The server knows no such thread.
        ConflictError: The request conflicts with stored data.
        InvalidValueError: JSON cannot say what is sent, or the server refuses it.
        UnavailableError: The server does not answer, or fails.
    """
    token = token or os.environ.get(HUB_API_KEY_ENV)
    if not token:
        raise ConfigurationError(f"Hub API key not found, set ${HUB_API_KEY_ENV}")
    if not _TOKEN.fullmatch(token):
        raise ConfigurationError(f"the key in ${HUB_API_KEY_ENV} has characters that no key has")
    where = f"{method} {_THREADS}{f'/{thread_id}' if thread_id else ''}{part} of {redact_url(address)}"
    path = f"{_THREADS}/{quote(thread_id, safe='')}{part}" if thread_id else _THREADS
    try:
        data = None if body is None else json.dumps(body, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InvalidValueError("request", f"{where} would say what JSON cannot") from None
    headers = {} if data is None else {"Content-Type": "application/json"}
    url = address.rstrip("/") + path
    answer = _send(where, method, url, params=query, data=data, headers=headers, auth=Bearer(token))
    if not 200 <= answer.status_code < 300:
        raise _refusal(answer, where, thread_id)
    try:
        return answer.json()
    except (ValueError, RecursionError):
        return None


def read_answer(model: type[Model], answer: Any, address: str) -> Model:
    """Return what a server has answered.

    Raises:
        UnavailableError: It is something else.
    """
    try:
        return model.model_validate(answer)
    except ValidationError:
        # Which would quote it.
        name = model.__name__
        raise UnavailableError(f"{redact_url(address)} answered with no {name}", retryable=False) from None


def redact_url(address: str) -> str:
    """Return the address of a server without credentials that may be in it.

    Raises:
        ConfigurationError: It is no such address.
    """
    try:
        parts = urlsplit(address)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise ConfigurationError("the address of a server of role threads begins with http:// or https://")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def check_supported(address: str, member: str) -> None:
    """Refuse to post what a server would drop without a word.

    Raises:
        UnsupportedError: Its messages have no such member.
        UnavailableError: The server does not answer.
    """
    if member not in _post_body(address):
        raise UnsupportedError(
            f"the server at {redact_url(address)} does not keep {member} of messages: leave it out, or let "
            "mongostore.servers.threadmem serve the threads"
        )


@lru_cache
def _post_body(address: str) -> frozenset[str]:
    """Return what a server's description says that a posted message may have."""
    where = f"GET /openapi.json of {redact_url(address)}"
    answer = _send(where, "GET", f"{address.rstrip('/')}/openapi.json")
    if answer.status_code >= 500:
        # Not for good, as what is returned is.
        raise _refusal(answer, where, None)
    if answer.status_code == 404 and answer.headers.get("Content-Type") == "application/problem+json":
        # One of ours, which does not describe itself.
        return frozenset(PostMessageModel.model_fields)
    try:
        return frozenset(answer.json()["components"]["schemas"]["PostMessageModel"]["properties"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return frozenset()


def _send(where: str, method: str, url: str, **arguments: Any) -> requests.Response:
    try:
        # A redirect would turn what is posted into a look at something.
        return requests.request(method, url, timeout=_TIMEOUT, allow_redirects=False, **arguments)
    except requests.Timeout as error:
        raise _as_of_requests(UnavailableError(f"{where} was not answered in time"), type(error)) from None
    except requests.exceptions.InvalidURL as error:
        message = f"{where} cannot be sent: that is no address of a server"
        raise _as_of_requests(ConfigurationError(message), type(error)) from None
    except requests.RequestException as error:
        message = f"{where} failed: {type(error).__name__}"
        raise _as_of_requests(UnavailableError(message), type(error)) from None


def _refusal(answer: requests.Response, where: str, thread_id: str | None) -> Exception:
    error = _refusal_of_status(answer.status_code, where, thread_id)
    return _as_of_requests(error, requests.HTTPError, answer)


def _refusal_of_status(status: int, where: str, thread_id: str | None) -> MongoStoreError:
    match status:
        case 300 | 301 | 302 | 303 | 307 | 308:
            return ConfigurationError(f"{where} is redirected ({status}): give the address that it leads to")
        case 401 | 403:
            return AccessDeniedError(f"{where} was refused: the token is not accepted there ({status})")
        case 404 if thread_id:
            return NotFoundError("thread", thread_id)
        case 409:
            return ConflictError(f"{where} was refused: it is there already")
        case 400 | 413 | 422:
            return InvalidValueError("request", f"{where} was refused ({status})")
    return UnavailableError(f"{where} was answered with {status}", retryable=status in (429, 502, 503, 504))


def _as_of_requests(
    error: MongoStoreError, kind: type[requests.RequestException], response: requests.Response | None = None
) -> MongoStoreError:
    """Return an error that is one of requests', too, for programs that catch those around threadmem."""
    # As all of requests' are.
    made = OSError.__new__(_combine(type(error), kind))
    made.args = error.args
    vars(made).update(vars(error), response=response, request=None if response is None else response.request)
    return made


def _combine(ours: type[MongoStoreError], theirs: type[requests.RequestException]) -> type[MongoStoreError]:
    def reduce(self: MongoStoreError) -> tuple[Any, ...]:
        # An answer is of this process alone.
        plain = ours.__new__(ours)
        plain.args = self.args
        vars(plain).update({name: value for name, value in vars(self).items() if name not in _OF_REQUESTS})
        return _as_of_requests, (plain, theirs)

    return type(ours.__name__, (ours, theirs), {"__reduce__": reduce, "__module__": ours.__module__})
