"""Gathers: what a policy would have said, from the recorded exits."""

from __future__ import annotations

import pytest

from edge_asr.errors import OptionError
from edge_asr.exits.criterion import get_criterion
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.exits.threshold import ThresholdPolicy
from tests.evaluation.synthetic import TOKENS, chunk, recording

CHUNKS = (chunk(0, ["ONE", "TWO", "THREE"], [0.5, 0.2, 0.1]), chunk(1, ["ONE", "", "FOUR"], [0.05, 0.4, 0.3]))
SPOKEN = recording("a", "THREE FOUR", CHUNKS)


def test_a_fixed_depth() -> None:
    assert [SPOKEN.text(exit, TOKENS) for exit in (1, 2, 3)] == ["ONE ONE", "TWO", "THREE FOUR"]


def test_any_splice() -> None:
    assert SPOKEN.text([3, 1], TOKENS) == "THREE ONE"
    with pytest.raises(OptionError, match="1 exits for 2 chunks"):
        SPOKEN.text([3], TOKENS)


def test_a_policy_leaves_where_the_runtime_would() -> None:
    entropy = get_criterion("frame_entropy")
    assert SPOKEN.leave(ThresholdPolicy(entropy, (0.2, 0.2))) == (2, 1)
    assert SPOKEN.leave(ThresholdPolicy(entropy, (0.0, 0.0))) == (3, 3)
    assert SPOKEN.leave(ThresholdPolicy(entropy, (9.0, 9.0))) == (1, 1)
    assert SPOKEN.leave(FixedPolicy(2)) == (2, 2)


@pytest.mark.parametrize(("piece", "text"), [(0, "ONE"), (1, "ONE ONE")])
def test_a_token_begins_anew_in_another_piece(piece: int, text: str) -> None:
    first, second = chunk(0, ["ONE"], [0.1]), chunk(1, ["ONE"], [0.1], piece=piece)
    for part in (first, second):  # the word sounds in every frame, so it goes on across the seam
        part.log_probs[0, :, 1] = 1.0
    assert recording("a", "", [first, second]).text(1, TOKENS) == text
