"""PCM arrays as callers have them, made into one mono float32 array."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asr.errors import AudioError

Mono = npt.NDArray[np.float32]

MAX_CHANNELS = 64
MAX_LEVEL = 8.0
"""Float samples beyond this aren't clipping: they are integers that were never divided."""


def to_mono(pcm: npt.NDArray[Any]) -> Mono:
    """Makes PCM one channel of float32 in [-1, 1]; channels are averaged.

    The result for a sample doesn't depend on the samples around it, so audio may be cut into pieces anywhere.

    Args:
        pcm: (N,) or (N, channels), int16, or float in [-1, 1].

    Returns:
        (N,) float32; may be the array given.

    Raises:
        AudioError: For another type or shape, NaN or infinity, or floats that look like undivided integers.

    Example:
        >>> to_mono(np.array([[16384, 0]], dtype=np.int16))
        array([0.25], dtype=float32)
    """
    pcm = check_pcm(pcm)
    samples = pcm.astype(np.float32, copy=False)
    if _is_int16(pcm):
        samples /= np.float32(32768.0)  # a fresh array: int16 was converted
    if samples.ndim == 1:
        return np.ascontiguousarray(samples)
    mixed = samples[:, 0].copy()
    for channel in range(1, samples.shape[1]):  # one by one, so that the order of the sum is always the same
        mixed += samples[:, channel]
    mixed /= np.float32(samples.shape[1])
    return mixed


def check_pcm(pcm: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Checks PCM of any length without copying it; allowed is what `to_mono` takes.

    Raises:
        AudioError: See `to_mono`.
    """
    pcm = np.asarray(pcm)
    if pcm.ndim not in (1, 2) or (pcm.ndim == 2 and not 1 <= pcm.shape[1] <= MAX_CHANNELS):
        allowed = f"(N,) or (N, channels) with at most {MAX_CHANNELS} channels"
        raise AudioError(f"PCM has shape {pcm.shape}: expected {allowed}")
    is_float = np.issubdtype(pcm.dtype, np.floating)
    if not is_float and not _is_int16(pcm):
        raise AudioError(f"PCM has type {pcm.dtype}: expected int16, or floats in [-1, 1]")
    if is_float:
        _check_level(pcm)
    return pcm


def _is_int16(pcm: npt.NDArray[Any]) -> bool:
    return pcm.dtype.kind == "i" and pcm.dtype.itemsize == 2  # either byte order


def _check_level(samples: npt.NDArray[Any]) -> None:
    if not samples.size:
        return
    level = max(float(samples.max()), -float(samples.min()))
    if not np.isfinite(level):
        raise AudioError("PCM holds NaN or infinity: expected floats in [-1, 1]")
    if level > MAX_LEVEL:
        raise AudioError(f"float PCM reaches {level:g}: expected [-1, 1]; divide integer samples by their full scale")
