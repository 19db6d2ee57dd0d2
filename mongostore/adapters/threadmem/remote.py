"""Requests to a server of role threads: threadmem's own, or ours."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import requests

from mongostore.adapters.threadmem.env import HUB_API_KEY_ENV
from mongostore.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)

# Seconds to connect, and to wait for an answer.
_TIMEOUT = (5, 60)
_THREADS = "/v1/rolethreads"


def request(
    address: str,
    method: str,
    thread_id: str | None,
    part: str = "",
    body: Any = None,
    token: str | None = None,
) -> Any:
    """Send a request about a thread, or about all, and return the JSON of the answer, None if it has none.

    Args:
        address: The server's, such as `http://localhost:8090`.
        method: Of HTTP.
        thread_id: The thread; None for all.
        part: The part of it, such as `/msgs`.
        body: What is sent, as JSON.
        token: Who sends it; else `AGENTSEA_HUB_API_KEY`.

    Raises:
        ConfigurationError: There is no token, or the address cannot be one.
        AccessDeniedError: The server does not accept the token.
        NotFoundError: The server knows no such thread.
        ConflictError: What is asked meets what is there.
        InvalidValueError: The server refuses what is sent.
        UnavailableError: The server does not answer, or fails.
    """
    token = token or os.environ.get(HUB_API_KEY_ENV)
    if not token:
        raise ConfigurationError(f"Hub API key not found, set ${HUB_API_KEY_ENV}")
    where = f"{method} {_THREADS}{f'/{thread_id}' if thread_id else ''}{part} of {shown(address)}"
    path = f"{_THREADS}/{thread_id}{part}" if thread_id else _THREADS
    headers = {"Authorization": f"Bearer {token}"}
    answer = _send(where, method, address.rstrip("/") + path, json=body, headers=headers)
    if not answer.ok:
        raise _refusal(answer.status_code, where, thread_id)
    try:
        return answer.json()
    except ValueError:
        return None


def shown(address: str) -> str:
    """Return an address without the credentials that may be in it."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def check_keeps(address: str, member: str) -> None:
    """Refuse to post what a server would drop without a word.

    Raises:
        UnsupportedError: Its messages have no such member.
        UnavailableError: The server does not answer.
    """
    if member not in _posted_members(address):
        raise UnsupportedError(
            f"the server at {shown(address)} does not keep {member} of messages: leave it out, or let "
            "mongostore.servers.threadmem serve the threads"
        )


@lru_cache
def _posted_members(address: str) -> frozenset[str]:
    """Return what a server's description says that a posted message may have."""
    where = f"GET /openapi.json of {shown(address)}"
    answer = _send(where, "GET", f"{address.rstrip('/')}/openapi.json")
    try:
        return frozenset(answer.json()["components"]["schemas"]["PostMessageModel"]["properties"])
    except (ValueError, KeyError, TypeError):
        return frozenset()


def _send(where: str, method: str, url: str, **arguments: Any) -> requests.Response:
    try:
        return requests.request(method, url, timeout=_TIMEOUT, **arguments)
    except requests.Timeout:
        raise UnavailableError(f"{where} was not answered in time") from None
    except (
        requests.exceptions.InvalidURL,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidSchema,
    ):
        raise ConfigurationError(f"{where} cannot be sent: that is no address of a server") from None
    except requests.RequestException as error:
        raise UnavailableError(f"{where} failed: {type(error).__name__}") from None


def _refusal(status: int, where: str, thread_id: str | None) -> Exception:
    match status:
        case 401 | 403:
            return AccessDeniedError(f"{where} was refused: the token is not accepted there ({status})")
        case 404 if thread_id:
            return NotFoundError("thread", thread_id)
        case 409:
            return ConflictError(f"{where} was refused: it is there already")
        case 400 | 413 | 422:
            return InvalidValueError("request", f"{where} was refused ({status})")
    return UnavailableError(f"{where} was answered with {status}", retryable=status in (429, 502, 503, 504))
