"""Criterion: mean margin between the two largest posteriors (best-versus-second-best of active learning)."""

from __future__ import annotations

from edge_asr.exits.stats import ExitStats


class Margin:
    """Mean of largest minus second largest posterior: sure when it is at or above the threshold."""

    name = "margin"

    def value(self, stats: ExitStats) -> float:
        """Gives the mean margin."""
        return stats.margin

    def sure(self, value: float, threshold: float) -> bool:
        """Tells whether the value passes the threshold."""
        return value >= threshold
