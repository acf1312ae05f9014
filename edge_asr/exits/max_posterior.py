"""Criterion: mean maximum posterior. Source: early-exit Conformer and Splitformer ("confidence")."""

from __future__ import annotations

from edge_asr.exits.stats import ExitStats


class MaxPosterior:
    """Mean of the frames' largest posteriors: sure when it is at or above the threshold."""

    name = "max_posterior"

    def value(self, stats: ExitStats) -> float:
        """Gives the mean largest posterior."""
        return stats.max_posterior

    def sure(self, value: float, threshold: float) -> bool:
        """Tells whether the value passes the threshold."""
        return value >= threshold
