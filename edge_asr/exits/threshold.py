"""Policy: stop at the first exit whose criterion passes its threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_asr.errors import OptionError
from edge_asr.exits.base import Criterion
from edge_asr.exits.stats import ChunkInfo
from edge_asr.exits.view import ExitView, check_temperatures


@dataclass(frozen=True, slots=True)
class ThresholdPolicy:
    """Stops at the first exit that is sure enough.

    Attributes:
        criterion: How sureness is measured.
        thresholds: One for each exit but the last.
        temperatures: One for each exit, the last included, applied before the criterion; None for none.
        hysteresis: To leave earlier than the chunk before did, the criterion must be surer by this much (in its
            own unit), so that depth doesn't flicker.

    Raises:
        OptionError: If a threshold isn't a number (infinite ones are allowed: always, or never), a temperature
            isn't above 0, or the hysteresis is negative.

    Example:
        >>> from edge_asr.exits.criterion import get_criterion
        >>> policy = ThresholdPolicy(get_criterion("max_posterior"), (0.9, 0.8))
        >>> policy.thresholds
        (0.9, 0.8)
    """

    criterion: Criterion
    thresholds: Sequence[float]
    temperatures: Sequence[float] | None = None
    hysteresis: float = 0.0

    def __post_init__(self) -> None:
        for number, threshold in enumerate(self.thresholds, start=1):
            if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or math.isnan(threshold):
                raise OptionError(f"threshold of exit {number} is {threshold!r}: expected a number")
        object.__setattr__(self, "thresholds", tuple(self.thresholds))
        if self.temperatures is not None:
            if len(self.temperatures) <= len(self.thresholds):
                have = f"{len(self.temperatures)} temperatures for {len(self.thresholds)} thresholds"
                raise OptionError(f"{have}: expected one for each exit, the last included")
            object.__setattr__(self, "temperatures", check_temperatures(self.temperatures))
        if not 0.0 <= self.hysteresis < math.inf:
            raise OptionError(f"hysteresis={self.hysteresis!r}: expected a number from 0")

    def value(self, view: ExitView) -> float:
        """Computes the criterion, temperatures applied."""
        return self.criterion.value(view if self.temperatures is None else view.tempered(self.temperatures))

    def stop(self, view: ExitView, chunk: ChunkInfo) -> bool:
        """Tells whether this exit is sure enough; an exit without a threshold is the last and always is."""
        if view.exit > len(self.thresholds):
            return True
        threshold = self.thresholds[view.exit - 1]
        if view.exit < chunk.previous_exit:
            threshold = self.criterion.stricter(threshold, self.hysteresis)
        return self.criterion.sure(self.value(view), threshold)
