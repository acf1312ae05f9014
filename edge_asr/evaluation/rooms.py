"""Rooms: reverberation of random shoebox rooms, simulated with pyroomacoustics (an optional extra)."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from edge_asr.audio.pcm import Mono
from edge_asr.errors import MissingExtraError
from edge_asr.evaluation.dataset import Utterance

REVERBERATION = (0.2, 0.7)
"""Range of RT60 in seconds."""


class RoomCorruption:
    """Puts each utterance into a random room: 4–10 m wide, RT60 0.2–0.7 s, talker and microphone apart.

    The room depends on the utterance's id and the seed alone. The direct sound keeps its place in time, so the
    length stays the same.

    Args:
        sample_rate: of the audio, in Hz.
        seed: another seed is other rooms.

    Raises:
        MissingExtraError: pyroomacoustics isn't installed.
    """

    def __init__(self, sample_rate: int = 16_000, seed: int = 0) -> None:
        try:
            import pyroomacoustics
        except ImportError as error:
            raise MissingExtraError("rooms need pyroomacoustics: pip install 'edge-asr[rooms]'") from error
        self._acoustics: Any = pyroomacoustics
        self._rate, self._seed = sample_rate, seed

    @property
    def identity(self) -> str:
        """The simulator's version, the rate and the seed."""
        return f"rooms of pyroomacoustics {self._acoustics.__version__}, {self._rate} Hz, seed {self._seed}"

    def response(self, name: str) -> Mono:
        """The room's impulse response for an utterance's id, with the direct sound first."""
        digest = hashlib.sha256(f"{self._seed}\t{name}".encode()).digest()
        draw = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        size = draw.uniform((4.0, 3.0, 2.4), (10.0, 8.0, 3.5))
        absorption, order = self._acoustics.inverse_sabine(float(draw.uniform(*REVERBERATION)), size)
        room = self._acoustics.ShoeBox(
            size, fs=self._rate, materials=self._acoustics.Material(absorption), max_order=min(order, 12)
        )
        room.add_source(draw.uniform(0.5, size - 0.5))
        room.add_microphone(draw.uniform(0.5, size - 0.5))
        room.compute_rir()
        response = np.asarray(room.rir[0][0], dtype=np.float64)
        direct = int(np.abs(response).argmax())
        return np.asarray(response[direct:] / max(1e-9, np.abs(response[direct])), dtype=np.float32)

    def __call__(self, utterance: Utterance, pcm: Mono) -> Mono:
        """Gives the audio as heard in the room, of the same length and power."""
        response = self.response(utterance.id)
        size = 1 << (len(pcm) + len(response) - 1).bit_length()
        wet = np.fft.irfft(np.fft.rfft(pcm, size) * np.fft.rfft(response, size), size)[: len(pcm)]
        power = float(np.mean(wet**2))
        wet *= np.sqrt(float(np.mean(pcm.astype(np.float64) ** 2)) / power) if power > 0 else 1.0
        return np.asarray(np.clip(wet, -1, 1), dtype=np.float32)
