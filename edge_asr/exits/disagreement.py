"""Criterion: how much an exit's text differs from that of the exit before. Source: PABEE, arXiv 2006.04152."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_asr.exits.base import Criterion
from edge_asr.exits.view import ExitView


class Disagreement(Criterion):
    """Edit distance between the chunk's best-path tokens at this exit and at the one before: small is sure.

    It is divided by the longer text's length, so 0 is the same text (or none in both), 1 nothing in common.
    Exit 1 has nothing before it and gets 1.
    """

    name = "disagreement"
    small_is_sure = True

    def value(self, view: ExitView) -> float:
        """Gives the distance, from 0 to 1."""
        if view.before is None:
            return 1.0
        ours, before = view.tokens, view.before.tokens
        return edit_distance(ours, before) / max(1, len(ours), len(before))


def edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Counts the insertions, deletions and substitutions between two sequences (Levenshtein).

    Example:
        >>> edit_distance([1, 2, 3], [1, 3, 4])
        2
    """
    if one == other:
        return 0
    if not one or not other:
        return max(len(one), len(other))
    columns = np.asarray(other)
    steps = np.arange(len(other) + 1)
    row = steps.copy()
    for number, item in enumerate(one, start=1):
        best = np.minimum(row[1:] + 1, row[:-1] + (columns != item))
        row = np.concatenate([[number], best])
        row = np.minimum.accumulate(row - steps) + steps  # insertions, from left to right
    return int(row[-1])
