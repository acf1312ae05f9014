"""What policies are compared with: the fixed exits' hull, random exits at equal cost, and an oracle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_asr.evaluation.chunk_table import ChunkTable, Floats, Integers
from edge_asr.evaluation.statistics import bootstrap_difference, lower_hull

DRAWS = 20


def fixed_hull(table: ChunkTable) -> list[tuple[float, float]]:
    """The lower hull of the fixed exits, as (cost, WER)."""
    points = [table.point(table.fixed(exit)) for exit in range(1, table.exits + 1)]
    return lower_hull([(point.mean_cost, point.wer) for point in points])


def hull_errors(table: ChunkTable, cost: float) -> Floats:
    """(U,): expected word errors of the cheapest mix of two fixed exits that costs as much."""
    hull = fixed_hull(table)
    costs = [x for x, _ in hull]
    exits = [int(np.argmin(np.abs(table.costs - x))) + 1 for x in costs]
    if cost <= costs[0] or len(hull) == 1:
        return table.errors(table.fixed(exits[0])).astype(np.float64)
    if cost >= costs[-1]:
        return table.errors(table.fixed(exits[-1])).astype(np.float64)
    right = int(np.searchsorted(costs, cost))
    share = (cost - costs[right - 1]) / (costs[right] - costs[right - 1])
    low, high = (table.errors(table.fixed(exits[i])) for i in (right - 1, right))
    return np.asarray((1 - share) * low + share * high, dtype=np.float64)


def random_errors(table: ChunkTable, taken: Integers, draws: int = DRAWS, seed: int = 0) -> Floats:
    """(U,): mean word errors when the same exits are dealt to the chunks by chance: the same cost, no insight.

    Chunks of the same length are shuffled among themselves, so that the mean cost is the same. Where lengths
    hardly repeat (``full``), chunks of similar length are, and the cost is nearly the same.
    """
    rng = np.random.default_rng(seed)
    lengths = np.unique(table.frames)
    groups = [np.flatnonzero(table.frames == length) for length in lengths]
    if len(lengths) > len(table.frames) // 8:
        groups = np.array_split(np.argsort(table.frames, kind="stable"), max(1, len(table.frames) // 20))
    total = np.zeros(len(table.recordings))
    for _ in range(draws):
        shuffled = taken.copy()
        for rows in groups:
            shuffled[rows] = taken[rng.permutation(rows)]
        total += table.errors(shuffled)
    return total / draws


def oracle(table: ChunkTable, prices: Sequence[float] | Floats, frame_seconds: float = 0.04) -> list[Integers]:
    """Exits of an oracle that knows the word errors of each chunk's exits, by price; dear prices exit early.

    It takes what one chunk's exit does while all others go deep for the truth, so it is near the optimum, not at
    it.
    """
    cost = table.frames[:, None] * table.costs / table.costs[-1] * frame_seconds
    return [(table.harm + price * cost).argmin(axis=1) + 1 for price in prices]


def compare(table: ChunkTable, taken: Integers, seed: int = 0) -> dict[str, object]:
    """Compares a policy with the hull and with chance at equal cost, on the same utterances (paired bootstrap).

    Returns:
        `wer`, `cost`, `share` of full depth, `relative_loss` against full depth; `hull_wer`, `random_wer`, and
        `minus_hull`, `minus_random`: difference of WER, and its 95 % interval; below 0 the policy is better.
    """
    errors, words = table.errors(taken).astype(np.float64), table.words
    cost = table.cost(taken)
    hull, chance = hull_errors(table, cost), random_errors(table, taken, seed=seed)
    full = table.errors(table.fixed(table.exits))
    total = max(1, int(words.sum()))
    return {
        "wer": float(errors.sum() / total),
        "cost": cost,
        "share": cost / float(table.costs[-1]),
        "relative_loss": float(errors.sum() / max(1, int(full.sum())) - 1),
        "hull_wer": float(hull.sum() / total),
        "random_wer": float(chance.sum() / total),
        "minus_hull": list(bootstrap_difference(errors, hull, words, seed=seed)),
        "minus_random": list(bootstrap_difference(errors, chance, words, seed=seed)),
    }
