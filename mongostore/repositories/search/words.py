"""Words: how texts are split into them, and what a search for some of them looks for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mongostore.documents.mapping import StoredDocument
from mongostore.errors import InvalidValueError

# Longer words are found by their beginning.
_LETTERS = 32
# Of a document so many words can be searched for.
_MOST_WORDS = 10_000
# A search asks the index for so many, and looks for the others in what that finds.
_MOST_ASKED = 4
_LEAST_LETTERS = 3

_WORD = re.compile(r"[^\W_]+")
# As a reader sees them.
_SEEN = re.compile(r"\w+")
# Scripts without spaces between words: each two neighbours are a word.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_LAST = "\U0010ffff"
_SPACES = {code: " " for code in range(128) if not chr(code).isalnum()}


def fold(text: str) -> str:
    """Return a text without the difference of case, accents and width."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))


def words_of(texts: Iterable[str]) -> list[str]:
    """Return the different words of texts, as an index holds them."""
    words: dict[str, None] = {}
    for text in texts:
        folded = fold(text)
        # Most texts are ASCII, whose characters a table tells apart faster than a pattern does.
        found = folded.translate(_SPACES).split() if text.isascii() else _WORD.findall(folded)
        words |= dict.fromkeys(found)
        if len(words) >= _MOST_WORDS:
            break
    if max(map(len, words), default=0) > _LETTERS or not all(map(str.isascii, words)):
        words = {part: None for word in words for part in _indexed(word)}
    return [*words][:_MOST_WORDS]


def _indexed(word: str) -> list[str]:
    if _UNSPACED.search(word):
        return [word[start : start + 2] for start in range(len(word))]
    return [word[:_LETTERS]]


@dataclass(frozen=True)
class Terms:
    """The words of a search: each of them is in one text.

    Attributes:
        words: The words that an index is asked for, the longest first.
        literals: The parts to find in the texts themselves, folded.
    """

    words: tuple[str, ...]
    literals: tuple[str, ...]

    @classmethod
    def parse(cls, text: object) -> Terms | None:
        """Return the terms of a search; None where there is nothing to look for."""
        if text is None:
            return None
        if not isinstance(text, str):
            raise InvalidValueError("text", f"must be a string, not {type(text).__name__}")
        words: dict[str, None] = {}
        literals: list[str] = []
        for term in dict.fromkeys(fold(text).split()):
            found = _WORD.findall(term)
            indexed = [word for one in found for word in _asked(one)]
            if indexed != [term]:
                literals.append(term)
                # A few letters beside a sign may be the end of a word.
                indexed = [word for word in indexed if _is_long(word)]
            words |= dict.fromkeys(indexed)
        if not words and not literals:
            return None
        long = [word for word in words if _is_long(word)]
        # A short word is the beginning of too many: it is looked for in what the others find.
        literals += [word for word in words if word not in long and long and word not in literals]
        asked = sorted(long or words, key=len, reverse=True)
        return cls(tuple(asked[:_MOST_ASKED]), tuple(literals + asked[_MOST_ASKED:]))

    def is_in(self, texts: Iterable[str]) -> bool:
        """Return whether the texts of one message have all that is looked for."""
        folded = "\n".join(map(fold, texts))
        words = words_of([folded])
        return all(any(_is_met(word, one) for one in words) for word in self.words) and all(
            any(word.startswith(literal) for word in _WORD.findall(folded))
            if _WORD.fullmatch(literal) and not _UNSPACED.search(literal)
            else literal in folded
            for literal in self.literals
        )

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where the words of a text are that begin like one that is looked for."""
        beginnings = (*self.words, *self.literals)
        return (found.span() for found in _SEEN.finditer(text) if fold(found[0]).startswith(beginnings))

    def word_filter(self, word: str) -> StoredDocument:
        """Return the filter of the documents that have a word, or one that begins with it."""
        if not _is_beginning(word):
            return {"words": word}
        return {"words": {"$elemMatch": {"$gte": word, "$lt": word + _LAST}}}

    def has_words(self, words: Iterable[str]) -> bool:
        """Return whether the words of a document have all those that an index is asked for."""
        known = [*words]
        return all(any(_is_met(word, one) for one in known) for word in self.words)


def _is_long(word: str) -> bool:
    return len(word) >= _LEAST_LETTERS or _UNSPACED.match(word) is not None


def _asked(word: str) -> list[str]:
    indexed = _indexed(word)
    # The last character alone is the beginning of what may follow.
    return indexed[:-1] if len(indexed) > 1 else indexed


def _is_beginning(word: str) -> bool:
    return len(word) >= _LEAST_LETTERS or (len(word) == 1 and _UNSPACED.match(word) is not None)


def _is_met(word: str, stored: str) -> bool:
    return stored.startswith(word) if _is_beginning(word) else stored == word
