"""Phones of words and transcripts, from a dictionary in CMUdict's format: for training and for a search."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_asr.errors import DataError, OptionError

_ARPABET = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"

_PLAIN = tuple(_ARPABET.split())

PHONES = (*_PLAIN, *(f"▁{phone}" for phone in _PLAIN))
"""ARPAbet without stress, within a word and, with ``▁``, at its start; an id is a place here plus one, 0 is blank.

With starts marked, phones say where words end as word pieces do, and the same search can read them.
"""

TABLE = ("<blank>", *PHONES)
"""Names in order of id, as bundles and language-model files list them."""

VARIANTS = 3
"""How many pronunciations of a word a search knows, unless told otherwise."""

_IDS = {phone: number for number, phone in enumerate(_PLAIN, start=1)}
_STRESS, _VARIANT = re.compile(r"[012]$"), re.compile(r"\(\d+\)$")
_VOICELESS = {"P", "T", "K", "F", "TH"}
_SIBILANTS = {"S", "Z", "SH", "ZH", "CH", "JH"}


class Pronunciations:
    """Words and the ways to say them.

    Args:
        words: upper-case word → its pronunciations as ids of phones without marks, the first one first.

    Example:
        >>> known = Pronunciations({"A": [[3], [12]], "CAT": [[20, 2, 31]]})
        >>> known.encode("A CAT'S"), known.say("a"), known.say("DOG")
        ([42, 59, 2, 31, 29], [(42,), (51,)], [])
    """

    def __init__(self, words: Mapping[str, Sequence[Sequence[int]]]) -> None:
        self.words = words

    @classmethod
    def read(cls, path: Path) -> Pronunciations:
        """Reads a dictionary: ``word PH1 PH2 …`` a line, ``word(2)`` for further ways to say it, remarks after ``#``.

        Raises:
            DataError: the file can't be read, or a line names an unknown phone or none.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"pronunciations {str(path)!r} cannot be read: {error}") from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, name: str) -> Pronunciations:
        """Takes a dictionary's text, as ``read`` does; ``name`` is what messages call it.

        Example:
            >>> Pronunciations.parse("cat K AE1 T", "mine").words
            {'CAT': [[20, 2, 31]]}
        """
        words: dict[str, list[list[int]]] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            word, *phones = line.partition("#")[0].split() or [""]
            if not word or word.startswith(";;;"):
                continue
            plain = [_STRESS.sub("", phone) for phone in phones]
            wrong = next((phone for phone in plain if phone not in _IDS), None)
            if wrong is not None or not plain:
                what = "no phones" if wrong is None else f"the phone {wrong!r}"
                raise DataError(f"pronunciations {name!r}, line {number}: {what}; allowed: {' '.join(_PLAIN)}")
            ids, ways = [_IDS[phone] for phone in plain], words.setdefault(_VARIANT.sub("", word).upper(), [])
            if ids not in ways:  # they may differ in stress alone
                ways.append(ids)
        if not words:
            raise DataError(f"pronunciations {name!r} hold no word")
        return cls(words)

    def encode(self, text: str) -> list[int] | None:
        """Phone ids of a transcript, each word said the first way; None if a word isn't known."""
        ids: list[int] = []
        for word in text.upper().split():
            ways = self.say(word, variants=1)
            if not ways:
                return None
            ids += ways[0]
        return ids

    def say(self, word: str, variants: int = VARIANTS) -> list[tuple[int, ...]]:
        """A word's pronunciations as ids of phones, the start marked; none if it isn't known.

        A known word with ``'S``, which dictionaries list for few, is said as its last sound asks.

        Raises:
            OptionError: fewer than one variant.
        """
        if variants < 1:
            raise OptionError(f"variants={variants}: expected at least 1")
        word = word.upper()
        ways = self.words.get(word, ())[:variants]
        if not ways and word.endswith("'S"):
            ways = [[*way, *_possessive(way)] for way in self.words.get(word.removesuffix("'S"), ())[:variants]]
        return [(way[0] + len(_PLAIN), *way[1:]) for way in ways if way]


def _possessive(way: Sequence[int]) -> list[int]:
    last = _PLAIN[way[-1] - 1]
    ending = ["S"] if last in _VOICELESS else ["AH", "Z"] if last in _SIBILANTS else ["Z"]
    return [_IDS[phone] for phone in ending]
