"""Intervals over speakers."""

from __future__ import annotations

import numpy as np
import pytest

from edge_asr.errors import DataError
from edge_asr.evaluation.bootstrap import rate_interval
from edge_asr.evaluation.wer import ErrorCount


def test_the_interval_holds_the_rate_and_is_repeatable() -> None:
    rng = np.random.default_rng(0)
    counts = [(f"s{i % 12}", ErrorCount(hits=20, substitutions=int(rng.poisson(5)))) for i in range(240)]
    rate = sum((count for _, count in counts), ErrorCount()).rate
    low, high = rate_interval(counts)
    assert low < rate < high < low + 0.1
    assert rate_interval(counts) == (low, high)


def test_utterances_of_one_speaker_do_not_count_as_independent() -> None:
    counts = [(f"s{i % 4}", ErrorCount(hits=10 - 2 * (i % 4), substitutions=2 * (i % 4))) for i in range(200)]
    alone = [(f"u{i}", count) for i, (_, count) in enumerate(counts)]
    by_speaker, by_utterance = rate_interval(counts), rate_interval(alone)
    assert by_speaker[1] - by_speaker[0] > 2 * (by_utterance[1] - by_utterance[0])


def test_utterances_of_a_single_speaker_are_resampled() -> None:
    counts = [("a", ErrorCount(hits=10 - i % 4, substitutions=i % 4)) for i in range(40)]
    low, high = rate_interval(counts)
    assert low < 0.15 < high
    assert (low, high) == rate_interval([(f"u{i}", count) for i, (_, count) in enumerate(counts)])


def test_one_speaker_and_none() -> None:
    assert rate_interval([("a", ErrorCount(hits=3, deletions=1))]) == (0.25, 0.25)
    with pytest.raises(DataError, match="no utterances"):
        rate_interval([])
