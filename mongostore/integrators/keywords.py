"""The default integrator: keywords, found without a model, the same for the same turns every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yake import KeywordExtractor

from mongostore.integrators.transcripts import parts_of
from mongostore.models import Turn

# The extractor takes a tenth of a second for so many.
_CHARACTERS = 20_000
_KEYWORDS = 8
_WORDS = 3
_KEYWORD_CHARACTERS = 100


class KeywordIntegrator:
    """Finds the keywords of chat turns by YAKE, which knows English best and needs nothing but the text.

    It blocks: an insight of 20,000 characters takes a tenth of a second.
    """

    def __call__(self, participant: str, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        """Return an insight for each 20,000 characters: their keywords and their first and last turn."""
        return [
            {
                "kind": "keywords",
                "keywords": _keywords("\n".join(text for _, text in part)),
                "first_turn": part[0][0].number,
                "last_turn": part[-1][0].number,
            }
            for part in parts_of(turns, _CHARACTERS)
        ]


def _keywords(text: str) -> list[str]:
    # One for each call, as it keeps what it works with.
    extractor = KeywordExtractor(lan="en", n=_WORDS, top=_KEYWORDS)
    return [keyword[:_KEYWORD_CHARACTERS] for keyword, _ in extractor.extract_keywords(text)]
