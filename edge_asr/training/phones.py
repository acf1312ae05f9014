"""Pronunciations of transcripts, from a dictionary in CMUdict's format, as targets of an auxiliary loss."""

from __future__ import annotations

import re
from pathlib import Path

from edge_asr.errors import DataError

_ARPABET = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"

_PLAIN = tuple(_ARPABET.split())

PHONES = (*_PLAIN, *(f"▁{phone}" for phone in _PLAIN))
"""ARPAbet without stress, within a word and, with ``▁``, at its start; an id is a place here plus one, 0 is blank.

With starts marked, phones say where words end as word pieces do, and the same search can read them.
"""

_IDS = {phone: number for number, phone in enumerate(_PLAIN, start=1)}
_STRESS = re.compile(r"[012]$")
_VOICELESS = {"P", "T", "K", "F", "TH"}
_SIBILANTS = {"S", "Z", "SH", "ZH", "CH", "JH"}


class Pronunciations:
    """Words and their phones.

    Args:
        words: upper-case word → ids of phones without marks.

    Example:
        >>> Pronunciations({"A": [3], "CAT": [20, 2, 31]}).encode("A CAT'S")
        [42, 59, 2, 31, 29]
    """

    def __init__(self, words: dict[str, list[int]]) -> None:
        self.words = words

    @classmethod
    def read(cls, path: Path) -> Pronunciations:
        """Reads a dictionary: ``word PH1 PH2 …`` a line, ``word(2)`` for further ways to say it, remarks after ``#``.

        The first pronunciation counts.

        Raises:
            DataError: the file can't be read, or a line names an unknown phone or none.
        """
        words: dict[str, list[int]] = {}
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"pronunciations {str(path)!r} cannot be read: {error}") from error
        for number, line in enumerate(lines, start=1):
            word, *phones = line.partition("#")[0].split() or [""]
            if not word or word.startswith(";;;") or word.endswith(")"):
                continue
            plain = [_STRESS.sub("", phone) for phone in phones]
            wrong = next((phone for phone in plain if phone not in _IDS), None)
            if wrong is not None or not plain:
                what = "no phones" if wrong is None else f"the phone {wrong!r}"
                raise DataError(f"pronunciations {str(path)!r}, line {number}: {what}; allowed: {' '.join(_PLAIN)}")
            words[word.upper()] = [_IDS[phone] for phone in plain]
        if not words:
            raise DataError(f"pronunciations {str(path)!r} hold no word")
        return cls(words)

    def encode(self, text: str) -> list[int] | None:
        """Phone ids of a transcript; None if a word isn't known (the loss leaves such an utterance out)."""
        ids: list[int] = []
        for word in text.upper().split():
            found = self.words.get(word) or self._possessive(word)
            if found is None:
                return None
            ids += [found[0] + len(_PLAIN), *found[1:]]
        return ids

    def _possessive(self, word: str) -> list[int] | None:
        """A known word with ``'S``, which dictionaries list for few: said as its last sound asks."""
        stem = self.words.get(word.removesuffix("'S")) if word.endswith("'S") else None
        if stem is None:
            return None
        last = _PLAIN[stem[-1] - 1]
        ending = ["S"] if last in _VOICELESS else ["AH", "Z"] if last in _SIBILANTS else ["Z"]
        return [*stem, *(_IDS[phone] for phone in ending)]
