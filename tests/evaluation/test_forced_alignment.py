"""Forced alignment, against brute force over all paths and on texts that do not fit."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asr.decoding.words import Confidence, words_of
from edge_asr.errors import DataError
from edge_asr.evaluation.forced_alignment import force_align

PIECES = ("<blank>", "▁", "▁A", "A", "B", "AB")


def spelled(path: tuple[int, ...]) -> str:
    kept = [p for i, p in enumerate(path) if p != 0 and (i == 0 or path[i - 1] != p)]
    return "".join(PIECES[p] for p in kept)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["A", "AB", "A A", "AAB", "B", "AB A"]), st.integers(1, 5))
def test_it_is_the_best_of_all_paths(seed: int, text: str, frames: int) -> None:
    log_probs = np.log(np.random.default_rng(seed).dirichlet(np.ones(len(PIECES)), frames))
    wanted = "".join("▁" + word for word in text.split())
    paths = [path for path in product(range(len(PIECES)), repeat=frames) if spelled(path) == wanted]
    if not paths:
        with pytest.raises(DataError, match="too few"):
            force_align(log_probs, PIECES, text)
        return
    best = max(paths, key=lambda path: sum(log_probs[i, p] for i, p in enumerate(path)))
    begins = [(p, i) for i, p in enumerate(best) if p != 0 and (i == 0 or best[i - 1] != p)]
    assert [(token.id, token.frame) for token in force_align(log_probs, PIECES, text)] == begins


def test_words_have_the_times_of_their_tokens() -> None:
    frames = [0, 2, 0, 4, 0, 1, 5, 0]
    log_probs = np.full((8, len(PIECES)), np.log(0.02))
    log_probs[np.arange(8), frames] = np.log(0.9)
    words = words_of(force_align(log_probs, PIECES, "AB AB"), PIECES, Confidence())
    assert [(word.word, word.start, word.end) for word in words] == [("AB", 1, 4), ("AB", 6, 7)]


def test_texts_that_do_not_fit() -> None:
    log_probs = np.zeros((3, len(PIECES)))
    assert force_align(log_probs, PIECES, "") == []
    with pytest.raises(DataError, match="can't spell the text 'CAB'"):
        force_align(log_probs, PIECES, "CAB")
    with pytest.raises(DataError, match="0 frames are too few"):
        force_align(log_probs[:0], PIECES, "A")
