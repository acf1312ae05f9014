"""Confidence intervals of error rates by resampling speakers.

Utterances of one speaker are alike, so resampling utterances would make intervals too narrow. Whole speakers are
drawn with replacement instead (the cluster bootstrap; M. Bisani and H. Ney, "Bootstrap estimates for confidence
intervals in ASR performance evaluation", ICASSP 2004, draw utterances). With few speakers the interval is itself
rough. A single speaker's utterances are drawn one by one: the interval then says nothing of other speakers.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edge_asr.errors import DataError
from edge_asr.evaluation.wer import ErrorCount


def rate_interval(
    counts: Iterable[tuple[str, ErrorCount]], *, level: float = 0.95, draws: int = 4000, seed: int = 0
) -> tuple[float, float]:
    """The interval of an error rate, as fractions: the percentiles of the rate over resampled speakers.

    Where there is one speaker, utterances are resampled.

    Args:
        counts: speaker and errors of each utterance.
        level: the interval's coverage.
        draws: resampled sets.
        seed: of the resampling; the same one gives the same interval.

    Raises:
        DataError: there is nothing to resample.

    Example:
        >>> counts = [("a", ErrorCount(hits=9, substitutions=1)), ("b", ErrorCount(hits=7, substitutions=3))]
        >>> low, high = rate_interval(counts)
        >>> round(low, 2), round(high, 2)
        (0.1, 0.3)
    """
    rows = list(counts)
    if len({speaker for speaker, _ in rows}) == 1:
        rows = [(str(number), count) for number, (_, count) in enumerate(rows)]
    errors: dict[str, int] = {}
    words: dict[str, int] = {}
    for speaker, count in rows:
        errors[speaker] = errors.get(speaker, 0) + count.errors
        words[speaker] = words.get(speaker, 0) + count.reference
    if not errors:
        raise DataError("no utterances to resample; at least one is needed")
    wrong, spoken = np.array(list(errors.values())), np.array([words[speaker] for speaker in errors])
    drawn = np.random.default_rng(seed).integers(0, len(wrong), size=(draws, len(wrong)))
    rates = wrong[drawn].sum(axis=1) / np.maximum(1, spoken[drawn].sum(axis=1))
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
