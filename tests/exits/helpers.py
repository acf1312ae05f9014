"""Views made by hand."""

from __future__ import annotations

import numpy as np

from edge_asr.exits.stats import ExitStats
from edge_asr.exits.view import ExitView, frame_stats


def view(exit: int, entropy: float, before: ExitView | None = None, seconds: float = 0.0) -> ExitView:
    """A view with this mean entropy; its log-probabilities mean nothing."""
    stats = ExitStats(entropy, 1 - entropy, 1 - entropy, 0.5)
    frames = np.array([stats], dtype=np.float32)
    return ExitView(exit, stats, frames, np.zeros((1, 3), dtype=np.float32), before, seconds)


def speaking(exit: int, posteriors: list[list[float]], before: ExitView | None = None) -> ExitView:
    """A view with these posteriors, frames by tokens; token 0 is blank."""
    log_probs = np.log(np.array(posteriors, dtype=np.float32))
    return ExitView.of(exit, frame_stats(log_probs), log_probs, before)
