"""Whether a confidence of 0.8 is right eight times in ten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_asr.errors import DataError
from edge_asr.evaluation.pyplot import load_pyplot

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """The words whose confidence lies in one tenth of the scale.

    Attributes:
        words: how many.
        confidence: their mean confidence.
        right: the share of them that is right.
    """

    words: int
    confidence: float
    right: float


def reliability(confidence: npt.ArrayLike, right: npt.ArrayLike) -> list[Bin]:
    """Bins of equal width over confidences (N,) in 0 to 1, beside whether each word was right (N,); no empty ones.

    Raises:
        DataError: lengths differ, or a confidence is not between 0 and 1.

    Example:
        >>> reliability([0.91, 0.95, 0.12], [True, False, False])
        [Bin(words=1, confidence=0.12, right=0.0), Bin(words=2, confidence=0.93, right=0.5)]
    """
    sure, good = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    if sure.ndim != 1 or sure.shape != good.shape:
        raise DataError(f"confidences {sure.shape} and outcomes {good.shape} must be as many, on one axis")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise DataError("confidences must lie between 0 and 1")
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    there = [place == i for i in range(BINS)]
    return [Bin(int(at.sum()), float(sure[at].mean()), float(good[at].mean())) for at in there if at.any()]


def calibration_error(bins: list[Bin]) -> float:
    """Expected calibration error (Naeini et al. 2015): the mean distance of confidence from accuracy, by words.

    Example:
        >>> calibration_error([Bin(3, 0.9, 1.0), Bin(1, 0.5, 0.5)])
        0.07499999999999998
    """
    return sum(b.words * abs(b.confidence - b.right) for b in bins) / max(1, sum(b.words for b in bins))


def draw_reliability(results: Mapping[str, list[Bin]], path: Path) -> None:
    """A reliability plot (PNG): for each named result the share of right words against confidence, sized by words.

    Raises:
        MissingExtraError: matplotlib isn't installed.
    """
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(6, 6), dpi=110)
    axes.plot([0, 1], [0, 1], color="dimgrey", linestyle="--", linewidth=1, label="as sure as right")
    for name, bins in results.items():
        (line,) = axes.plot(
            [b.confidence for b in bins],
            [b.right for b in bins],
            label=f"{name}, calibration error {calibration_error(bins):.3f}",
        )
        most = max((b.words for b in bins), default=1)
        sizes = [15 + 150 * b.words / most for b in bins]
        axes.scatter([b.confidence for b in bins], [b.right for b in bins], s=sizes, color=line.get_color(), alpha=0.6)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share of words that are right")
    axes.set_title("Words by confidence")
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
