"""The README, the site and the help are written in plain sentences: an actor, a verb, one fact."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import PAGES, name_of, strip_code

# A clause in the place of a noun, or nobody in the place of the caller, the server or another process.
_OPENINGS = re.compile(r"(?:^|[.!:] |\| |\* )(?:What(?:ever)?|Who(?:ever|se)?)\b[^.?!|]*[.!|]", re.MULTILINE)
_WORDS = re.compile(
    r"\b(?:whoever|whatever|whosoever|nobody|somebody|is told|are told|tells"
    r"|meanwhile|of its own accord)\b",
    re.IGNORECASE,
)
_LONGEST = 45


def prose_of(text: str) -> str:
    """Return text without code, addresses and directives."""
    text = re.sub(r"`[^`]*`", "code", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return re.sub(r"^(?:    |:::|===).*$", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_are_written_in_plain_sentences(page) -> None:
    prose = prose_of(strip_code(page))
    wrong = [match[0].strip() for match in _OPENINGS.finditer(prose)]
    wrong += [prose[max(0, match.start() - 30) : match.end() + 30] for match in _WORDS.finditer(prose)]
    sentences = re.split(r"(?<=[.!?:])\s|\n\n|\n\* |\n\d\. |\|", prose)
    wrong += [sentence for sentence in sentences if len(sentence.split()) > _LONGEST]
    assert wrong == []
