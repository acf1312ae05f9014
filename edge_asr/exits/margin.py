"""Criterion: mean margin between the two largest posteriors (best-versus-second-best of active learning)."""

from __future__ import annotations

from edge_asr.exits.base import Criterion
from edge_asr.exits.view import ExitView


class Margin(Criterion):
    """Mean of largest minus second largest posterior: large is sure."""

    name = "margin"

    def value(self, view: ExitView) -> float:
        """Gives the mean."""
        return view.stats.margin
