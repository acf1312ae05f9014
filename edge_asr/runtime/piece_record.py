"""What the trunk wrote for a piece of audio, kept for a second pass over all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge_asr.runtime.engine import Array

KINDS = ("hidden", "memory", "log_probs", "stats")


class PieceRecord:
    """The trunk's outputs, frame after frame; given up when the piece gets longer than a second pass may be.

    Args:
        limit: Most frames.
        kinds: Names of the outputs.

    Example:
        >>> record = PieceRecord(4)
        >>> for _ in range(2):
        ...     record.append({name: np.zeros((2, 3), np.float32) for name in KINDS})
        >>> record.whole()["memory"].shape
        (4, 3)
        >>> record.append({name: np.zeros((1, 3), np.float32) for name in KINDS})
        >>> record.whole() is None
        True
    """

    def __init__(self, limit: int, kinds: Sequence[str] = KINDS) -> None:
        self._limit, self._frames = limit, 0
        self._parts: dict[str, list[Array]] = {name: [] for name in kinds}

    def append(self, outputs: Mapping[str, Array]) -> None:
        """Takes the next frames, (T, width) of each kind."""
        self._frames += len(outputs["hidden"])
        for name, parts in self._parts.items():
            if self._frames > self._limit:
                parts.clear()
            else:
                parts.append(outputs[name].copy())

    def whole(self) -> dict[str, Array] | None:
        """Gives all frames of each kind; None without a frame, or if there were too many."""
        if not self._parts["hidden"]:
            return None
        return {name: np.concatenate(parts) for name, parts in self._parts.items()}
