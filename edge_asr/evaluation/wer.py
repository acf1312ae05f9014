"""Word and character error rates, with jiwer, over normalised text (upper-case A–Z, apostrophe and space)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer

from edge_asr.decoding.text import normalise


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """How a hypothesis differs from its reference, in words or in characters. Counts add up over utterances.

    Args:
        hits: units that are right.
        substitutions: units that are another one in the hypothesis.
        deletions: units of the reference that the hypothesis lacks.
        insertions: units that only the hypothesis has.

    Example:
        >>> (word_errors("a b", "a c") + word_errors("d", "d e")).rate
        0.6666666666666666
    """

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """Edits from the reference to the hypothesis."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference(self) -> int:
        """Length of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors per unit of the reference, as a fraction; an empty reference counts as one unit."""
        return self.errors / max(1, self.reference)

    def __add__(self, other: ErrorCount) -> ErrorCount:
        return ErrorCount(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


def word_errors(reference: str, hypothesis: str) -> ErrorCount:
    """Word errors of one utterance; both texts are normalised first.

    Example:
        >>> word_errors("Don't stop, now!", "DON'T STOP").deletions
        1
    """
    result = jiwer.process_words(normalise(reference), normalise(hypothesis))
    return ErrorCount(result.hits, result.substitutions, result.deletions, result.insertions)


def edits(reference: Sequence[int], hypothesis: Sequence[int]) -> int:
    """Substitutions, deletions and insertions between two sequences of ids, such as phones.

    Example:
        >>> edits([3, 1, 4], [3, 4, 4, 1])
        2
    """
    if not len(reference):
        return len(hypothesis)
    first, second = ("".join(chr(256 + i) for i in ids) for ids in (reference, hypothesis))
    result = jiwer.process_characters(first, second)
    return result.substitutions + result.deletions + result.insertions


def words_hit(reference: str, hypothesis: str) -> list[bool]:
    """For each word of the reference whether the hypothesis has it; both texts are normalised first.

    Example:
        >>> words_hit("one two three", "one tree")
        [True, False, False]
    """
    result = jiwer.process_words(normalise(reference), normalise(hypothesis))
    hit = [False] * len(result.references[0])
    for part in result.alignments[0]:
        if part.type == "equal":
            hit[part.ref_start_idx : part.ref_end_idx] = [True] * (part.ref_end_idx - part.ref_start_idx)
    return hit


def char_errors(reference: str, hypothesis: str) -> ErrorCount:
    """Character errors of one utterance, spaces between words counted; both texts are normalised first.

    Example:
        >>> char_errors("cat", "cart").insertions
        1
    """
    result = jiwer.process_characters(normalise(reference), normalise(hypothesis))
    return ErrorCount(result.hits, result.substitutions, result.deletions, result.insertions)
