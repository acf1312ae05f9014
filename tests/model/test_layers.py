"""Stats of an exit, and resampling by two."""

from __future__ import annotations

import math

import torch

from edge_asr.model.layers import double, exit_stats, halve, places, rotary, rotate


def test_stats_of_known_distributions() -> None:
    probs = torch.tensor([[[0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.2, 1e-30]]])
    stats = exit_stats(probs.log())[0]
    assert torch.allclose(stats[0], torch.tensor([math.log(4), 0.25, 0.0, 0.25]), atol=1e-6)
    entropy = -sum(p * math.log(p) for p in (0.7, 0.1, 0.2))
    assert torch.allclose(stats[1], torch.tensor([entropy, 0.7, 0.5, 0.7]), atol=1e-6)


def test_halve_and_double() -> None:
    x = torch.arange(8.0).reshape(1, 8, 1)
    assert double(halve(x)).flatten().tolist() == [0.5, 0.5, 2.5, 2.5, 4.5, 4.5, 6.5, 6.5]


def test_rotated_products_depend_on_distance_only() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(1, 1, 1, 8, dtype=torch.float64), torch.randn(1, 1, 1, 8, dtype=torch.float64)
    at = places(50, q)

    def product(i: int, j: int) -> float:
        a, b = rotate(q, rotary(at[i : i + 1], 8)), rotate(k, rotary(at[j : j + 1], 8))
        return float((a * b).sum())

    assert math.isclose(product(3, 10), product(33, 40), rel_tol=1e-9)
    assert not math.isclose(product(3, 10), product(3, 12), rel_tol=1e-3)
