"""Text: normalised for comparison, formatted for people."""

from __future__ import annotations

import re
import unicodedata
from typing import Protocol

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'"})
_OTHER = re.compile(r"[^A-Z']+")


class Formatter(Protocol):
    """Makes decoded text fit for people; a punctuation step plugs in here."""

    def __call__(self, text: str, /) -> str:
        """Takes upper-case words with single spaces and gives the text to show."""
        ...


def lower_case(text: str) -> str:
    """The default formatter: lower case, apostrophes kept.

    Example:
        >>> lower_case("DON'T STOP")
        "don't stop"
    """
    return text.lower()


def normalise(text: str) -> str:
    """Makes texts comparable: upper-case A to Z, apostrophes inside or at the edge of words, single spaces.

    Accents are dropped; every other character separates words. Quotation marks made of apostrophes vanish
    when they stand alone, an apostrophe next to a letter stays.

    Example:
        >>> normalise("Don’t stop — well-known café!")
        "DON'T STOP WELL KNOWN CAFE"
    """
    text = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES)).upper()
    text = "".join(char for char in text if not unicodedata.combining(char))
    words = (word for word in _OTHER.sub(" ", text).split() if word.strip("'"))
    return " ".join(words)
