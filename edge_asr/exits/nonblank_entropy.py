"""Criterion: mean entropy of the frames that aren't surely blank; CTC's many blanks dilute a mean over all."""

from __future__ import annotations

from edge_asr.exits.base import Criterion
from edge_asr.exits.view import ExitView


class NonblankEntropy(Criterion):
    """Mean entropy in nats where the posterior of blank is at most 0.95: small is sure."""

    name = "nonblank_entropy"
    small_is_sure = True

    def value(self, view: ExitView) -> float:
        """Gives the mean."""
        return view.nonblank.entropy
