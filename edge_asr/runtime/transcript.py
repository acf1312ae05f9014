"""The result of a recognition."""

from __future__ import annotations

from dataclasses import dataclass

from edge_asr.decoding.decoding import Alternative
from edge_asr.exits.stats import ExitStats


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """Where a chunk left, and how sure the exits were.

    Attributes:
        start: Begin in seconds of audio.
        end: End in seconds of audio; the tail after a piece's end takes no time.
        frames: Frames computed, the tail included.
        exit: The exit taken, from 1.
        entropy: Mean entropy in nats at that exit.
        max_posterior: Mean largest posterior at that exit.
        criteria: Mean stats of each exit that ran, from exit 1.
        final_exit: The exit of the second pass, from which the final text comes; None without one.
    """

    start: float
    end: float
    frames: int
    exit: int
    entropy: float
    max_posterior: float
    criteria: tuple[ExitStats, ...]
    final_exit: int | None = None


@dataclass(frozen=True, slots=True)
class TokenResult:
    """A recognised token: its id and piece, the time it begins at in seconds, its log-probability there."""

    id: int
    piece: str
    time: float
    log_prob: float


@dataclass(frozen=True, slots=True)
class WordResult:
    """A recognised word.

    Attributes:
        word: For people: formatted as the text is.
        start: Begin in seconds of audio.
        end: End in seconds of audio.
        confidence: How likely it is to be right, from 0 to 1.
        exit: The exit that it comes from: that of the chunk in which it begins, or of the second pass.
    """

    word: str
    start: float
    end: float
    confidence: float
    exit: int


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said.

    Attributes:
        text: The text for people.
        duration: Seconds of audio.
        seconds: Seconds of computation (wall time).
        rtf: Real-time factor, ``seconds / duration``.
        mean_exit: Mean of the exits taken, weighted by frames.
        chunks: Each chunk's record.
        tokens: Each token's record.
        words: Each word's record.
        alternatives: The n best texts with their scores, the best first; as many as were asked for at most.
    """

    text: str
    duration: float
    seconds: float
    rtf: float
    mean_exit: float
    chunks: tuple[ChunkResult, ...]
    tokens: tuple[TokenResult, ...]
    words: tuple[WordResult, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
