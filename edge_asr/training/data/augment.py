"""Augmentation of log-mel batches: pace, warped frequencies, gain, noise, bandwidth and SpecAugment."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edge_asr.model.logmel import LOG_FLOOR
from edge_asr.training.config import AugmentConfig

DB = math.log(10) / 10  # natural-log power units in a decibel
CORNERS = 5  # of a curve of gains


class Augmenter:
    """Changes log-mels (T, bins) of one utterance at random; the generator is passed in, so a run can be repeated.

    Mixing happens on mel powers: the logarithm of the sum of speech's and noise's energies, which is what
    the frontend
    would give for the sum of two uncorrelated signals.
    """

    def __init__(
        self, config: AugmentConfig, mean: npt.NDArray[np.float32], noise: npt.NDArray[np.float16] | None
    ) -> None:
        self.config = config
        self.mean = torch.from_numpy(mean)
        self.noise = noise

    def __call__(self, mels: Tensor, rng: np.random.Generator) -> Tensor:
        """Log-mels (T, bins) float32 → changed copy of the same shape."""
        c = self.config
        x = mels + rng.uniform(-c.gain_db, c.gain_db) * DB
        if c.frequency_warp:
            x = warped(x, rng.uniform(-c.frequency_warp, c.frequency_warp))
        if c.equalize_db:
            places = rng.random(CORNERS) * (x.shape[1] - 1)
            x = x + gain_curve(x.shape[1], places, rng.uniform(-c.equalize_db, c.equalize_db, CORNERS)) * DB
        if self.noise is not None and rng.random() < c.noise_probability:
            x = self._mix(x, rng)
        if rng.random() < c.bandwidth_probability:
            cut = int(rng.integers(55, x.shape[1]))
            x[:, cut:] -= torch.linspace(0, rng.uniform(5, 60) * DB, x.shape[1] - cut)
        x.clamp_(min=LOG_FLOOR)
        return self._mask(x, rng)

    def _mix(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        assert self.noise is not None
        rows = len(x)
        start = int(rng.integers(0, max(1, len(self.noise) - rows)))
        noise = torch.from_numpy(self.noise[start : start + rows].astype(np.float32))
        if len(noise) < rows:
            noise = noise.repeat(-(-rows // len(noise)), 1)[:rows]
        snr = rng.uniform(*self.config.snr_db) * DB
        level = x.exp().mean().log() - noise.exp().mean().log() - snr
        return torch.logaddexp(x, noise + level)

    def _mask(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        c = self.config
        for _ in range(c.frequency_masks):
            width = int(rng.integers(0, c.frequency_width + 1))
            first = int(rng.integers(0, x.shape[1] - width + 1))
            x[:, first : first + width] = self.mean[first : first + width]
        for _ in range(c.time_masks):
            width = int(rng.integers(0, min(c.time_width, int(c.time_share * len(x))) + 1))
            first = int(rng.integers(0, len(x) - width + 1))
            x[first : first + width] = self.mean
        return x


def gain_curve(bins: int, places: npt.NDArray[np.float64], gains: npt.NDArray[np.float64]) -> Tensor:
    """Gains (bins) on straight lines between corners, level beyond the outermost.

    Args:
        bins: how many.
        places: of the corners, in bins, in any order.
        gains: of the corners.

    Example:
        >>> gain_curve(5, np.array([3.0, 1.0]), np.array([2.0, 0.0]))
        tensor([0., 0., 1., 2., 2.])
    """
    order = np.argsort(places)
    return torch.from_numpy(np.interp(np.arange(bins), places[order], gains[order]).astype(np.float32))


def warped(mels: Tensor, share: float) -> Tensor:
    """Log-mels (T, bins) with their mel axis stretched by a share (below 0: compressed), bin 0 staying where it is.

    What is stretched beyond the last bin is lost, and what compression leaves without a source gets the last bin.

    Example:
        >>> warped(torch.arange(5.0)[None], 1.0)
        tensor([[0.0000, 0.5000, 1.0000, 1.5000, 2.0000]])
    """
    bins = mels.shape[1]
    source = (torch.arange(bins) / (1 + share)).clamp(max=bins - 1)
    lower = source.floor().long()
    upper = (lower + 1).clamp(max=bins - 1)
    return torch.lerp(mels[:, lower], mels[:, upper], source - lower)


def paced(mels: Tensor, pace: float) -> Tensor:
    """Log-mels (T, bins) at another pace, above 1 faster: about T / pace rows, neighbours mixed.

    Example:
        >>> paced(torch.arange(4.0)[:, None], 0.5).flatten()
        tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000, 2.5000, 3.0000, 3.0000])
    """
    rows = len(mels)
    place = (torch.arange(math.ceil(rows / pace)) * pace).clamp(max=rows - 1)
    lower = place.floor().long()
    upper = (lower + 1).clamp(max=rows - 1)
    return torch.lerp(mels[lower], mels[upper], (place - lower)[:, None])
