"""Criterion: mean margin of the frames that aren't surely blank."""

from __future__ import annotations

from edge_asr.exits.base import Criterion
from edge_asr.exits.view import ExitView


class NonblankMargin(Criterion):
    """Mean of largest minus second largest posterior where that of blank is at most 0.95: large is sure."""

    name = "nonblank_margin"

    def value(self, view: ExitView) -> float:
        """Gives the mean."""
        return view.nonblank.margin
