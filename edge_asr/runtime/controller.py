"""The budget controller: turns what a device can afford into depth, chunk by chunk."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from edge_asr.decoding.decoding import REVISITABLE
from edge_asr.errors import OptionError
from edge_asr.exits.capped import CappedPolicy
from edge_asr.exits.policy import Policy
from edge_asr.exits.stats import ChunkInfo
from edge_asr.exits.view import ExitView
from edge_asr.runtime.budget import Budget
from edge_asr.runtime.decided_chunk import DecidedChunk
from edge_asr.runtime.device_readers import DeviceReader, DeviceState, read_all
from edge_asr.runtime.segment_costs import SegmentCosts

RECENT = 8
"""Chunks over which the time of deciding and of decoding is a mean."""
WINDOW, LATE = 20, 1
"""Of so many chunks so many may be late: 95 % keep their limit."""
MEAN_SECONDS = 30.0
"""Audio over which ``mean_rtf`` is kept."""
READ_SECONDS = 2.0
"""How often the device's state is read."""
BUSY, BUSY_SHARE, SAVING_SHARE = 0.95, 0.8, 0.5


class BudgetController:
    """A policy that keeps a budget. One for each stream; not for several threads at once.

    Before each segment it predicts the segment's time and stops if the chunk wouldn't stay within its limit, with what
    deciding and decoding took lately. While more than one of the last 20 chunks was late all the same, a safety margin
    grows.
    ``mean_rtf`` is kept by moving along ``policies``, from the calibrated one to cheaper ones. A hot device, a low
    battery and busy cores lower all limits. At a piece's end, time left over goes to chunks that left before they were
    sure.

    Args:
        budget: The limits.
        policies: The calibrated policy, then cheaper ones; a single one gets cheaper by a limit on depth.
        exits: How many exits the model has.
        frame_seconds: Length of a frame.
        costs: What segments cost; may be shared by the streams of one model, device and chunk size.
        readers: Tell the device's state.
        clock: Gives seconds; also the encoder's.

    Raises:
        OptionError: If the budget's ``max_exit`` is deeper than the model, or there is no policy.
    """

    def __init__(
        self,
        budget: Budget,
        policies: Sequence[Policy],
        *,
        exits: int,
        frame_seconds: float,
        costs: SegmentCosts,
        readers: Sequence[DeviceReader] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if budget.max_exit is not None and budget.max_exit > exits:
            raise OptionError(f"budget: max_exit={budget.max_exit}: the model has exits 1 to {exits}")
        if not policies:
            raise OptionError("policies: expected at least one")
        self._budget, self._exits, self._frame_seconds = budget, exits, frame_seconds
        self._levels = list(policies)
        if len(self._levels) == 1:
            self._levels += [CappedPolicy(policies[0], exit) for exit in range(exits - 1, 0, -1)]
        self._costs, self._readers, self.clock = costs, list(readers), clock
        self._late: deque[bool] = deque(maxlen=WINDOW)
        self._account: deque[tuple[float, float]] = deque()  # seconds of computation, of audio
        self._deciding: deque[float] = deque(maxlen=RECENT)  # seconds per frame
        self._decoding: deque[float] = deque(maxlen=RECENT)  # seconds per frame
        self._owed = 0.0  # seconds that aren't in the account yet
        self._sure = True  # what the calibrated policy said last
        self._level, self._since = 0, 0
        self._margin, self._pressure, self._read_at = 1.0, 1.0, -np.inf
        self.state = DeviceState()
        """The device's state when it was last read."""
        self.misses = 0
        """Chunks that took longer than their limit."""
        self._left = 0.0  # seconds of this piece that weren't needed
        self._unsure: dict[int, tuple[float, int]] = {}  # by chunk number: entropy, exit
        self._allowance: float | None = None  # while revisiting
        self._piece_chunks = 0

    @property
    def level(self) -> int:
        """0 for the calibrated policy, more for cheaper ones."""
        return self._level

    @property
    def keep(self) -> int:
        """How many chunks the encoder is to keep for revisits."""
        return REVISITABLE if self._budget.revisit else 0

    def limit(self, frames: int) -> float:
        """Gives the most seconds for a chunk of so many frames now, without the safety margin."""
        return self._budget.chunk_limit(frames * self._frame_seconds) * self._pressure

    def stop(self, view: ExitView, chunk: ChunkInfo) -> bool:
        """Decides: sure enough, or deep enough, or no time for the next segment."""
        if view.exit >= (self._budget.max_exit or self._exits):
            return True
        if self._allowance is not None:
            following = self._costs.predict(view.exit + 1, chunk.n_valid)
            return self._levels[0].stop(view, chunk) or following > self._allowance - self._revisited(view, chunk)
        self._sure = self._levels[self._level].stop(view, chunk)
        if self._sure:
            return True
        trunk = view
        while trunk.before is not None:
            trunk = trunk.before
        following = self._costs.predict(view.exit + 1, chunk.n_valid, trunk.seconds)
        besides = (_mean(self._deciding) + _mean(self._decoding)) * chunk.n_valid
        return view.elapsed + following + besides > self.limit(chunk.n_valid) * self._margin

    def spent(self, seconds: float, frames: int = 0) -> None:
        """Takes what isn't a chunk's segments: decoding so many frames, or a second pass (0)."""
        self._owed += seconds
        if frames:
            self._decoding.append(seconds / frames)

    def observe(self, chunk: DecidedChunk) -> bool:
        """Takes what a chunk cost, and adapts. Its text comes later: for that stands what decoding took lately.

        Returns:
            Whether it took longer than its limit.
        """
        frames = chunk.n_valid
        seconds = chunk.seconds + _mean(self._decoding) * frames
        self._costs.observe(chunk.segment_seconds, frames)
        self._deciding.append(chunk.deciding / max(1, frames))
        limit = self.limit(frames)
        missed = seconds > limit
        self._late.append(missed)
        self.misses += missed
        slow = sum(self._late) > LATE
        self._margin = max(0.3, self._margin * 0.95) if slow else min(1.0, self._margin * 1.04)
        self._keep_mean(chunk.seconds + self._owed, frames * self._frame_seconds)
        self._owed = 0.0
        view = chunk.views[chunk.exit - 1]
        index = self._piece_chunks
        self._piece_chunks += 1
        info = ChunkInfo(index, 0, frames, None, self._exits)
        sure = self._sure if not self._level else self._levels[0].stop(view, info)
        if chunk.exit < self._exits and not sure:
            self._unsure[index] = (view.stats.entropy, chunk.exit)
        if np.isfinite(limit):
            self._left = max(0.0, self._left + limit - seconds)
        if self.clock() - self._read_at >= READ_SECONDS:
            self._read_device()
        return missed

    def revisits(self) -> Iterator[int]:
        """Gives the numbers of unsure chunks, the least sure first, while there is time left."""
        if not self._budget.revisit:
            return
        self._allowance = min(self._left, self._budget.final_delay * self._pressure)
        try:
            recent = [index for index in self._unsure if index >= self._piece_chunks - REVISITABLE]
            for index in sorted(recent, key=lambda index: -self._unsure[index][0]):
                if self._allowance <= 0:
                    break
                yield index
        finally:
            self._allowance = None

    def revisited(self, index: int, chunk: DecidedChunk) -> None:
        """Takes what a revisit cost."""
        spent = sum(chunk.segment_seconds[self._unsure[index][1] :]) + chunk.deciding
        self._left = max(0.0, self._left - spent)
        if self._allowance is not None:
            self._allowance -= spent
        self._keep_mean(spent, 0.0)
        self._unsure[index] = (chunk.stats[chunk.exit - 1].entropy, chunk.exit)

    def boundary(self) -> None:
        """Begins another piece."""
        self._unsure.clear()
        self._left, self._piece_chunks = 0.0, 0

    def _revisited(self, view: ExitView, chunk: ChunkInfo) -> float:
        """Seconds that the running revisit has taken so far."""
        left = self._unsure[chunk.index][1] if chunk.index in self._unsure else view.exit
        seconds, at = 0.0, view
        while at.exit > left and at.before is not None:
            seconds, at = seconds + at.seconds, at.before
        return seconds

    def _keep_mean(self, seconds: float, audio: float) -> None:
        if self._budget.mean_rtf is None:
            return
        self._account.append((seconds, audio))
        while sum(length for _, length in self._account) > MEAN_SECONDS and len(self._account) > 1:
            self._account.popleft()
        self._since += 1
        if self._since < 4:
            return
        spent, heard = (sum(column) for column in zip(*self._account, strict=True))
        wanted = self._budget.mean_rtf * self._pressure
        if spent > wanted * heard and self._level < len(self._levels) - 1:
            self._level, self._since = self._level + 1, 0
        elif spent < 0.8 * wanted * heard and self._level > 0:
            self._level, self._since = self._level - 1, 0

    def _read_device(self) -> None:
        self._read_at = self.clock()
        self.state = read_all(self._readers)
        temperature, battery = self.state.temperature, self.state.battery
        self._pressure = 1.0
        if temperature is not None and temperature >= self._budget.hot:
            self._pressure *= SAVING_SHARE
        if battery is not None and battery <= self._budget.low_battery and not self.state.charging:
            self._pressure *= SAVING_SHARE
        if self.state.load is not None and self.state.load >= BUSY:
            self._pressure *= BUSY_SHARE


def _mean(values: Collection[float]) -> float:
    return sum(values) / len(values) if values else 0.0
