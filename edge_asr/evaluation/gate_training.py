"""Training a learned gate: one logistic regression per exit on what the exits say of themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_asr.evaluation.chunk_table import ChunkTable, Floats
from edge_asr.exits.learned_gate import LearnedGate, gate_features

PENALTY = 3.0
"""Weight of the squared weights (of normalised features) against the summed log-loss."""
STEPS = 25


def train_gate(table: ChunkTable, penalty: float = PENALTY, temperatures: Sequence[float] | None = None) -> LearnedGate:
    """Trains a gate on a table: its probability is that this exit costs no word error more than the last one.

    Args:
        table: chunks to train on, never those that the result is judged by.
        penalty: the larger, the smaller the weights.
        temperatures: one for each exit, as the gate will be used with them; None for none.
    """
    features = np.array([[gate_features(view) for view in views] for views in table.views(temperatures)])
    rows = []
    for i in range(table.exits - 1):
        harmless = (table.harm[:, i] <= 0).astype(np.float64)
        rows.append(tuple(logistic_regression(features[:, i], harmless, penalty).tolist()))
    return LearnedGate(tuple(rows))


def logistic_regression(features: Floats, target: Floats, penalty: float) -> Floats:
    """Fits bias and weights by Newton's method.

    Args:
        features: (n, m), on any scale.
        target: (n,) zeros and ones.
        penalty: weight of the squared weights, after the features were normalised; the bias has none.

    Returns:
        (m + 1,) bias and weights for the features as they are given.
    """
    mean, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    x = np.concatenate([np.ones((len(features), 1)), (features - mean) / scale], axis=1)
    ridge = np.diag([1e-3, *[penalty] * features.shape[1]])
    weights = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (p - target) + ridge @ weights
        curvature = (x * np.maximum(p * (1 - p), 1e-6)[:, None]).T @ x + ridge
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    slopes = weights[1:] / scale
    return np.concatenate([[weights[0] - float(slopes @ mean)], slopes])
