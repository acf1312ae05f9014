"""A bounded buffer of the last frames, always contiguous."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class FrameBuffer:
    """Rows numbered by frame; old ones are dropped, and memory is moved only when the end is reached.

    The buffer holds at least twice the rows that are alive at once, so each row is moved at most once on
    average, and any stretch of living rows is one view, without a copy.

    Args:
        width: Numbers in a row.
        alive: Most rows that are alive at once.
        before: Rows of zeros before frame 0; they have negative numbers.

    Example:
        >>> buffer = FrameBuffer(width=1, alive=4, before=2)
        >>> buffer.append(np.array([[1.0], [2.0]]))
        >>> buffer.rows(-1, 2)[:, 0].tolist()
        [0.0, 1.0, 2.0]
    """

    def __init__(self, width: int, alive: int, before: int = 0) -> None:
        self._data = np.zeros((2 * alive, width), dtype=np.float32)
        self._first = -before  # number of row 0 of the array
        self._start = -before  # number of the first row alive
        self.end = 0
        """The number after the last row's."""

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Adds rows (n, width) at the end."""
        start = self._reserve(len(rows))
        self._data[start : start + len(rows)] = rows

    def append_zeros(self, count: int) -> None:
        """Adds ``count`` rows of zeros at the end."""
        start = self._reserve(count)
        self._data[start : start + count] = 0.0

    def _reserve(self, count: int) -> int:
        if self.end - self._start + count > len(self._data):
            raise ValueError(f"{count} rows more than {self.end - self._start} don't fit in {len(self._data)}")
        if self.end - self._first + count > len(self._data):
            alive = self._data[self._start - self._first : self.end - self._first]
            self._data[: len(alive)] = alive  # NumPy copies overlapping memory safely
            self._first = self._start
        position = self.end - self._first
        self.end += count
        return position

    def rows(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Gives the rows of frames ``start`` to ``stop - 1``, a view that lives until the next ``append``."""
        if not self._start <= start <= stop <= self.end:
            raise ValueError(f"rows {start} to {stop} asked for, {self._start} to {self.end} are there")
        return self._data[start - self._first : stop - self._first]

    def drop_before(self, frame: int) -> None:
        """Forgets the rows before a frame."""
        self._start = max(self._start, min(frame, self.end))
