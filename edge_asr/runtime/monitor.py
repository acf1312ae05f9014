"""Counts what a recogniser does on a device: exits, times, surety, and whether these drift from calibration."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Sequence
from threading import Lock
from typing import Any

from edge_asr.bundle.policy import PolicySpec, ReferenceSpec
from edge_asr.exits.calibrated import calibrated_policy
from edge_asr.exits.shift import SHIFTED, population_stability
from edge_asr.exits.threshold import ThresholdPolicy
from edge_asr.runtime.decided_chunk import DecidedChunk

TIMES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds of the chunk times' bins, in seconds."""
ENTROPIES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0)
"""Upper bounds of the entropies' bins, in nats."""
ENOUGH = 200
"""An exit that saw fewer chunks raises no alarm."""
FORGET = 5000
"""When a criterion's counts come to this, they are halved, so that old audio fades."""


class Monitor:
    """Counters of one recogniser, for all its streams; safe for threads.

    Args:
        exits: How many exits the model has.
        policy: The model's policy; without one there are no counts of its criterion, and no alarm.

    Example:
        >>> monitor = Monitor(exits=6)
        >>> monitor.snapshot()["chunks"]
        0
    """

    def __init__(self, exits: int, policy: PolicySpec | None = None) -> None:
        self._lock, self._policy, self._n = Lock(), policy, exits
        self._policies: dict[str, ThresholdPolicy] = {}
        self._exits = [0] * exits
        self._revisits, self._misses, self._frames = 0, 0, 0
        self._audio, self._compute, self._segments = 0.0, 0.0, 0.0
        self._times = [0] * (len(TIMES) + 1)
        self._entropies = [[0] * (len(ENTROPIES) + 1) for _ in range(exits)]
        self._criterion: dict[str, list[list[int]]] = {}

    def observe(self, chunk: DecidedChunk, place: str | None, frame_seconds: float, missed: bool = False) -> None:
        """Counts a decided chunk.

        Args:
            chunk: The chunk.
            place: The chunk size's name, like ``"640"``, after the decoder's where that has thresholds of its own:
                `PolicySpec.place`. None for a chunk whose depth the calibrated policy didn't choose: it says nothing
                about how the criterion is distributed then.
            frame_seconds: Length of a frame.
            missed: Whether it took longer than it was to: what `BudgetController.observe` says of it.
        """
        seconds = chunk.seconds
        bins = [] if place is None else self._bins(chunk, place)
        with self._lock:
            self._exits[chunk.exit - 1] += 1
            self._frames += chunk.n_valid
            self._audio += chunk.n_audio * frame_seconds
            self._compute += seconds
            self._segments += seconds
            self._misses += missed
            self._times[bisect_left(TIMES, seconds)] += 1
            for row, stats in zip(self._entropies, chunk.stats, strict=False):
                row[bisect_left(ENTROPIES, stats.entropy)] += 1
            if place is not None and bins:
                rows = self._criterion.setdefault(place, self._empty(place))
                for row, number in zip(rows, bins, strict=False):
                    row[number] += 1
                    if sum(row) >= FORGET:
                        row[:] = [count // 2 for count in row]

    def revisited(self, chunk: DecidedChunk, before: int, seconds: float) -> None:
        """Counts a revisit: the chunk as it is now, the exit it had left at, and the seconds it took."""
        with self._lock:
            self._revisits += 1
            self._exits[before - 1] -= 1
            self._exits[chunk.exit - 1] += 1
            self._compute += seconds

    def spent(self, seconds: float) -> None:
        """Counts computation that isn't a chunk's: decoding, a second pass."""
        with self._lock:
            self._compute += seconds

    def _bins(self, chunk: DecidedChunk, place: str) -> list[int]:
        """The bin of the criterion at each exit that the chunk came to."""
        reference = self._reference(place)
        if self._policy is None or not reference:
            return []
        if place not in self._policies:
            self._policies[place] = calibrated_policy(*self._policy.at(place))
        policy = self._policies[place]
        return [
            bisect_left(expected.edges, policy.value(view))
            for view, expected in zip(chunk.views, reference, strict=False)
        ]

    def _reference(self, place: str) -> tuple[ReferenceSpec, ...]:
        if self._policy is None:
            return ()
        spec, chunk = self._policy.at(place)
        return spec.reference.get(chunk, ())

    def _empty(self, place: str) -> list[list[int]]:
        return [[0] * len(expected.shares) for expected in self._reference(place)]

    def shift(self) -> dict[str, list[float | None]]:
        """Gives the population stability index by place and exit; None where too few chunks were seen."""
        with self._lock:
            counts = {name: [list(row) for row in rows] for name, rows in self._criterion.items()}
        found: dict[str, list[float | None]] = {}
        for name, rows in counts.items():
            found[name] = [
                round(population_stability(expected.shares, [n / sum(row) for n in row]), 4)
                if sum(row) >= ENOUGH and len(row) > 1
                else None
                for expected, row in zip(self._reference(name), rows, strict=True)
            ]
        return found

    @property
    def alarm(self) -> bool:
        """Whether what the exits see has drifted from calibration: recalibrate, on data or from this log."""
        return any(value is not None and value > SHIFTED for values in self.shift().values() for value in values)

    def snapshot(self) -> dict[str, Any]:
        """Gives all counts as JSON values; ``edge-asr calibrate --from-log`` reads them."""
        shift, alarm = self.shift(), self.alarm
        with self._lock:
            return {
                "chunks": sum(self._exits),
                "exits": {str(exit): count for exit, count in enumerate(self._exits, start=1)},
                "revisits": self._revisits,
                "deadline_misses": self._misses,
                "audio_seconds": round(self._audio, 3),
                "compute_seconds": round(self._compute, 6),
                "chunk_seconds": {
                    "bounds": list(TIMES),
                    "counts": list(self._times),
                    "sum": round(self._segments, 6),
                },
                "entropy": {"bounds": list(ENTROPIES), "counts": [list(row) for row in self._entropies]},
                "graphs": None if self._policy is None else self._policy.graphs,
                "criterion_name": None if self._policy is None else self._policy.criterion,
                "criterion": {name: [list(row) for row in rows] for name, rows in self._criterion.items()},
                "calibrations": {name: counted_by(self._policy, name) for name in self._criterion if self._policy},
                "population_stability": shift,
                "alarm": alarm,
            }

    def json(self) -> str:
        """Gives `snapshot` as JSON text."""
        return json.dumps(self.snapshot(), indent=2, allow_nan=False)

    def prometheus(self) -> str:
        """Gives the counts in Prometheus' text format (version 0.0.4)."""
        facts = self.snapshot()
        lines: list[str] = []

        def metric(name: str, kind: str, help: str, rows: Sequence[tuple[str, float]]) -> None:
            lines.extend([f"# HELP edge_asr_{name} {help}", f"# TYPE edge_asr_{name} {kind}"])
            lines.extend(f"edge_asr_{name}{labels} {_digits(value)}" for labels, value in rows)

        left = [(f'{{exit="{exit}"}}', float(count)) for exit, count in facts["exits"].items()]
        # A revisit moves a chunk from one exit to another, so this one may fall.
        metric("chunks", "gauge", "Chunks by the exit that gave their result.", left)
        metric("revisits_total", "counter", "Chunks that went on after they had left.", [("", facts["revisits"])])
        metric("deadline_misses_total", "counter", "Chunks beyond their limit.", [("", facts["deadline_misses"])])
        metric("audio_seconds_total", "counter", "Seconds of audio.", [("", facts["audio_seconds"])])
        metric("compute_seconds_total", "counter", "Seconds of computation.", [("", facts["compute_seconds"])])
        metric("shift_alarm", "gauge", "1 if the criterion drifted from calibration.", [("", facts["alarm"])])
        shifts = [
            (f'{{chunk="{chunk}",exit="{exit}"}}', value)
            for chunk, values in facts["population_stability"].items()
            for exit, value in enumerate(values, start=1)
            if value is not None
        ]
        metric("population_stability", "gauge", "Population stability index against calibration.", shifts)
        lines += ["# HELP edge_asr_chunk_seconds Time of a chunk.", "# TYPE edge_asr_chunk_seconds histogram"]
        total = 0
        for bound, count in zip([*map(str, TIMES), "+Inf"], facts["chunk_seconds"]["counts"], strict=True):
            total += count
            lines.append(f'edge_asr_chunk_seconds_bucket{{le="{bound}"}} {total}')
        taken = _digits(facts["chunk_seconds"]["sum"])
        lines += [f"edge_asr_chunk_seconds_sum {taken}", f"edge_asr_chunk_seconds_count {total}"]
        return "\n".join(lines) + "\n"


def counted_by(policy: PolicySpec, place: str) -> str:
    """Computes a digest of what the counts of a place depend on: criterion, parameters, temperatures and bins.

    Args:
        policy: The policy that they were made with.
        place: As `PolicySpec.place` names it.

    Returns:
        64 hexadecimal digits.
    """
    spec, chunk = policy.at(place)
    edges = [expected.edges for expected in spec.reference.get(chunk, ())]
    facts = [spec.criterion, dict(spec.parameters.get(chunk, {})), spec.temperatures.get(chunk), edges]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _digits(value: float) -> str:
    """All digits: a counter that is rounded moves in steps."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
