"""Log-mel features against kaldi-native-fbank."""

from __future__ import annotations

from pathlib import Path

import kaldi_native_fbank as knf
import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf
import torch
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.model.logmel import FLOOR, HOP, LOG_FLOOR, WINDOW, LogMel, mel_matrix


def kaldi(pcm: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = 16_000
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = 80
    options.mel_opts.low_freq = 20
    options.mel_opts.high_freq = -400
    fbank = knf.OnlineFbank(options)
    fbank.accept_waveform(16_000, pcm.tolist())
    fbank.input_finished()
    return np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])


def ours(pcm: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        return LogMel()(torch.from_numpy(pcm)[None])[0].numpy()


def exact(pcm: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The definition, in double precision, written with numpy's FFT."""
    n = np.arange(WINDOW)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * n / (WINDOW - 1))) ** 0.85
    x = np.lib.stride_tricks.sliding_window_view(pcm.astype(np.float64), WINDOW)[::HOP]
    x = x - x.mean(axis=1, keepdims=True)
    x = (x - 0.97 * np.concatenate([x[:, :1], x[:, :-1]], axis=1)) * window
    power = np.abs(np.fft.rfft(x, 512)[:, 1:256]) ** 2
    return np.log(np.maximum(power @ mel_matrix().numpy().astype(np.float64), FLOOR))


def test_same_as_kaldi_on_speech(samples: Path) -> None:
    files = sorted(samples.glob("*.flac"))
    assert files
    for file in files:
        pcm, _ = sf.read(file, dtype="float32")
        reference, definition = kaldi(pcm), exact(pcm)
        assert ours(pcm).shape == reference.shape
        assert np.abs(ours(pcm) - definition).max() <= 5e-4
        # kaldi-native-fbank rounds too: a few of its values in near-silence lie up to 1.2e-3 from the definition.
        sound = np.abs(reference - definition) <= 5e-4
        assert sound.mean() > 0.9999
        assert np.abs(ours(pcm) - reference)[sound].max() <= 1e-3


@given(st.integers(WINDOW, 4000), st.floats(1e-4, 0.9), st.integers(0, 2**31))
def test_same_as_kaldi_on_noise_of_any_length_and_level(samples: int, level: float, seed: int) -> None:
    pcm = (np.random.default_rng(seed).standard_normal(samples) * level).astype(np.float32)
    reference = kaldi(pcm)
    assert reference.shape == ((samples - WINDOW) // HOP + 1, 80)
    assert np.abs(ours(pcm) - reference).max() <= 1e-3


def test_silence_is_the_floor() -> None:
    assert np.allclose(ours(np.zeros(1600, dtype=np.float32)), LOG_FLOOR)
    assert pytest.approx(np.finfo(np.float32).eps) == FLOOR
