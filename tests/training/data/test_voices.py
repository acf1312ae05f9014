"""Synthetic voices: what a manner does to a spectrum, and real engines reading real words."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.errors import DataError, OptionError
from edge_asr.training.data.voices import (
    ENGINES,
    PEAK,
    READERS,
    SAMPLE_RATE,
    FliteVoices,
    HibariVoices,
    Manner,
    octaves,
    stretched,
)

WORDS = ["THE", "OLD", "SAILOR", "SAID", "I", "CLIMBED", "THE", "LADDER"]
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite (Debian: apt install flite)")


@pytest.fixture(scope="module")
def hibari() -> HibariVoices:
    pytest.importorskip("hibari", reason="needs hibari-tts")
    return HibariVoices()


@given(st.floats(0.7, 1.3), st.integers(20, 80))
def test_a_stretched_spectrum_has_its_peak_at_the_stretched_frequency(factor: float, place: int) -> None:
    spectrum = np.exp(-(((np.arange(120) - place) / 6.0) ** 2))[:, None].astype(np.float32)
    moved = stretched(spectrum, factor)
    assert moved.shape == spectrum.shape
    assert moved.dtype == np.float32
    assert abs(int(moved.argmax()) - min(factor * place, 119)) <= 1


def test_a_factor_of_one_changes_nothing() -> None:
    spectra = np.random.default_rng(0).normal(size=(33, 7)).astype(np.float32)
    assert np.array_equal(stretched(spectra, 1.0), spectra)


def test_octaves_count_from_1_khz() -> None:
    assert octaves(9, 16_000)[[1, 2, 4, 8]] == pytest.approx([0, 1, 2, 3])
    assert np.abs(octaves(601, 24_000)).max() == 3


def test_hibari_reads_aloud_and_the_same_twice(hibari: HibariVoices) -> None:
    manner = hibari.draw(np.random.default_rng(3))
    speech = hibari.speak(WORDS, manner)
    assert speech.dtype == np.float32
    assert np.abs(speech).max() == pytest.approx(PEAK, rel=1e-3)
    assert 1.2 < len(speech) / SAMPLE_RATE < 5
    assert np.array_equal(speech, hibari.speak(WORDS, manner))


def test_pitch_pace_and_tilt_do_what_they_say(hibari: HibariVoices) -> None:
    plain = hibari.speak(WORDS, Manner("a"))
    assert len(hibari.speak(WORDS, Manner("a", pace=1.5))) < 0.8 * len(plain)
    assert pitch_of(hibari.speak(WORDS, Manner("a", pitch=0.5))) == pytest.approx(0.5 * pitch_of(plain), rel=0.25)
    assert centre(hibari.speak(WORDS, Manner("a", tilt=3.0))) > 1.1 * centre(plain)
    assert centre(hibari.speak(WORDS, Manner("a", tract=0.8))) < 0.95 * centre(plain)


def test_readers_keep_their_pitch_and_half_of_them_are_low(hibari: HibariVoices) -> None:
    rng = np.random.default_rng(0)
    drawn = [hibari.draw(rng) for _ in range(2000)]
    own: dict[str, set[tuple[float, float, float]]] = {}
    for manner in drawn:
        own.setdefault(manner.reader, set()).add((manner.pitch, manner.tract, manner.tilt))
    assert 0.9 * READERS < len(own) <= READERS
    assert all(len(settings) == 1 for settings in own.values())
    assert 0.4 < sum(manner.pitch < 0.75 for manner in drawn) / len(drawn) < 0.6


def test_hibari_says_when_there_is_nothing_to_say(hibari: HibariVoices) -> None:
    with pytest.raises(DataError, match="no audio"):
        hibari.speak([], Manner("a"))


@needs_flite
def test_flite_reads_aloud_in_each_of_its_voices() -> None:
    for name in ("rms", "slt"):
        voices = FliteVoices((name,))
        manner = voices.draw(np.random.default_rng(0))
        assert manner.reader == name
        assert 1 < len(voices.speak(WORDS, manner)) / SAMPLE_RATE < 6


def test_what_is_missing_or_unknown_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="'hal'"):
        FliteVoices(("hal",))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match="apt install flite"):
        FliteVoices()
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(DataError, match="pip install hibari-tts"):
        HibariVoices()
    assert sorted(ENGINES) == ["flite", "hibari"]


def pitch_of(speech: np.ndarray) -> float:
    """The median pitch in Hz of the loud parts, by autocorrelation."""
    found = []
    for start in range(0, len(speech) - 1024, 512):
        frame = speech[start : start + 1024]
        if np.abs(frame).max() < 0.1:
            continue
        correlation = np.correlate(frame, frame, "full")[1023:]
        lag = 40 + int(correlation[40:320].argmax())
        found.append(SAMPLE_RATE / lag)
    return float(np.median(found))


def centre(speech: np.ndarray) -> float:
    """The centre of the power spectrum in Hz."""
    power = np.abs(np.fft.rfft(speech)) ** 2
    return float((power * np.fft.rfftfreq(len(speech), 1 / SAMPLE_RATE)).sum() / power.sum())
