"""Statistics of comparisons."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.evaluation.statistics import (
    auroc,
    bootstrap_difference,
    bootstrap_relative_loss,
    excess_p_value,
    hull_at,
    lower_hull,
)

RNG = np.random.default_rng(0)


def test_a_paired_bootstrap_sees_small_steady_differences() -> None:
    words, errors = np.full(200, 10), RNG.integers(0, 8, 200)
    mean, low, high = bootstrap_difference(errors + 1, errors, words)
    assert mean == low == high == pytest.approx(0.1)
    mean, low, high = bootstrap_difference(RNG.permutation(errors), errors, words)
    assert low < mean == 0.0 < high
    loss, low, high = bootstrap_relative_loss(errors * 2, errors)
    assert (loss, low, high) == (1.0, 1.0, 1.0)


def test_the_p_value_keeps_its_promise() -> None:
    """At the edge of the hypothesis it is below 10 % at most every tenth time; far inside the allowed it is small."""
    words = np.full(150, 12)
    rejected = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        full = rng.binomial(12, 0.3, 150)
        errors = full + rng.choice([0, 1], 150, p=[0.64, 0.36])  # 10 % more on average
        rejected += excess_p_value(errors, full, words, 0.10) <= 0.1
    assert rejected <= 0.1 * 300
    full = RNG.binomial(12, 0.3, 150)
    assert excess_p_value(full, full, words, 0.10) < 0.1
    assert excess_p_value(full + 1, full, words, 0.10) > 0.9


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12))
def test_auroc_counts_pairs(rows: list[tuple[int, bool]]) -> None:
    scores, wrong = np.array([float(s) for s, _ in rows]), np.array([w for _, w in rows])
    pairs = [(a > b) + (a == b) / 2 for a in scores[wrong] for b in scores[~wrong]]
    found = auroc(scores, wrong)
    assert math.isnan(found) if not pairs else found == pytest.approx(float(np.mean(pairs)))


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=8, unique_by=lambda p: p[0]))
def test_the_hull_is_below_all_points_and_convex(points: list[tuple[float, float]]) -> None:
    hull = lower_hull(points)
    assert set(hull) <= set(points)
    assert all(hull_at(hull, x) <= y + 1e-9 for x, y in points)
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in itertools.pairwise(hull)]
    assert slopes == sorted(slopes)
    assert all(slope < 0 for slope in slopes)
