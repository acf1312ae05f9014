"""Criterion: mean frame entropy, as in the early-exit Conformer and Splitformer."""

from __future__ import annotations

from edge_asr.exits.stats import ExitStats


class FrameEntropy:
    """Mean entropy of the frames' posteriors in nats: sure when it is at or below the threshold."""

    name = "frame_entropy"

    def value(self, stats: ExitStats) -> float:
        """Gives the mean entropy."""
        return stats.entropy

    def sure(self, value: float, threshold: float) -> bool:
        """Tells whether the value passes the threshold."""
        return value <= threshold
