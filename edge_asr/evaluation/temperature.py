"""Temperature scaling per exit. Source: Guo et al. 2017, arXiv 1706.04599."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_asr.evaluation.recording import Recording
from edge_asr.exits.view import tempered

GRID = np.geomspace(0.5, 4.0, 43)
MOST_FRAMES = 8000


def fit_temperatures(recordings: Sequence[Recording], blank: int = 0) -> tuple[float, ...]:
    """Finds the temperature with which each exit predicts the last exit's tokens best.

    CTC has no true label per frame, so the last exit's best token stands for it: a tempered exit's confidence
    is the chance that going on to the end wouldn't change the frame. Frames on which both exits surely say
    blank teach nothing and are left out.

    Args:
        recordings: utterances with all exits.
        blank: id of the blank.

    Returns:
        One temperature for each exit; 1 for the last.
    """
    log_probs = np.concatenate([chunk.log_probs for r in recordings for chunk in r.chunks], axis=1)
    step = -(-log_probs.shape[1] // MOST_FRAMES)
    log_probs = log_probs[:, ::step]
    target = log_probs[-1].argmax(axis=1)
    rows = np.arange(len(target))
    found = []
    for exit in range(len(log_probs) - 1):
        kept = (target != blank) | (log_probs[exit][:, blank] < np.log(0.95))
        losses = [
            -float(tempered(log_probs[exit], float(t))[rows, target][kept].mean()) if kept.any() else abs(np.log(t))
            for t in GRID
        ]
        found.append(float(GRID[int(np.argmin(losses))]))
    return (*found, 1.0)
