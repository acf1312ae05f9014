"""Thresholds per exit, from strict to lenient: the path along which risk and budget choose a point.

Each corner minimises word errors + price · cost over all thresholds at once, for a price that rises along the
path. Word errors are taken as a sum over chunks of what each exit does alone (`SpliceScorer.harm`), so that one
step of coordinate descent is arithmetic on arrays; what a point really gives is measured afterwards. Where two
corners lie far apart in cost, points between them follow, at shares of chunks between theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_asr.evaluation.chunk_table import ChunkTable, Floats, Integers
from edge_asr.exits.base import Criterion

PRICES = np.geomspace(0.001, 6.0, 40)
"""Word errors that one second at full depth may cost."""
CANDIDATES = 40
NEVER = 1e6
"""Beyond every criterion's values, also those of other data than the path was fitted on; finite, as JSON wants it."""
ROUNDS = 4
STEP = 0.02
"""Most of full depth's cost that may lie between two points, where chunks are many enough."""


def threshold_path(
    table: ChunkTable,
    criterion: Criterion,
    temperatures: Sequence[float] | None = None,
    *,
    frame_seconds: float = 0.04,
    prices: Sequence[float] | Floats = PRICES,
) -> list[tuple[float, ...]]:
    """Finds a path of thresholds.

    Args:
        table: chunks to fit on.
        criterion: how sure an exit is.
        temperatures: one for each exit, applied before the criterion.
        frame_seconds: length of a frame.
        prices: word errors that a second of full depth may cost, rising.

    Returns:
        Thresholds, one for each exit but the last; the first point never stops early on any data, the last always does
        at exit 1 on these. Equal points are left out. All numbers are finite.
    """
    values = table.values(criterion, temperatures)
    small = criterion.small_is_sure
    never, always = _ends(values, small)
    path: list[tuple[float, ...]] = [tuple(never)]
    if not len(never):
        return path
    seconds = table.costs / table.costs[-1] * frame_seconds
    cost = table.frames[:, None] * seconds  # (K, exits), in seconds of full depth
    candidates = [_candidates(values[:, i], never[i], small) for i in range(values.shape[1])]
    current = np.array(never)
    harm = np.maximum(table.harm, 0)  # an error that an early exit happens to avoid is luck, not a reason
    for price in prices:
        objective = harm + price * cost
        current = _descend(values, objective, current, candidates, small)
        if tuple(current) != path[-1]:
            path.append(tuple(float(value) for value in current))
    if path[-1][0] != always[0]:
        path.append(tuple(always))
    return _filled(table, values, path, small)


def _filled(table: ChunkTable, values: Floats, path: list[tuple[float, ...]], small: bool) -> list[tuple[float, ...]]:
    """The path with points between corners that lie far apart."""

    def share(thresholds: tuple[float, ...]) -> float:
        return table.cost(table.taken(values, thresholds, small_is_sure=small)) / float(table.costs[-1])

    def between(a: tuple[float, ...], b: tuple[float, ...], weight: float) -> tuple[float, ...]:
        middle = []
        for i, ends in enumerate(zip(a, b, strict=True)):
            column = np.sort(values[:, i] if small else -values[:, i])  # the surest first
            sure = [int(np.searchsorted(column, end if small else -end, side="right")) for end in ends]
            count = round((1 - weight) * sure[0] + weight * sure[1])
            if count in sure:
                middle.append(ends[sure.index(count)])
            else:
                middle.append(float(column[count - 1] if small else -column[count - 1]))
        return tuple(middle)

    filled = path[:1]
    for corner in path[1:]:
        gap = abs(share(filled[-1]) - share(corner))
        before, parts = filled[-1], int(np.ceil(gap / STEP))
        for part in range(1, parts):
            point = between(before, corner, part / parts)
            if point not in (filled[-1], corner):
                filled.append(point)
        filled.append(corner)
    return filled


def common_path(table: ChunkTable, criterion: Criterion, steps: int = 50) -> list[tuple[float, ...]]:
    """The same threshold for all exits, over quantiles of the criterion, from strict to lenient."""
    values = table.values(criterion)
    small = criterion.small_is_sure
    never, _ = _ends(values, small)
    found = np.unique(np.quantile(values, np.linspace(0, 1, steps + 1)))
    ordered = found if small else found[::-1]
    limit = min(never) if small else max(never)
    return [(limit,) * len(never), *((float(value),) * len(never) for value in ordered)]


def _ends(values: Floats, small: bool) -> tuple[list[float], list[float]]:
    always = values.max(axis=0, initial=-np.inf) if small else values.min(axis=0, initial=np.inf)
    return [-NEVER if small else NEVER] * values.shape[1], always.tolist()


def _candidates(column: Floats, never: float, small: bool) -> Floats:
    found = np.unique(np.quantile(column, np.linspace(0, 1, CANDIDATES + 1), method="lower"))
    return np.concatenate([[never], found if small else found[::-1]])


def _descend(values: Floats, objective: Floats, start: Floats, candidates: list[Floats], small: bool) -> Floats:
    """Improves one threshold after the other until none gets better."""
    current = start.copy()
    rows = np.arange(len(values))
    best = np.inf
    for _ in range(ROUNDS):
        before = best
        for i in reversed(range(values.shape[1])):
            scores = []
            sure = values <= current if small else values >= current
            sure = np.concatenate([sure, np.ones((len(sure), 1), dtype=bool)], axis=1)
            for threshold in candidates[i]:
                sure[:, i] = values[:, i] <= threshold if small else values[:, i] >= threshold
                taken: Integers = sure.argmax(axis=1)
                scores.append(float(objective[rows, taken].sum()))
            place = int(np.argmin(scores))
            if scores[place] < best - 1e-9:
                best, current[i] = scores[place], candidates[i][place]
        if best >= before - 1e-9:
            break
    return current
