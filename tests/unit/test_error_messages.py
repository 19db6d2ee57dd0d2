"""What an error says: one line that a log or a terminal shows as it is."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from mongostore import errors

# A line break, a terminal sequence, an override of the direction of writing, and half a surrogate pair.
HOSTILE = "a\nERROR forged\x1b[2J\u202e\ud800\x00 \u2028"


def classes() -> Iterator[type[errors.MongoStoreError]]:
    for _, member in inspect.getmembers(errors, inspect.isclass):
        if issubclass(member, errors.MongoStoreError):
            yield member


@pytest.mark.parametrize("error", [*classes()], ids=lambda error: error.__name__)
def test_a_message_is_one_printable_line_whatever_it_names(error: type[errors.MongoStoreError]) -> None:
    texts = [
        parameter
        for parameter in inspect.signature(error.__init__).parameters.values()
        if parameter.default is parameter.empty and parameter.annotation in ("str", "int")
    ]
    arguments = [5 if parameter.annotation == "int" else HOSTILE for parameter in texts]
    made = error(*(arguments or [HOSTILE]))
    assert str(made).isprintable()
    assert "ERROR forged" in str(made)


def test_a_message_of_printable_text_is_left_as_it_is() -> None:
    error = errors.InvalidValueError("metadata.café", "must be “text”")
    assert str(error) == "metadata.café: must be “text”"
    assert error.path == "metadata.café"
