"""Noise at a wanted signal-to-noise ratio, the same for an utterance each time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_asr.audio.pcm import Mono
from edge_asr.audio.reader import read_audio
from edge_asr.errors import AudioError, AudioNotFoundError, DataError, OptionError
from edge_asr.evaluation.dataset import AUDIO_ENDINGS, Utterance


def read_noises(folder: Path, sample_rate: int = 16_000, most: int = 400) -> list[Mono]:
    """Read a folder's noise clips, at any depth; silent, empty and damaged ones, and links to nothing, are left out.

    Args:
        folder: holds audio files.
        sample_rate: wanted rate in Hz.
        most: at most so many, spread evenly over the sorted files.

    Raises:
        DataError: there is no clip that can be heard.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in AUDIO_ENDINGS)
    step = max(1, -(-len(files) // most))
    clips = []
    for file in files[::step]:
        try:
            clip = read_audio(file, sample_rate)
        except (AudioError, AudioNotFoundError):
            continue  # one of many; the result doesn't hang on it
        if len(clip) and np.abs(clip).max() > 1e-3:  # a sample or two may be none at another rate
            clips.append(clip)
    if not clips:
        raise DataError(f"no noise in {str(folder)!r}: expected audio files ({', '.join(AUDIO_ENDINGS)})")
    return clips


SILENCE = 1e-12
"""Power up to which a stretch of noise is silent."""


class NoiseCorruption:
    """Adds a clip of noise, over and over, so that speech is a wanted number of decibels louder.

    Which clip, and where it begins, depends on the utterance's id and the seed alone. Where it is silent for as long as
    the utterance lasts, another beginning is drawn, among its loud samples.

    Args:
        clips: noise at the model's rate.
        snr_db: power of the utterance over that of the noise, in decibels.
        seed: another seed is another choice of clips.

    Raises:
        OptionError: the ratio is not a number from -40 to 80.
    """

    def __init__(self, clips: Sequence[Mono], snr_db: float, seed: int = 0) -> None:
        if not -40 <= snr_db <= 80:
            raise OptionError(f"snr is {snr_db} dB: expected -40 to 80")
        self._clips, self._snr, self._seed = clips, snr_db, seed

    @property
    def identity(self) -> str:
        """A digest of the clips, and the ratio and the seed."""
        digest = hashlib.sha256()
        for clip in self._clips:
            digest.update(hashlib.sha256(clip.tobytes()).digest())
        return f"heard noise {digest.hexdigest()}, {self._snr} dB, seed {self._seed}"

    def __call__(self, utterance: Utterance, pcm: Mono) -> Mono:
        """Gives the noisy audio, of the same length and without clipping."""
        if not len(pcm):
            return pcm
        digest = hashlib.sha256(f"{self._seed}\t{utterance.id}".encode()).digest()
        draw = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        clip = self._clips[int(draw.integers(len(self._clips)))]
        start = int(draw.integers(len(clip)))
        noise, power = _stretch(clip, start, len(pcm))
        if power <= SILENCE:
            loud = np.flatnonzero(np.abs(clip) >= np.abs(clip).max() / 2)
            noise, power = _stretch(clip, int(loud[draw.integers(len(loud))]), len(pcm))
        if not power:
            return pcm  # nothing to add
        wanted = float(np.mean(pcm.astype(np.float64) ** 2)) / 10 ** (self._snr / 10)
        noisy = pcm + noise * np.float32(np.sqrt(wanted / power))
        loudest = float(np.abs(noisy).max())
        return np.asarray(noisy if loudest <= 1 else noisy / loudest, dtype=np.float32)


def _stretch(clip: Mono, start: int, length: int) -> tuple[Mono, float]:
    """A clip, over and over, from a sample on: (length,), and its power."""
    noise = np.resize(np.roll(clip, -start), length)
    return noise, float(np.mean(noise.astype(np.float64) ** 2))
