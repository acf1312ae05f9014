"""A chunk that has left at an exit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_asr.exits.stats import ExitStats
from edge_asr.exits.view import ExitView

LogProbs = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DecidedChunk:
    """What the encoder gives for a chunk.

    Attributes:
        piece: The number of the piece, from 0; long audio is cut into pieces that are encoded on their own.
        first_frame: The number of the chunk's first frame, counted from the beginning of the audio.
        n_valid: Its frames.
        n_audio: How many of them begin within the piece's audio; the others are the tail that flushes the
            last word, and share their numbers with the first frames of the next piece.
        exit: The exit that the policy took, from 1.
        log_probs: (n_valid, V) log-probabilities of that exit.
        stats: Mean stats of each exit that ran, from exit 1.
        all_log_probs: (exits, n_valid, V) of all exits, if all were asked for.
        segment_seconds: Wall time of each segment that ran; the first includes the frontend.
        deciding: Wall time of asking the policy whether to go on.
        views: All that each exit that ran says, from exit 1.
        revisited: It was decided before and comes again, from a deeper exit.
        whole: It is the whole piece, from a second pass.
        phones: (n_valid, P) log-probabilities of phones of that exit, where the bundle has them.
    """

    piece: int
    first_frame: int
    n_valid: int
    n_audio: int
    exit: int
    log_probs: LogProbs
    stats: tuple[ExitStats, ...]
    all_log_probs: LogProbs | None
    segment_seconds: tuple[float, ...]
    views: tuple[ExitView, ...] = ()
    revisited: bool = False
    whole: bool = False
    phones: LogProbs | None = None
    deciding: float = 0.0

    @property
    def seconds(self) -> float:
        """Wall time of the chunk: its segments, and deciding after each whether to go on."""
        return sum(self.segment_seconds) + self.deciding
