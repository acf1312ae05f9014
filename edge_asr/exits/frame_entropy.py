"""Criterion: mean frame entropy. Source: early-exit Conformer (arXiv 2309.09546) and Splitformer."""

from __future__ import annotations

from edge_asr.exits.base import Criterion
from edge_asr.exits.view import ExitView


class FrameEntropy(Criterion):
    """Mean entropy of the frames' posteriors in nats: small is sure."""

    name = "frame_entropy"
    small_is_sure = True

    def value(self, view: ExitView) -> float:
        """Gives the mean."""
        return view.stats.entropy
