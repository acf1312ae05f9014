"""What each segment costs on this device, as measured while it runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

RECENT = 8
"""Chunks whose trunk says how fast the device is now."""
REMEMBERED = 31
"""Chunks over which a segment's share of the trunk's time is a median."""
WARM_UP = 3
"""With fewer measurements of a segment, the bundle's multiply-accumulates stand in."""


class SegmentCosts:
    """Predicts a segment's time on the next chunk.

    The trunk runs on every chunk and tells how fast the device is at this moment; a deeper segment is known as
    a multiple of the trunk, which stays the same when a device slows down. So a segment that hasn't run for a
    while is still predicted well. Times are per frame: chunks differ in length.

    Args:
        macs_per_second: Cumulative multiply-accumulates of each exit: the guess before anything is measured.
    """

    def __init__(self, macs_per_second: Sequence[float]) -> None:
        trunk = max(macs_per_second[0], 1e-9)
        self._guess = [(b - a) / trunk for a, b in pairwise(macs_per_second)]
        self._trunk: deque[float] = deque(maxlen=RECENT)
        self._shares: list[deque[float]] = [deque(maxlen=REMEMBERED) for _ in self._guess]

    def observe(self, seconds: Sequence[float], frames: int) -> None:
        """Takes the times of the segments that ran on a chunk, from the trunk on."""
        if not seconds or frames < 1:
            return
        self._trunk.append(seconds[0] / frames)
        for shares, time in zip(self._shares, seconds[1:], strict=False):
            shares.append(time / max(seconds[0], 1e-9))

    def predict(self, segment: int, frames: int, trunk_seconds: float = 0.0) -> float:
        """Predicts the seconds of a segment.

        Args:
            segment: Its number, from 2.
            frames: The chunk's frames.
            trunk_seconds: What the trunk took on this chunk; the slowest of it and the last chunks counts.
        """
        shares = self._shares[segment - 2]
        share = float(np.median(shares)) if len(shares) >= WARM_UP else self._guess[segment - 2]
        return share * max(self.trunk(frames), trunk_seconds)

    def trunk(self, frames: int) -> float:
        """Predicts the seconds of the trunk, frontend included: nearly the slowest of the last chunks."""
        return float(np.quantile(self._trunk, 0.95)) * frames if self._trunk else 0.0
