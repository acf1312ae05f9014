"""Reliability of confidences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.errors import DataError
from edge_asr.evaluation.reliability import Bin, calibration_error, draw_reliability, reliability

WORDS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=200)


@given(WORDS)
def test_bins_hold_every_word_once_and_keep_its_mean(words: list[tuple[float, bool]]) -> None:
    bins = reliability([c for c, _ in words], [r for _, r in words])
    assert sum(b.words for b in bins) == len(words)
    assert sum(b.words * b.right for b in bins) == pytest.approx(sum(r for _, r in words))
    assert sum(b.words * b.confidence for b in bins) == pytest.approx(sum(c for c, _ in words))
    assert 0 <= calibration_error(bins) <= 1
    # The error of all bins is at least that of the whole.
    whole = abs(sum(c for c, _ in words) - sum(r for _, r in words)) / max(1, len(words))
    assert calibration_error(bins) >= whole - 1e-9


def test_a_calibrated_speaker_has_no_error_and_a_boaster_has() -> None:
    rng = np.random.default_rng(0)
    sure = rng.random(50_000)
    right = rng.random(50_000) < sure
    assert calibration_error(reliability(sure, right)) < 0.01
    assert calibration_error(reliability(np.ones(1000), np.arange(1000) % 4 > 0)) == pytest.approx(0.25)


@pytest.mark.parametrize("sure", [[], [0.5, 0.5], [1.2], [-0.1], [float("nan")], [[0.5]]])
def test_bad_confidences_are_refused(sure: list[float]) -> None:
    with pytest.raises(DataError):
        reliability(sure, [True])


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_reliability({"lm": [Bin(3, 0.2, 0.3), Bin(9, 0.9, 0.8)], "nothing": []}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
