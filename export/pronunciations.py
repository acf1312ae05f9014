"""Pronunciations for the language model's trie of phones, from a dictionary in CMUdict's format."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_asr.errors import DataError, OptionError
from edge_asr.training.phones import PHONES, Pronunciations

TABLE = ("<blank>", *PHONES)
"""The phones' names in order of id."""
VARIANTS = 3
"""How many pronunciations a word has at most, unless told otherwise."""
_PLACE = {phone: place for place, phone in enumerate(PHONES, start=1)}
_STRESS = re.compile(r"[012]$")
_VARIANT = re.compile(r"\(\d+\)$")


class Dictionary:
    """Words and all the ways to say them.

    Args:
        words: Upper-case word → its pronunciations as ids of phones without marks, the first one first.
        variants: How many of them count.

    Example:
        >>> dictionary = Dictionary({"A": [[3], [12]], "CAT": [[20, 2, 31]]})
        >>> dictionary.say("a"), dictionary.say("CAT'S"), dictionary.say("DOG")
        ([(42,), (51,)], [(59, 2, 31, 29)], [])
    """

    def __init__(self, words: Mapping[str, Sequence[Sequence[int]]], variants: int = VARIANTS) -> None:
        if variants < 1:
            raise OptionError(f"variants={variants}: expected at least 1")
        self._words, self._variants = words, variants

    @classmethod
    def read(cls, path: Path, variants: int = VARIANTS) -> Dictionary:
        """Reads a dictionary: ``word PH1 PH2 …`` a line, further pronunciations at ``word(2)``, remarks after ``#``.

        Raises:
            DataError: The file can't be read, or a line names an unknown phone or none.
        """
        words: dict[str, list[list[int]]] = {}
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: can't be read: {error}") from error
        for number, line in enumerate(lines, start=1):
            word, *phones = line.partition("#")[0].split() or [""]
            if not word or word.startswith(";;;"):
                continue
            plain = [_STRESS.sub("", phone) for phone in phones]
            wrong = next((phone for phone in plain if phone not in _PLACE or phone.startswith("▁")), None)
            if wrong is not None or not plain:
                what = "no phones" if wrong is None else f"the phone {wrong!r}, which isn't ARPAbet"
                raise DataError(f"{path}:{number}: {what}")
            ids = [_PLACE[phone] for phone in plain]
            ways = words.setdefault(_VARIANT.sub("", word).upper(), [])
            if ids not in ways:  # they may differ in stress alone
                ways.append(ids)
        if not words:
            raise DataError(f"{path}: holds no word")
        return cls(words, variants)

    def say(self, word: str) -> list[tuple[int, ...]]:
        """Gives a word's pronunciations as ids of phones, the start marked; those of a possessive by its stem."""
        word = word.upper()
        stem = word if word in self._words else word.removesuffix("'S")
        ways = (Pronunciations({stem: list(way)}).encode(word) for way in self._words.get(stem, ())[: self._variants])
        return [tuple(way) for way in ways if way]
