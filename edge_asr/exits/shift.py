"""Has what the exits see drifted away from calibration?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_asr.errors import OptionError

SHIFTED = 0.25
"""A population stability index above this is commonly called a shift."""


def population_stability(expected: Sequence[float], found: Sequence[float]) -> float:
    """Population stability index between shares of the same bins: ``Σ (q - p) ln(q / p)``.

    Args:
        expected: Shares p in calibration.
        found: Shares q now.

    Raises:
        OptionError: If the bins differ in number.

    Example:
        >>> population_stability([0.5, 0.5], [0.5, 0.5])
        0.0
    """
    if len(expected) != len(found):
        raise OptionError(f"{len(found)} shares for {len(expected)} bins")
    one, other = np.maximum(expected, 1e-4), np.maximum(found, 1e-4)
    return float(((other - one) * np.log(other / one)).sum())
