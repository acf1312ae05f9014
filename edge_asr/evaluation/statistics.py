"""Statistics of comparisons: paired bootstrap, bounds with a promise, AUROC, hulls, shifts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64] | npt.NDArray[np.int64]

CAP = 0.5
"""An utterance's loss counts as at most half of its words, so that a few utterances can tell something."""
BETS = np.array([0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.98])
"""Bets of the betting test, as shares of the largest one that is allowed."""


def bootstrap_difference(
    errors: Array, others: Array, words: Array, *, samples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Compares two policies on the same utterances. Source: Bisani and Ney 2004, paired bootstrap.

    Args:
        errors: (U,) word errors of the first.
        others: (U,) word errors of the second.
        words: (U,) words in the references.
        samples: how often utterances are drawn with replacement.
        seed: of the draws.

    Returns:
        Mean, 2.5 % and 97.5 % quantile of the first's WER minus the second's.
    """
    rows = np.random.default_rng(seed).integers(0, len(words), (samples, len(words)))
    differences = (errors[rows].sum(axis=1) - others[rows].sum(axis=1)) / np.maximum(1, words[rows].sum(axis=1))
    low, high = np.quantile(differences, (0.025, 0.975))
    return float((errors.sum() - others.sum()) / max(1, words.sum())), float(low), float(high)


def in_points(difference: Sequence[float]) -> str:
    """A difference of rates and its interval, in points; an interval of nothing is left out.

    Example:
        >>> in_points((0.012, -0.001, 0.02))
        '+1.2 (-0.1 to +2.0)'
    """
    mean, low, high = (100 * x for x in difference)
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})" if low or high else f"{mean:+.1f}"


def bootstrap_relative_loss(
    errors: Array, full: Array, *, confidence: float = 0.9, samples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Relative loss of WER against full depth: estimate, and the two-sided interval of a paired bootstrap."""
    rows = np.random.default_rng(seed).integers(0, len(full), (samples, len(full)))
    losses = errors[rows].sum(axis=1) / np.maximum(1, full[rows].sum(axis=1)) - 1
    low, high = np.quantile(losses, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(errors.sum() / max(1, full.sum()) - 1), float(low), float(high)


def excess_p_value(errors: Array, full: Array, words: Array, max_loss: float) -> float:
    """Tests that a policy loses more than allowed; a small value says that it doesn't.

    The loss of an utterance is ``(errors - (1 + max_loss) · full) / words``, cut to ±0.5; the hypothesis is
    that its mean over utterances is above 0. The p-value holds for any number of utterances drawn
    independently, without assumptions on the distribution: it is 1 / wealth of a gambler who bets against the
    hypothesis, averaged over fixed bets. Source: Waudby-Smith and Ramdas, arXiv 2010.09686.

    Args:
        errors: (U,) word errors of the policy.
        full: (U,) word errors at full depth.
        words: (U,) words in the references.
        max_loss: allowed relative loss of WER, as a fraction.
    """
    loss = np.clip((errors - (1 + max_loss) * full) / np.maximum(1, words), -CAP, CAP)
    wealth = np.log1p(-BETS[:, None] * loss / CAP).sum(axis=1)
    top = wealth.max()
    return float(min(1.0, np.exp(-(top + np.log(np.exp(wealth - top).mean())))))


def auroc(scores: Array, wrong: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve of a score that should be large where something is wrong.

    It is the probability that a wrong one has the larger score, ties counting half; NaN if all are wrong or
    none is.

    Example:
        >>> auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
        0.75
    """
    bad, good = scores[wrong], np.sort(scores[~wrong])
    if not len(bad) or not len(good):
        return float("nan")
    below, upto = np.searchsorted(good, bad, "left"), np.searchsorted(good, bad, "right")
    return float((below + upto).sum() / 2 / (len(bad) * len(good)))


def lower_hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The lower convex hull of (cost, WER) points, from cheap to dear, falling: what mixing them can reach.

    Example:
        >>> lower_hull([(1, 5.0), (2, 4.5), (3, 2.0), (4, 3.0)])
        [(1, 5.0), (3, 2.0)]
    """
    hull: list[tuple[float, float]] = []
    for point in sorted(points):
        if hull and point[1] >= hull[-1][1]:
            continue
        while len(hull) > 1:
            (x1, y1), (x2, y2) = hull[-2:]
            if (y2 - y1) * (point[0] - x1) < (point[1] - y1) * (x2 - x1):
                break
            hull.pop()
        hull.append(point)
    return hull


def hull_at(hull: Sequence[tuple[float, float]], cost: float) -> float:
    """The hull's WER at a cost; flat beyond its ends."""
    return float(np.interp(cost, [x for x, _ in hull], [y for _, y in hull]))
