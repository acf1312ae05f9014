"""All that an exit says about one chunk: what criteria look at."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asr.errors import OptionError
from edge_asr.exits.stats import ExitStats

Floats = npt.NDArray[np.float32]

SURELY_BLANK = 0.95
"""A frame whose posterior of blank is above this says nothing about words."""


@dataclass(frozen=True, eq=False)
class ExitView:
    """An exit's view of a chunk, with those of the exits before it.

    Attributes:
        exit: The exit, from 1.
        stats: Means of ``frames`` over the chunk.
        frames: (n_valid, 4), per frame what `ExitStats` names.
        log_probs: (n_valid, V).
        before: The view of the exit before; None at exit 1.
        seconds: Wall time of the exit's segment on this chunk.
        blank: Id of the blank.
        phones: (n_valid, P) log-probabilities of phones, where the exit gives those too; no criterion looks at them.

    Example:
        >>> log_probs = np.log(np.array([[0.98, 0.01, 0.01], [0.1, 0.8, 0.1]], dtype=np.float32))
        >>> view = ExitView.of(1, frame_stats(log_probs), log_probs)
        >>> round(view.stats.max_posterior, 2), round(view.nonblank.max_posterior, 2)
        (0.89, 0.8)
    """

    exit: int
    stats: ExitStats
    frames: Floats
    log_probs: Floats
    before: ExitView | None = None
    seconds: float = 0.0
    blank: int = 0
    phones: Floats | None = None

    @classmethod
    def of(
        cls,
        exit: int,
        frames: Floats,
        log_probs: Floats,
        before: ExitView | None = None,
        seconds: float = 0.0,
        blank: int = 0,
        phones: Floats | None = None,
    ) -> ExitView:
        """Makes a view; the means are computed in float64."""
        return cls(exit, mean_stats(frames), frames, log_probs, before, seconds, blank, phones)

    @property
    def nonblank(self) -> ExitStats:
        """Means over the frames that aren't surely blank; over all frames if each surely is."""
        kept = self.frames[:, 3] <= SURELY_BLANK
        return mean_stats(self.frames[kept]) if kept.any() else self.stats

    @property
    def elapsed(self) -> float:
        """Wall time of all segments that have run on this chunk, in seconds."""
        return self.seconds + (self.before.elapsed if self.before is not None else 0.0)

    @cached_property
    def memo(self) -> dict[Hashable, Any]:
        """What criteria have computed of this view, under names of their own: several ask for the same."""
        return {}

    @cached_property
    def tokens(self) -> list[int]:
        """The best path's tokens in this chunk, repeats merged, blanks dropped."""
        best = self.log_probs.argmax(axis=1)
        begins = np.concatenate([[True], best[1:] != best[:-1]]) & (best != self.blank)
        tokens: list[int] = best[begins].tolist()
        return tokens

    def tempered(self, temperatures: Sequence[float]) -> ExitView:
        """Gives the same view with log-probabilities divided by the exits' temperatures, and stats to match.

        Source: Guo et al. 2017, arXiv 1706.04599, with one temperature for each exit.

        Args:
            temperatures: One for each exit, from exit 1; 1 changes nothing.
        """
        before = None if self.before is None else self.before.tempered(temperatures)
        temperature = temperatures[self.exit - 1]
        if temperature == 1.0:
            return replace(self, before=before)
        log_probs = tempered(self.log_probs, temperature)
        frames = frame_stats(log_probs, self.blank)
        return replace(self, stats=mean_stats(frames), frames=frames, log_probs=log_probs, before=before)


def check_temperatures(temperatures: Sequence[float]) -> tuple[float, ...]:
    """Checks temperatures.

    Raises:
        OptionError: If one of them isn't a number above 0.
    """
    for exit, value in enumerate(temperatures, start=1):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value < float("inf"):
            raise OptionError(f"temperature of exit {exit} is {value!r}: expected a number above 0")
    return tuple(float(value) for value in temperatures)


def mean_stats(frames: Floats) -> ExitStats:
    """Means of per-frame stats (n, 4) over the frames."""
    return ExitStats(*(float(value) for value in frames.mean(axis=0, dtype=np.float64)))


def tempered(log_probs: Floats, temperature: float) -> Floats:
    """Log-probabilities (n, V) flattened (temperature above 1) or sharpened, normalised again."""
    scaled = log_probs / np.float32(temperature)
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    normalised: Floats = (scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))).astype(np.float32)
    return normalised


def frame_stats(log_probs: Floats, blank: int = 0) -> Floats:
    """Computes what a graph's ``stats`` output holds, (n, 4), from log-probabilities (n, V), V ≥ 2."""
    posteriors = np.exp(log_probs)
    entropy = -(posteriors * np.where(posteriors > 0, log_probs, 0.0)).sum(axis=1)
    two = np.partition(posteriors, -2, axis=1)[:, -2:]
    stacked: Floats = np.stack([entropy, two[:, 1], two[:, 1] - two[:, 0], posteriors[:, blank]], axis=1)
    return stacked.astype(np.float32)
