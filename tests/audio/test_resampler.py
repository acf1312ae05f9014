"""The resampler: right rate, right frequency, the same bits however the input is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asr.audio.resampler import Resampler, check_rate
from edge_asr.errors import AudioError

RATES = [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 12_345]


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_stays_itself(rate: int) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    resampler = Resampler(rate, 16_000)
    result = np.concatenate([resampler.push(tone), resampler.finish()])
    expected = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert len(result) == 16_000
    assert np.abs(result - expected)[500:-500].max() < 2e-3


@settings(max_examples=30)
@given(st.sampled_from(RATES), st.lists(st.integers(0, 3_000), max_size=8))
def test_cutting_changes_no_bit(rate: int, cuts: list[int]) -> None:
    pcm = np.random.default_rng(rate).uniform(-0.5, 0.5, 3_000).astype(np.float32)
    whole, pieces = Resampler(rate, 16_000), Resampler(rate, 16_000)
    expected = np.concatenate([whole.push(pcm), whole.finish()])
    parts = [pieces.push(piece) for piece in np.split(pcm, sorted(cuts))]
    np.testing.assert_array_equal(np.concatenate([*parts, pieces.finish()]), expected)


def test_equal_rates_pass_through() -> None:
    pcm = np.ones(5, dtype=np.float32)
    resampler = Resampler(16_000, 16_000)
    assert resampler.push(pcm) is pcm
    assert len(resampler.finish()) == 0


@pytest.mark.parametrize("rate", [0, -16_000, 999, 1_000_000, 16_000.0, "16000", True, None])
def test_bad_rates(rate: object) -> None:
    with pytest.raises(AudioError, match="expected an integer from 1,000 to 768,000"):
        check_rate(rate)  # type: ignore[arg-type]


def test_numpy_rates_are_fine() -> None:
    assert check_rate(np.int32(8_000)) == 8_000  # type: ignore[arg-type]
