"""Criterion: mean maximum posterior. Source: early-exit Conformer (arXiv 2309.09546) and Splitformer ("confidence")."""

from __future__ import annotations

from edge_asr.exits.base import Criterion
from edge_asr.exits.view import ExitView


class MaxPosterior(Criterion):
    """Mean of the frames' largest posteriors: large is sure."""

    name = "max_posterior"

    def value(self, view: ExitView) -> float:
        """Gives the mean."""
        return view.stats.max_posterior
