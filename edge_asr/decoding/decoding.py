"""What every decoder of a stream offers, and the greedy one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.greedy import GreedyDecoder, Token
from edge_asr.decoding.hypotheses import BREAK
from edge_asr.decoding.tokens import WORD_START
from edge_asr.decoding.words import Confidence, Word, words_of
from edge_asr.errors import NumericError, OptionError

LogProbs = npt.NDArray[np.float32]
REVISITABLE = 16
"""Chunks that may still be replaced by a deeper exit's result: 10 s at 640 ms."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to understand an utterance: its text and its score in nats, the higher the better."""

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was decoded.

    Attributes:
        text: The words of the best alternative, with single spaces.
        tokens: Its tokens; frames are counted from the first one decoded.
        words: Its words.
        alternatives: The n best texts, the best first.
    """

    text: str
    tokens: tuple[Token, ...]
    words: tuple[Word, ...]
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True, slots=True)
class Partial:
    """The text while audio still comes.

    Attributes:
        text: All words so far.
        stable: How many of its first words are unlikely to change (only a revisit may change them).
    """

    text: str
    stable: int


class Decoding(Protocol):
    """The decoding of one stream. Log-probabilities come in chunks of any size, (T, V).

    Attributes:
        pieces: The tokens, V, by id.
        phones: Whether they are phones, and the log-probabilities those of phones.
    """

    @property
    def pieces(self) -> tuple[str, ...]: ...

    @property
    def phones(self) -> bool: ...

    def push(self, log_probs: LogProbs) -> None:
        """Takes the next chunk.

        Raises:
            OptionError: If its shape is wrong.
            NumericError: If it holds NaN.
        """
        ...

    def replace(self, chunk: int, log_probs: LogProbs) -> None:
        """Takes a better result for a chunk that was pushed before; all later ones are decoded again.

        Args:
            chunk: Its number, from 0, in the order of the pushes.
            log_probs: As many frames as it had.

        Raises:
            OptionError: If the chunk isn't one of the last `REVISITABLE` since the last boundary, or its size differs.
        """
        ...

    def boundary(self, *, final: bool = False) -> None:
        """Ends a piece of audio: the word ends, and the next token isn't a repeat of the last one.

        Args:
            final: Only the best text so far goes on, so that `restart` can begin there.
        """
        ...

    def restart(self, log_probs: LogProbs) -> None:
        """Takes a better result for all frames since the last boundary (which must have been final) or the start.

        No chunk before can be replaced any more.

        Raises:
            OptionError: If it has another number of frames, or its shape is wrong.
            NumericError: If it holds NaN.
        """
        ...

    def partial(self, provisional: LogProbs) -> Partial:
        """Gives the text so far, with frames that would come next and aren't taken."""
        ...

    @property
    def last_token_frame(self) -> int | None:
        """The frame of the best text's last token; None while there is none."""
        ...

    def result(self, count: int = 1) -> Decoded:
        """Gives the result as if the audio ended here, with at most ``count`` alternatives."""
        ...


def check_log_probs(log_probs: LogProbs, width: int) -> None:
    """Checks a chunk.

    Raises:
        OptionError: If it isn't (T, width).
        NumericError: If it holds NaN.
    """
    if log_probs.ndim != 2 or log_probs.shape[1] != width:
        raise OptionError(f"log_probs has shape {log_probs.shape}, expected (T, {width})")
    if np.isnan(log_probs).any():
        raise NumericError("log_probs holds NaN")


def check_restart(frames: int, new: int) -> None:
    """Checks that a result is as long as what it replaces.

    Raises:
        OptionError: If it isn't.
    """
    if frames != new:
        raise OptionError(f"log_probs has {new} frames; since the last boundary there were {frames}")


def check_replacement(chunk: int, first: int, sizes: Sequence[int], new: int) -> int:
    """Gives the place of a chunk among those kept.

    Args:
        chunk: The number asked for.
        first: The number of the first chunk kept.
        sizes: The frames of those kept.
        new: The frames of the new result.

    Raises:
        OptionError: If the chunk isn't kept or has another size.
    """
    if not first <= chunk < first + len(sizes):
        raise OptionError(f"chunk={chunk!r}: can't be replaced; expected {first} to {first + len(sizes) - 1}")
    if sizes[chunk - first] != new:
        raise OptionError(f"chunk={chunk!r}: has {sizes[chunk - first]} frames, not {new}")
    return chunk - first


@dataclass(frozen=True, slots=True, eq=False)
class _Before:
    """A chunk, and where the greedy decoder stood before it."""

    log_probs: LogProbs
    decoder: GreedyDecoder
    tokens: int
    score: float


class GreedyDecoding:
    """The best token of each frame; see `Decoding` for the methods.

    Args:
        pieces: The token table's pieces.
        blank: Id of the blank.
        confidence: What a word's confidence is made of.
    """

    phones = False

    def __init__(self, pieces: Sequence[str], blank: int = 0, confidence: Confidence | None = None) -> None:
        self.pieces, self._blank = tuple(pieces), blank
        self._confidence = Confidence() if confidence is None else confidence
        self._decoder = GreedyDecoder(blank)
        self._tokens: list[Token] = []
        self._score = 0.0
        self._closed, self._said = 0, list[str]()  # tokens of words that are over, and those words
        self._kept: list[_Before] = []
        self._chunks = 0
        self._begin = _Before(np.zeros((0, len(pieces)), np.float32), self._decoder.copy(), 0, 0.0)

    def push(self, log_probs: LogProbs) -> None:
        check_log_probs(log_probs, len(self.pieces))
        self._kept = [
            *self._kept[1 - REVISITABLE :],
            _Before(log_probs, self._decoder.copy(), len(self._tokens), self._score),
        ]
        self._chunks += 1
        self._take(log_probs)

    def _take(self, log_probs: LogProbs) -> None:
        self._tokens += self._decoder.push(log_probs)
        for best in log_probs.max(axis=1, initial=-np.inf).tolist():  # one by one: the sum doesn't depend on cuts
            self._score += best

    def replace(self, chunk: int, log_probs: LogProbs) -> None:
        check_log_probs(log_probs, len(self.pieces))
        sizes = [len(kept.log_probs) for kept in self._kept]
        place = check_replacement(chunk, self._chunks - len(self._kept), sizes, len(log_probs))
        later = [log_probs, *(kept.log_probs for kept in self._kept[place + 1 :])]
        before = self._kept[place]
        self._decoder, self._score = before.decoder.copy(), before.score
        self._forget(before.tokens)
        self._kept, self._chunks = self._kept[:place], chunk
        for part in later:
            self.push(part)

    def boundary(self, *, final: bool = False) -> None:
        self._decoder.boundary()
        self._tokens.append(Token(BREAK, self._decoder.frame, 0.0))
        self._kept = []
        self._begin = _Before(self._begin.log_probs, self._decoder.copy(), len(self._tokens), self._score)

    def restart(self, log_probs: LogProbs) -> None:
        check_log_probs(log_probs, len(self.pieces))
        begin = self._begin
        check_restart(self._decoder.frame - begin.decoder.frame, len(log_probs))
        self._decoder, self._score = begin.decoder.copy(), begin.score
        self._forget(begin.tokens)
        self._kept = []
        self._take(log_probs)

    def _forget(self, tokens: int) -> None:
        """Keeps only the first tokens."""
        del self._tokens[tokens:]
        if tokens <= self._closed:  # what comes next may go on with the last closed word
            self._closed, self._said = 0, []

    def partial(self, provisional: LogProbs) -> Partial:
        last = len(self._tokens) - 1  # looked for from the end: this is asked often, also after hours
        while last > self._closed and not self._begins_word(self._tokens[last]):
            last -= 1
        if last > self._closed:
            self._said += [word.word for word in self._words(self._tokens[self._closed : last])]
            self._closed = last
        tail = self._tokens[self._closed :]
        words = [*self._said, *(word.word for word in self._words([*tail, *self._decoder.peek(provisional)]))]
        return Partial(" ".join(words), max(0, len(self._said) + len(self._words(tail)) - 1))

    def _begins_word(self, token: Token) -> bool:
        return token.id == BREAK or self.pieces[token.id].startswith(WORD_START)

    def _words(self, tokens: Sequence[Token]) -> list[Word]:
        return words_of(tokens, self.pieces, self._confidence)

    @property
    def last_token_frame(self) -> int | None:
        return next((token.frame for token in reversed(self._tokens) if token.id != BREAK), None)

    def result(self, count: int = 1) -> Decoded:
        words = self._words(self._tokens)
        text = " ".join(word.word for word in words)
        tokens = tuple(token for token in self._tokens if token.id != BREAK)
        return Decoded(text, tokens, tuple(words), (Alternative(text, self._score),))
