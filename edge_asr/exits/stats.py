"""What an exit says about itself on one chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class ExitStats(NamedTuple):
    """Means over a chunk's valid frames, in the order of a graph's ``stats`` output.

    Attributes:
        entropy: Entropy of the posteriors, in nats.
        max_posterior: Largest posterior.
        margin: Largest minus second largest posterior.
        blank: Posterior of blank.

    Example:
        >>> ExitStats(0.25, 0.9, 0.85, 0.7).entropy
        0.25
    """

    entropy: float
    max_posterior: float
    margin: float
    blank: float


@dataclass(frozen=True, slots=True)
class ChunkInfo:
    """The chunk that a policy decides about.

    Attributes:
        index: Its number in the piece, from 0.
        first_frame: Its first frame in the piece.
        n_valid: Its valid frames.
        chunk_frames: The chunk size in frames; None in ``full`` mode.
        exits: How many exits the model has.
        previous_exit: Where the chunk before in the piece left; 0 for the first chunk.
    """

    index: int
    first_frame: int
    n_valid: int
    chunk_frames: int | None
    exits: int
    previous_exit: int = 0
