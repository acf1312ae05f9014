"""Greedy decoding: merging, blanks, and chunks of any length."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.decoding.greedy import GreedyDecoder


def log_probs(ids: list[int], size: int = 4) -> npt.NDArray[np.float32]:
    one_hot = np.eye(size, dtype=np.float32)[np.array(ids, dtype=int)]
    result: npt.NDArray[np.float32] = np.log(one_hot * np.float32(0.9) + np.float32(0.025))
    return result


def simple(ids: list[int], blank: int) -> list[tuple[int, int]]:
    """The definition, frame by frame."""
    result, last = [], blank
    for frame, best in enumerate(ids):
        if best not in (last, blank):
            result.append((best, frame))
        last = best
    return result


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 40), max_size=6), st.integers(0, 3))
def test_chunks_of_any_length_give_the_definition(ids: list[int], cuts: list[int], blank: int) -> None:
    decoder = GreedyDecoder(blank)
    tokens = [token for part in np.split(log_probs(ids), sorted(cuts)) for token in decoder.push(part)]
    assert [(token.id, token.frame) for token in tokens] == simple(ids, blank)


def test_a_token_keeps_frame_and_log_probability() -> None:
    decoder = GreedyDecoder()
    decoder.push(log_probs([0, 0]), first_frame=100)
    (token,) = decoder.push(log_probs([0, 2, 2]))
    assert (token.id, token.frame) == (2, 103)
    assert token.log_prob == pytest.approx(np.log(0.925), abs=1e-6)


def test_a_boundary_ends_a_repeat() -> None:
    decoder = GreedyDecoder()
    assert len(decoder.push(log_probs([1]))) == 1
    assert len(decoder.push(log_probs([1]))) == 0
    decoder.boundary()
    assert len(decoder.push(log_probs([1]))) == 1


def test_peeking_takes_nothing() -> None:
    decoder = GreedyDecoder()
    decoder.push(log_probs([1]))
    assert [token.id for token in decoder.peek(log_probs([1, 2]))] == [2]
    assert [token.id for token in decoder.push(log_probs([1, 2]))] == [2]
