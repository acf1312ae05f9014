"""Noise and rooms."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_asr.errors import DataError, MissingExtraError, OptionError
from edge_asr.evaluation.dataset import Utterance
from edge_asr.evaluation.noise import NoiseCorruption, read_noises
from edge_asr.evaluation.rooms import RoomCorruption

SPEAKER = Utterance("one", Path("one.wav"), "A")
RNG = np.random.default_rng(0)
SPEECH = (RNG.standard_normal(8000) * 0.05).astype(np.float32)
CLIPS = [(RNG.standard_normal(3000) * level).astype(np.float32) for level in (0.01, 0.3)]


@pytest.mark.parametrize("snr", [20, 0])
def test_the_ratio_is_kept(snr: float) -> None:
    for name in "abc":
        noisy = NoiseCorruption(CLIPS, snr)(Utterance(name, Path("x.wav"), "A"), SPEECH)
        added = noisy - SPEECH
        assert 10 * np.log10((SPEECH**2).mean() / (added**2).mean()) == pytest.approx(snr, abs=0.1)
        assert len(noisy) == len(SPEECH)
        assert noisy.dtype == np.float32


def test_a_clip_that_is_mostly_silence_gives_the_ratio_too() -> None:
    clip = np.zeros(160_000, dtype=np.float32)
    clip[40_000:41_000] = RNG.standard_normal(1000) * 0.3
    clip[90_000] = 1e-4
    corruption, speech = NoiseCorruption([clip], 10), SPEECH / 10  # far from clipping
    for number in range(40):
        utterance = Utterance(f"u{number}", Path("x.wav"), "A")
        added = corruption(utterance, speech) - speech
        assert 10 * np.log10((speech**2).mean() / (added**2).mean()) == pytest.approx(10, abs=0.1)
        assert np.array_equal(corruption(utterance, speech), corruption(utterance, speech))
    silent = NoiseCorruption([np.zeros(100, dtype=np.float32)], 10)
    assert np.array_equal(silent(SPEAKER, SPEECH), SPEECH)


def test_it_is_the_same_each_time_and_never_clips() -> None:
    corruption = NoiseCorruption(CLIPS, 5)
    assert np.array_equal(corruption(SPEAKER, SPEECH), corruption(SPEAKER, SPEECH))
    assert not np.array_equal(corruption(SPEAKER, SPEECH), NoiseCorruption(CLIPS, 5, seed=1)(SPEAKER, SPEECH))
    assert np.abs(NoiseCorruption(CLIPS, -20)(SPEAKER, SPEECH * 5)).max() <= 1.0
    assert len(corruption(SPEAKER, SPEECH[:0])) == 0
    with pytest.raises(OptionError, match="snr is 99 dB"):
        NoiseCorruption(CLIPS, 99)


def test_clips_are_read(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    soundfile.write(tmp_path / "deep" / "a.wav", CLIPS[1], 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 16_000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    (tmp_path / "nowhere.wav").symlink_to(tmp_path / "gone.wav")
    soundfile.write(tmp_path / "one.wav", np.full(1, 0.5), 48_000)  # no sample at 16 kHz
    assert len(read_noises(tmp_path)) == 1
    with pytest.raises(DataError, match="no noise in"):
        read_noises(tmp_path / "nowhere")


def test_rooms_need_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(MissingExtraError, match=r"edge-asr\[rooms\]"):
        RoomCorruption()


def test_a_room_keeps_length_and_power() -> None:
    pytest.importorskip("pyroomacoustics")
    wet = RoomCorruption()(SPEAKER, SPEECH)
    assert len(wet) == len(SPEECH)
    assert (wet**2).mean() == pytest.approx((SPEECH**2).mean(), rel=0.05)
    assert not np.allclose(wet, SPEECH, atol=1e-3)
