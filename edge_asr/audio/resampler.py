"""Streaming resampling with soxr."""

from __future__ import annotations

import numpy as np
import soxr

from edge_asr.audio.pcm import Mono
from edge_asr.errors import AudioError

MIN_RATE, MAX_RATE = 1_000, 768_000


def check_rate(rate: int) -> int:
    """Checks a sample rate in Hz.

    Raises:
        AudioError: If it isn't an integer from 1,000 to 768,000.
    """
    if not isinstance(rate, (int, np.integer)) or isinstance(rate, bool) or not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"sample_rate={rate!r}: expected an integer from {MIN_RATE:,} to {MAX_RATE:,} Hz")
    return int(rate)


class Resampler:
    """Converts mono PCM from one rate to another, piece by piece (soxr, quality "HQ").

    The output doesn't depend on how the input is cut into pieces, bit for bit. Equal rates pass through.

    Args:
        source: Rate of the input in Hz.
        target: Rate of the output in Hz.

    Raises:
        AudioError: If a rate is out of range.

    Example:
        >>> resampler = Resampler(8_000, 16_000)
        >>> len(resampler.push(np.zeros(8_000, dtype=np.float32))) + len(resampler.finish())
        16000
    """

    def __init__(self, source: int, target: int) -> None:
        source, target = check_rate(source), check_rate(target)
        self._stream = (
            None if source == target else soxr.ResampleStream(source, target, 1, dtype="float32", quality="HQ")
        )

    def push(self, pcm: Mono) -> Mono:
        """Takes (N,) float32 and gives what is ready, (M,) float32."""
        return pcm if self._stream is None else self._run(pcm, last=False)

    def finish(self) -> Mono:
        """Gives the rest, (M,) float32; nothing can be pushed afterwards."""
        empty = np.zeros(0, dtype=np.float32)
        return empty if self._stream is None else self._run(empty, last=True)

    def _run(self, pcm: Mono, *, last: bool) -> Mono:
        assert self._stream is not None
        result: Mono = self._stream.resample_chunk(pcm, last=last)
        return result
