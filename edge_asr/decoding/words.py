"""Words with times and confidence, made from tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edge_asr.decoding.greedy import Token
from edge_asr.decoding.hypotheses import BREAK, WORD
from edge_asr.decoding.tokens import WORD_START
from edge_asr.errors import OptionError


@dataclass(frozen=True, slots=True)
class Word:
    """A word.

    Attributes:
        word: Its letters.
        start: The frame at which its first token begins, counted from the first frame decoded.
        end: The frame after the one at which its last token begins.
        confidence: How likely it is to be right, from 0 to 1.
    """

    word: str
    start: int
    end: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Confidence:
    """Turns the log-probabilities of a word's tokens into the probability that the word is right.

    A logistic function of the least likely token's probability, fitted on a development set (Platt 1999;
    ``scripts/decoders.py --confidence`` fits it). A word is as sure as its weakest token.

    Args:
        offset: Log-odds of a word with an impossible token.
        slope: Log-odds gained up to a word whose tokens are certain; 0 or more.

    Raises:
        OptionError: If a value isn't finite or the slope is negative.

    Example:
        >>> Confidence(offset=-2.0, slope=4.0)([0.0, math.log(0.5)])
        0.5
    """

    offset: float = -4.68
    slope: float = 6.86

    def __post_init__(self) -> None:
        if not (math.isfinite(self.offset) and math.isfinite(self.slope) and self.slope >= 0):
            raise OptionError(f"confidence offset={self.offset!r}, slope={self.slope!r}: expected numbers, slope ≥ 0")

    def __call__(self, log_probs: Sequence[float]) -> float:
        """Gives the probability for a word with these token log-probabilities."""
        odds = self.offset + self.slope * math.exp(min(0.0, min(log_probs, default=0.0)))
        return 1.0 / (1.0 + math.exp(-max(-50.0, odds)))


def words_of(tokens: Iterable[Token], pieces: Sequence[str], confidence: Confidence) -> list[Word]:
    """Groups tokens into words.

    Args:
        tokens: Tokens in order; `BREAK` ends a word.
        pieces: The token table's pieces.
        confidence: What a word's confidence is made of.

    Example:
        >>> words_of([Token(1, 3, 0.0), Token(2, 5, 0.0)], ["<blank>", "▁HE", "LLO"], Confidence())[0].word
        'HELLO'
    """
    words: list[Word] = []
    spelled, parts = "", list[Token]()

    def close() -> None:
        if spelled:
            sure = confidence([token.log_prob for token in parts])
            words.append(Word(spelled, parts[0].frame, parts[-1].frame + 1, sure))

    for token in tokens:
        piece = WORD_START if token.id == BREAK else pieces[token.id]
        for place, part in enumerate(piece.split(WORD_START)):
            if place:
                close()
                spelled, parts = "", []
            if part:
                spelled += part
                parts.append(token)
    close()
    return words


def spoken_words(tokens: Iterable[Token], spelling: Callable[[int], str], confidence: Confidence) -> list[Word]:
    """Groups phones into the words that were found in them; phones after the last word's end are left out.

    Args:
        tokens: Tokens in order: phones, `BREAK`, and ``WORD - w`` where word w ends.
        spelling: Gives a word's letters.
        confidence: What a word's confidence is made of.

    Example:
        >>> tokens = [Token(42, 3, 0.0), Token(7, 5, 0.0), Token(WORD - 9, 5, 0.0), Token(44, 8, 0.0)]
        >>> spoken_words(tokens, {9: "ODD"}.__getitem__, Confidence())[0].word
        'ODD'
    """
    words: list[Word] = []
    parts: list[Token] = []
    for token in tokens:
        if token.id > BREAK:
            parts.append(token)
            continue
        if token.id <= WORD and parts:
            sure = confidence([part.log_prob for part in parts])
            words.append(Word(spelling(WORD - token.id), parts[0].frame, parts[-1].frame + 1, sure))
        parts = []
    return words
