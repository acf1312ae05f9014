"""The frame buffer against a list that keeps everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.runtime.frame_buffer import FrameBuffer


@given(st.integers(0, 4), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=60))
def test_it_equals_a_list_that_keeps_everything(before: int, steps: list[tuple[int, int, bool]]) -> None:
    buffer = FrameBuffer(width=2, alive=5 + before, before=before)
    everything = [[0.0, 0.0]] * before
    start = 0
    for added, dropped, zeros in steps:
        added = max(0, min(added, 5 + before - (len(everything) - start)))
        rows = [[0.0, 0.0] if zeros else [len(everything) + i + 1.0, -1.0] for i in range(added)]
        if zeros:
            buffer.append_zeros(added)
        else:
            buffer.append(np.array(rows, dtype=np.float32).reshape(added, 2))
        everything += rows
        assert buffer.end == len(everything) - before
        view = buffer.rows(start - before, buffer.end)
        assert view.tolist() == everything[start:]
        assert view.flags.c_contiguous
        start = min(start + dropped, len(everything) - before)
        buffer.drop_before(start - before)


def test_its_size_is_fixed() -> None:
    buffer = FrameBuffer(width=3, alive=8)
    data = buffer.rows(0, 0).base
    for frame in range(0, 1_000, 4):
        buffer.append(np.ones((4, 3), dtype=np.float32))
        buffer.drop_before(frame)
        assert buffer.rows(frame, frame + 4).base is data


def test_rows_that_are_gone_or_not_there_yet() -> None:
    buffer = FrameBuffer(width=1, alive=4)
    buffer.append_zeros(3)
    buffer.drop_before(2)
    for start, stop in ((1, 3), (2, 4), (3, 2)):
        with pytest.raises(ValueError, match="asked for, 2 to 3 are there"):
            buffer.rows(start, stop)


def test_more_rows_than_fit() -> None:
    buffer = FrameBuffer(width=1, alive=4)
    with pytest.raises(ValueError, match="don't fit"):
        buffer.append_zeros(9)
