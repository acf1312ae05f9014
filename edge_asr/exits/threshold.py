"""Policy: stop at the first exit whose criterion passes its threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_asr.errors import OptionError
from edge_asr.exits.criterion import Criterion
from edge_asr.exits.stats import ChunkInfo, ExitStats


@dataclass(frozen=True, slots=True)
class ThresholdPolicy:
    """Stops at the first exit that is sure enough.

    Attributes:
        criterion: How sureness is measured.
        thresholds: One for each exit but the last.

    Raises:
        OptionError: If a threshold isn't a number. Infinite ones are allowed: always, or never.

    Example:
        >>> from edge_asr.exits.criterion import get_criterion
        >>> policy = ThresholdPolicy(get_criterion("max_posterior"), (0.9, 0.8))
        >>> chunk = ChunkInfo(index=0, first_frame=0, n_valid=16, chunk_frames=16, exits=3)
        >>> [policy.stop(exit, ExitStats(0.2, 0.85, 0.8, 0.6), chunk) for exit in (1, 2)]
        [False, True]
    """

    criterion: Criterion
    thresholds: Sequence[float]

    def __post_init__(self) -> None:
        for number, threshold in enumerate(self.thresholds, start=1):
            if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or math.isnan(threshold):
                raise OptionError(f"threshold of exit {number} is {threshold!r}: expected a number")
        object.__setattr__(self, "thresholds", tuple(self.thresholds))

    def stop(self, exit: int, stats: ExitStats, chunk: ChunkInfo) -> bool:
        """Tells whether this exit is sure enough; an exit without a threshold is the last and always is."""
        if exit > len(self.thresholds):
            return True
        return self.criterion.sure(self.criterion.value(stats), self.thresholds[exit - 1])
