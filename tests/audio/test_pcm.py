"""PCM arrays: types, channels, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.audio.pcm import MAX_CHANNELS, check_pcm, to_mono
from edge_asr.errors import AudioError


def test_int16_is_divided_by_its_full_scale() -> None:
    mono = to_mono(np.array([-32768, 0, 16384], dtype=np.int16))
    assert mono.dtype == np.float32
    assert mono.tolist() == [-1.0, 0.0, 0.5]
    assert to_mono(np.array([16384], dtype=">i2")).tolist() == [0.5]


def test_int16_input_is_left_alone() -> None:
    pcm = np.array([100, 200], dtype=np.int16)
    to_mono(pcm)
    assert pcm.tolist() == [100, 200]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_any_width(dtype: Any) -> None:
    mono = to_mono(np.array([0.5, -0.25], dtype=dtype))
    assert mono.dtype == np.float32
    assert mono.tolist() == [0.5, -0.25]


def test_channels_are_averaged() -> None:
    pcm = np.array([[0.2, 0.4, 0.9], [-0.3, 0.0, 0.3]])
    np.testing.assert_allclose(to_mono(pcm), [0.5, 0.0], atol=1e-7)
    assert to_mono(pcm[:, :1]).tolist() == to_mono(pcm[:, 0]).tolist()


@given(st.integers(1, 7), st.lists(st.integers(0, 50), max_size=6), st.integers(0, 2**32 - 1))
def test_cutting_changes_nothing(channels: int, cuts: list[int], seed: int) -> None:
    pcm = np.random.default_rng(seed).uniform(-1, 1, (50, channels)).astype(np.float32)
    pieces = np.split(pcm, sorted(cuts))
    np.testing.assert_array_equal(np.concatenate([to_mono(piece) for piece in pieces]), to_mono(pcm))


def test_no_samples_are_fine_here() -> None:
    assert len(to_mono(np.zeros(0, dtype=np.float32))) == 0
    assert len(to_mono(np.zeros((0, 2), dtype=np.int16))) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    pcm = np.zeros((10, 2))
    pcm[7, 1] = bad
    with pytest.raises(AudioError, match="NaN or infinity"):
        to_mono(pcm)


@pytest.mark.parametrize(
    ("pcm", "message"),
    [
        (np.zeros(3, dtype=np.int32), "type int32: expected int16"),
        (np.zeros(3, dtype=np.uint8), "type uint8"),
        (np.zeros(3, dtype=complex), "type complex128"),
        (np.array(["a"]), "expected int16"),
        (np.float32(0.5), r"shape \(\)"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.zeros((2, MAX_CHANNELS + 1)), r"at most 64 channels"),
        (np.zeros((2, 0)), r"shape \(2, 0\)"),
        (np.array([0.0, -12000.0]), "reaches 12000"),
    ],
)
def test_other_arrays_are_refused(pcm: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        check_pcm(pcm)
