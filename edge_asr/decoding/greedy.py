"""CTC greedy decoding, chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Token:
    """A decoded token: its id, the frame at which it begins, and its log-probability there."""

    id: int
    frame: int
    log_prob: float


class GreedyDecoder:
    """Takes the best token of each frame, merges repeats and drops blanks.

    Chunks may be of any length: the result equals that of all frames at once. Source: Graves et al. 2006,
    "Connectionist Temporal Classification", best path decoding.

    Args:
        blank: Id of the blank.

    Example:
        >>> decoder = GreedyDecoder()
        >>> log_probs = np.log(np.eye(3, dtype=np.float32)[[0, 1, 1, 0, 2]] + 1e-3)
        >>> [token.id for token in decoder.push(log_probs[:2]) + decoder.push(log_probs[2:])]
        [1, 2]
    """

    def __init__(self, blank: int = 0) -> None:
        self._blank = blank
        self._last = blank
        self._frame = 0

    def push(self, log_probs: npt.NDArray[np.float32], first_frame: int | None = None) -> list[Token]:
        """Decodes further frames.

        Args:
            log_probs: (T, V).
            first_frame: The number of the first frame; None goes on counting.

        Returns:
            The tokens that begin in these frames.
        """
        start = self._frame if first_frame is None else first_frame
        self._frame = start + len(log_probs)
        if not len(log_probs):
            return []
        best = log_probs.argmax(axis=1)
        before = np.concatenate([[self._last], best[:-1]])
        self._last = int(best[-1])
        begins = np.flatnonzero((best != before) & (best != self._blank))
        return [Token(int(best[i]), start + int(i), float(log_probs[i, best[i]])) for i in begins]

    def boundary(self) -> None:
        """Ends a piece: the next frame's token isn't a repeat of the last one's."""
        self._last = self._blank

    def peek(self, log_probs: npt.NDArray[np.float32]) -> list[Token]:
        """Decodes frames that would come next, without taking them: for provisional text."""
        return self.copy().push(log_probs)

    def copy(self) -> GreedyDecoder:
        """Gives a decoder that stands where this one does."""
        copy = GreedyDecoder(self._blank)
        copy._last, copy._frame = self._last, self._frame
        return copy

    @property
    def frame(self) -> int:
        """The number of the next frame."""
        return self._frame
