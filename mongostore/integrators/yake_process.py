"""The process that extracts keywords for `KeywordIntegrator`: texts by line on stdin, keywords on stdout.

It is run as a file, so that it starts without the package and its imports.
"""

from __future__ import annotations

import json
import signal
import sys
from types import FrameType
from typing import NoReturn

from yake import KeywordExtractor

_KEYWORDS = 8
_WORDS = 3
_KEYWORD_CHARACTERS = 100
# Seconds of CPU time for a text and for a line. 20,000 characters of prose take 0.1 s, but the tokenizer is
# quadratic in dangling punctuation: such texts would take minutes, and have no keywords instead.
_TEXT_SECONDS = 0.5
_LINE_SECONDS = 3.0


def _extract(text: str) -> list[str]:
    # One for each text, as an extractor grows with each.
    extractor = KeywordExtractor(lan="en", n=_WORDS, top=_KEYWORDS)
    return [keyword[:_KEYWORD_CHARACTERS] for keyword, _ in extractor.extract_keywords(text)]


def _extract_in_time(text: str, seconds: float) -> tuple[list[str], float]:
    """Return the keywords of a text, none if it takes too long, and the time that is left."""
    if seconds <= 0:
        return [], 0.0
    granted = min(seconds, _TEXT_SECONDS)
    left, keywords = 0.0, list[str]()
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, granted)
        keywords = _extract(text)
        left, _ = signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except TimeoutError:
        pass
    return keywords, seconds - granted + left


def _expire(number: int, frame: FrameType | None) -> NoReturn:
    raise TimeoutError


def main() -> None:
    """Answer lines until stdin ends, which it does when the parent process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGVTALRM, _expire)
    for line in sys.stdin.buffer:
        seconds, found = _LINE_SECONDS, []
        for text in json.loads(line):
            keywords, seconds = _extract_in_time(text, seconds)
            found.append(keywords)
        sys.stdout.buffer.write(json.dumps(found).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
