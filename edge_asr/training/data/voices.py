"""Synthetic voices that read sentences aloud, so that training hears words which no recording holds.

Two engines, both small enough to read ten hours in minutes on a CPU: flite (a Debian package, four English voices) and
hibari (PyPI ``hibari-tts``, Apache-2.0: one voice distilled from Kokoro-82M). hibari's network predicts spectra and
a pitch curve, which are turned to audio by a pulse train and filters; between the two, pitch, formants and tilt are
changed, so that one voice becomes many readers.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from edge_asr.errors import DataError, OptionError

SAMPLE_RATE = 16_000
FLITE = {"rms": 95.0, "slt": 170.0, "awb": 115.0, "kal16": 105.0}  # voice → its own pitch in Hz
READERS = 500  # that hibari's voice is made into
PEAK = 0.5

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Manner:
    """Who reads a sentence, and how.

    Attributes:
        reader: who it is.
        pitch: factor on the voice's fundamental frequency.
        pace: factor on its speed.
        tract: factor on the frequencies of its formants; below 1 is a longer vocal tract.
        tilt: dB an octave by which its spectrum rises about 1 kHz.
    """

    reader: str
    pitch: float = 1.0
    pace: float = 1.0
    tract: float = 1.0
    tilt: float = 0.0


class Voices(Protocol):
    """An engine."""

    def draw(self, rng: np.random.Generator) -> Manner:
        """A reader and a manner at random."""

    def speak(self, words: list[str], manner: Manner) -> Floats:
        """The words read aloud, 16 kHz mono; DataError if the engine gives no audio for them."""


class FliteVoices:
    """flite's voices, each at pitches and paces of its own.

    Args:
        names: which of them; all four by default.

    Raises:
        OptionError: a name is not one of them.
        DataError: flite is not installed.
    """

    def __init__(self, names: tuple[str, ...] = tuple(FLITE)) -> None:
        for name in names:
            if name not in FLITE:
                raise OptionError(f"voice {name!r} is not one of flite's for 16 kHz; allowed: {', '.join(FLITE)}")
        if shutil.which("flite") is None:
            raise DataError("flite is not installed (Debian: apt install flite)")
        self._names = names

    def draw(self, rng: np.random.Generator) -> Manner:
        """One of the voices, up to 1.3 times higher or lower and 1.2 times faster or slower."""
        name = self._names[int(rng.integers(len(self._names)))]
        return Manner(name, pitch=1.3 ** rng.uniform(-1, 1), pace=1.2 ** rng.uniform(-1, 1))

    def speak(self, words: list[str], manner: Manner) -> Floats:
        """See Voices."""
        pitch = FLITE[manner.reader] * manner.pitch
        settings = [f"duration_stretch={1 / manner.pace:.3f}", f"int_f0_target_mean={pitch:.1f}"]
        with tempfile.TemporaryDirectory() as folder:
            wav = Path(folder) / "speech.wav"
            command = ["flite", "-voice", manner.reader, *(x for s in settings for x in ("--setf", s))]
            command += ["-t", " ".join(words).lower(), "-o", str(wav)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode or not wav.exists():
                raise DataError(f"flite failed on {' '.join(words)!r}: {done.stderr.strip() or 'no audio'}")
            samples, rate = soundfile.read(wav, dtype="float32")
        if rate != SAMPLE_RATE:
            raise DataError(f"flite voice {manner.reader!r} speaks at {rate} Hz; allowed: {SAMPLE_RATE}")
        return np.asarray(samples, np.float32)


class HibariVoices:
    """hibari's voice as 500 readers, half of them low.

    Raises:
        DataError: hibari is not installed.

    Example:
        >>> voices = HibariVoices()  # doctest: +SKIP
        >>> voices.speak(["HELLO", "WORLD"], voices.draw(np.random.default_rng(0))).dtype  # doctest: +SKIP
        dtype('float32')
    """

    def __init__(self) -> None:
        try:
            from hibari import Hibari, dsp
        except ImportError as error:
            raise DataError("hibari is not installed: pip install hibari-tts") from error
        self._dsp: Any = dsp
        self._voice: Any = Hibari(threads=1)

    def draw(self, rng: np.random.Generator) -> Manner:
        """One of the readers, who have a pitch, vocal tract and tilt each; the pace changes by up to 1.2 each time."""
        number = int(rng.integers(READERS))
        own = np.random.default_rng([READERS, number])
        if number % 2:  # a low voice, about 85 to 135 Hz: a longer tract as well
            pitch, tract = own.uniform(0.46, 0.73), own.uniform(0.78, 0.95)
        else:
            pitch, tract = own.uniform(0.8, 1.35), own.uniform(0.9, 1.12)
        return Manner(f"hibari-{number}", pitch, 1.2 ** rng.uniform(-1, 1), tract, own.uniform(-3, 3))

    def speak(self, words: list[str], manner: Manner) -> Floats:
        """See Voices."""
        text = " ".join(word if word == "I" or word.startswith("I'") else word.lower() for word in words)
        parts = [self._sentence(phonemes, manner) for phonemes in self._voice.phonemize(text)]
        speech = soxr.resample(np.concatenate([*parts, np.zeros(0, np.float32)]), self._voice.sample_rate, SAMPLE_RATE)
        loudest = float(np.abs(speech).max(initial=0.0))
        if not 0 < loudest < np.inf:
            raise DataError(f"hibari gives no audio for {' '.join(words)!r}")
        return np.asarray(speech * (PEAK / loudest), np.float32)

    def _sentence(self, phonemes: str, manner: Manner) -> Floats:
        ids = np.asarray([self._voice.ids(phonemes)], np.int64)
        outputs = self._voice.sess.run(None, {"ids": ids, "speed": np.asarray([manner.pace], np.float32)})
        harmonic, phase, noise, free, free_phase, pitch = (values[0] for values in outputs)
        tilt = octaves(len(harmonic), self._voice.sample_rate) * np.float32(manner.tilt * np.log(10) / 20)
        harmonic, noise, free = (stretched(x, manner.tract) + tilt[:, None] for x in (harmonic, noise, free))
        nearest = np.clip(np.rint(np.arange(len(phase)) / manner.tract), 0, len(phase) - 1).astype(np.intp)
        rng = np.random.default_rng(len(phonemes))
        speech = self._dsp.synth(
            harmonic, stretched(phase, manner.tract), noise, free, free_phase[nearest], pitch * manner.pitch, rng
        )
        return np.asarray(speech, np.float32)


def stretched(spectra: Floats, factor: float) -> Floats:
    """Spectra (bins, frames) with what is at each frequency moved to ``factor`` times that frequency.

    Example:
        >>> stretched(np.array([[0.0], [1.0], [2.0]], np.float32), 2.0).ravel().tolist()
        [0.0, 0.5, 1.0]
    """
    place = np.minimum(np.arange(len(spectra)) / factor, len(spectra) - 1)
    below = place.astype(np.intp)
    share = (place - below).astype(np.float32)[:, None]
    above = np.minimum(below + 1, len(spectra) - 1)
    return np.asarray(spectra[below] * (1 - share) + spectra[above] * share, np.float32)


def octaves(bins: int, rate: int) -> Floats:
    """How many octaves each bin of a spectrum up to half of ``rate`` is above 1 kHz, at most 3 either way.

    Example:
        >>> octaves(5, 8_000).tolist()
        [-3.0, 0.0, 1.0, 1.5849624872207642, 2.0]
    """
    frequencies = np.maximum(np.linspace(0, rate / 2, bins), 1.0)
    return np.clip(np.log2(frequencies / 1000), -3, 3).astype(np.float32)


ENGINES = {"flite": FliteVoices, "hibari": HibariVoices}
