"""How a criterion is distributed at each exit: kept with the thresholds, compared with what a device sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge_asr.bundle.policy import ReferenceSpec
from edge_asr.errors import DataError
from edge_asr.evaluation.chunk_table import Floats, Integers
from edge_asr.exits.base import Criterion

BINS = 20
MOST = 2**53
"""No count comes to this."""


def reference_of(values: Floats, taken: Integers) -> tuple[dict[str, Any], ...]:
    """Describes the criterion at each exit, over the chunks that come to it.

    Args:
        values: (K, exits - 1).
        taken: (K,) the exit at which each chunk leaves.

    Returns:
        For each exit but the last `edges` (bins of about 5 %, fewer where values repeat), `shares`, and `stop`,
        the share that leaves there. An exit that no chunk comes to has a single bin.
    """
    found = []
    for i in range(values.shape[1]):
        here = values[taken > i, i]
        if not len(here):
            found.append({"edges": [], "shares": [1.0], "stop": 0.0})
            continue
        edges = np.unique(np.quantile(here, np.linspace(0, 1, BINS + 1)[1:-1]))
        counts = np.bincount(np.searchsorted(edges, here, "left"), minlength=len(edges) + 1)
        stop = float((taken == i + 1).sum() / len(here))
        found.append({"edges": edges.tolist(), "shares": (counts / len(here)).tolist(), "stop": stop})
    return tuple(found)


def recalibrated(
    thresholds: Sequence[float],
    reference: Sequence[ReferenceSpec],
    counts: Sequence[Sequence[int]],
    criterion: Criterion,
    minimum: int = 200,
    hysteresis: float = 0.0,
) -> tuple[float, ...]:
    """Moves thresholds so that each exit lets as many chunks go as in calibration, on a device's own audio.

    No transcripts are needed: the mean cost of calibration is kept, not its WER. Exits that saw fewer than
    `minimum` chunks keep their threshold.

    Args:
        thresholds: those in use.
        reference: of calibration.
        counts: for each exit but the last, the device's counts in the reference's bins.
        criterion: tells which end is sure.
        minimum: chunks that an exit must have seen.
        hysteresis: the policy's. With one, fewer chunks leave than pass the threshold: as many shall pass, then.

    Raises:
        DataError: the bins differ, or no exit saw enough.
    """
    moved = []
    if max((sum(row) for row in counts), default=0) < minimum:
        raise DataError(f"no exit saw {minimum} chunks in this log; collect more before calibrating from it")
    for i, (threshold, expected, row) in enumerate(zip(thresholds, reference, counts, strict=True), start=1):
        if len(row) != len(expected.shares):
            raise DataError(f"exit {i}: {len(row)} bins in the log, {len(expected.shares)} in the policy")
        total = sum(row)
        if total < minimum or not expected.edges or not 0 < expected.stop < 1:
            moved.append(float(threshold))
            continue
        share = expected.stop if criterion.small_is_sure else 1 - expected.stop
        if hysteresis:
            share = float(np.interp(threshold, expected.edges, np.cumsum(expected.shares)[:-1]))
        below = np.cumsum(row)[:-1] / total  # at each edge
        moved.append(float(np.interp(share, below, expected.edges)))
    return tuple(moved)


def bin_of(value: float, edges: Sequence[float]) -> int:
    """The bin of a value; an edge belongs to the bin below it."""
    return int(np.searchsorted(edges, value, "left"))


def log_counts(log: Mapping[str, Any], chunk: str) -> list[list[int]]:
    """Takes the counts of a chunk size from a monitor's JSON.

    Raises:
        DataError: it has none, or they aren't counts.
    """
    rows = log.get("criterion", {}).get(chunk) if isinstance(log.get("criterion"), dict) else None
    if not isinstance(rows, list) or not rows:
        raise DataError(f"the log has no counts of the criterion for chunk {chunk}")
    for row in rows:
        if not isinstance(row, list) or not all(isinstance(n, int) and 0 <= n < MOST for n in row):
            raise DataError(f"the log's counts for chunk {chunk} aren't lists of counts")
    return rows
