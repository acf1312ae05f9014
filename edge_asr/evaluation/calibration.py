"""Calibration: what the exits say on a development set becomes the threshold that costs least.

One threshold is common to all exits. It is swept over quantiles of the criterion as observed; each value's
word error rate and mean cost are exact, because every policy is a gather of the recordings (`recording.py`).
Nothing is claimed beyond the set that was measured: word errors are not monotone in a threshold.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_asr.bundle.bundle import Bundle
from edge_asr.bundle.policy import FORMAT, VERSION, graphs_digest
from edge_asr.decoding.tokens import TokenTable
from edge_asr.errors import DataError, OptionError
from edge_asr.evaluation.recording import Recording
from edge_asr.evaluation.wer import ErrorCount, word_errors
from edge_asr.exits.base import Criterion
from edge_asr.exits.threshold import ThresholdPolicy

STEPS = 100


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold costs and what it gives.

    Args:
        threshold: the threshold, common to all exits but the last.
        wer: word error rate, as a fraction.
        mean_exit: mean over frames, as in a transcript.
        mean_macs_per_second: mean multiply-accumulates per second of audio; chunks count by their length.
    """

    threshold: float
    wer: float
    mean_exit: float
    mean_macs_per_second: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The chosen threshold of one chunk size, and what it was chosen from.

    Args:
        chosen: the cheapest point within the allowed loss.
        full_depth: every chunk at the last exit.
        points: all points of the sweep, strictest first.
    """

    chosen: OperatingPoint
    full_depth: OperatingPoint
    points: tuple[OperatingPoint, ...]

    def as_json(self) -> dict[str, float]:
        """What the choice gives beside full depth, to be kept with the thresholds."""
        return {
            "wer": self.chosen.wer,
            "full_depth_wer": self.full_depth.wer,
            "mean_exit": self.chosen.mean_exit,
            "mean_macs_per_second": self.chosen.mean_macs_per_second,
        }


class _Texts:
    """Word errors of a splice; many thresholds lead to the same one, so each is decoded once."""

    def __init__(self, tokens: TokenTable, blank: int) -> None:
        self._tokens, self._blank = tokens, blank
        self._known: dict[tuple[int, tuple[int, ...]], ErrorCount] = {}

    def errors(self, recording: Recording, exits: tuple[int, ...]) -> ErrorCount:
        key = (id(recording), exits)
        if key not in self._known:
            text = recording.text(exits, self._tokens, self._blank)
            self._known[key] = word_errors(recording.utterance.text, text)
        return self._known[key]


def thresholds(recordings: Iterable[Recording], criterion: Criterion, steps: int = STEPS) -> list[float]:
    """Candidate thresholds, strictest first: one that never stops, then quantiles of the observed criterion.

    Args:
        recordings: recordings with at least two exits.
        criterion: the criterion; whether small or large values are sure is asked of it.
        steps: how many quantiles.

    Raises:
        DataError: there is nothing to calibrate on.
    """
    values = [
        criterion.value(view) for recording in recordings for chunk in recording.chunks for view in chunk.views()[:-1]
    ]
    if not values:
        raise DataError("nothing to calibrate on: no chunk with at least two exits")
    observed = np.asarray(values, dtype=np.float64)
    small_is_sure = criterion.sure(0.0, 1.0)
    never = float(observed.min() - 1.0 if small_is_sure else observed.max() + 1.0)
    quantiles = sorted({float(q) for q in np.quantile(observed, np.linspace(0.0, 1.0, steps + 1))})
    return [never, *(quantiles if small_is_sure else reversed(quantiles))]


def calibrate(
    recordings: Sequence[Recording],
    criterion: Criterion,
    macs_per_second: Sequence[float],
    tokens: TokenTable,
    *,
    blank: int = 0,
    max_relative_wer_loss: float = 0.02,
    steps: int = STEPS,
) -> Calibrated:
    """Choose a threshold for one chunk size.

    Args:
        recordings: the development set, recorded with this chunk size.
        criterion: how sure an exit is.
        macs_per_second: cumulative cost of each exit at this chunk size.
        tokens: the model's tokens.
        blank: id of the blank.
        max_relative_wer_loss: how much worse than full depth it may get: 0.02 allows 2 % more errors.
        steps: how many thresholds are tried.

    Returns:
        The threshold with the lowest mean cost whose word error rate is allowed; of equal ones the better.

    Raises:
        OptionError: the allowed loss is negative or not a number.
        DataError: there is nothing to calibrate on.
    """
    if not 0.0 <= max_relative_wer_loss < float("inf"):
        raise OptionError(f"max_relative_wer_loss is {max_relative_wer_loss}; allowed: 0 or more, as a fraction")
    texts = _Texts(tokens, blank)
    exits = len(macs_per_second)
    points = []
    for threshold in thresholds(recordings, criterion, steps):
        policy = ThresholdPolicy(criterion, (threshold,) * (exits - 1))
        points.append(_operating_point(threshold, policy, recordings, macs_per_second, texts))
    full_depth = points[0]  # the strictest threshold never stops before the last exit
    allowed = full_depth.wer * (1.0 + max_relative_wer_loss)
    within = [point for point in points if point.wer <= allowed]
    chosen = min(within, key=lambda point: (point.mean_macs_per_second, point.wer))
    return Calibrated(chosen, full_depth, tuple(points))


def _operating_point(
    threshold: float,
    policy: ThresholdPolicy,
    recordings: Sequence[Recording],
    macs_per_second: Sequence[float],
    texts: _Texts,
) -> OperatingPoint:
    errors, frames, exits, macs = ErrorCount(), 0, 0, 0.0
    for recording in recordings:
        taken = recording.leave(policy)
        errors += texts.errors(recording, taken)
        for chunk, exit in zip(recording.chunks, taken, strict=True):
            frames += chunk.info.n_valid
            exits += chunk.info.n_valid * exit
            macs += chunk.info.n_valid * macs_per_second[exit - 1]
    return OperatingPoint(threshold, errors.rate, exits / max(1, frames), macs / max(1, frames))


def policy_document(
    bundle: Bundle,
    precision: str,
    criterion: str,
    calibrated: Mapping[str, Calibrated],
    calibration: Mapping[str, Any],
) -> dict[str, Any]:
    """The contents of `policy.json`, format as in docs/architecture.md.

    Args:
        bundle: the bundle that was measured.
        precision: the precision that was measured; thresholds are bound to its graphs.
        criterion: the criterion's name.
        calibrated: the result for each chunk name.
        calibration: what is noted about how the thresholds were found.
    """
    exits = bundle.spec.encoder.exits
    return {
        "format": FORMAT,
        "version": VERSION,
        "precision": precision,
        "graphs": graphs_digest(bundle.spec, precision),
        "criterion": criterion,
        "thresholds": {chunk: [result.chosen.threshold] * (exits - 1) for chunk, result in calibrated.items()},
        "calibration": dict(calibration),
    }


@contextmanager
def without_policy(folder: Path) -> Iterator[None]:
    """Hide a bundle's `policy.json` for a while: one made for other graphs would keep it from loading."""
    policy, hidden = folder / "policy.json", folder / "policy.json.old"
    there = policy.is_file()
    if there:
        os.replace(policy, hidden)
    try:
        yield
    finally:
        if there:
            os.replace(hidden, policy)


def write_policy(path: Path, document: Mapping[str, Any]) -> None:
    """Write `policy.json` in one step: a reader sees the old file or the new one, never half of one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
