"""Criterion: mean maximum posterior of the frames that aren't surely blank."""

from __future__ import annotations

from edge_asr.exits.base import Criterion
from edge_asr.exits.view import ExitView


class NonblankPosterior(Criterion):
    """Mean largest posterior where the posterior of blank is at most 0.95: large is sure."""

    name = "nonblank_posterior"

    def value(self, view: ExitView) -> float:
        """Gives the mean."""
        return view.nonblank.max_posterior
