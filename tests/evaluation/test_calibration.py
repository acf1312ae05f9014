"""Choosing thresholds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.errors import DataError, OptionError
from edge_asr.evaluation.calibration import calibrate, thresholds, write_policy
from edge_asr.evaluation.recording import Recording
from edge_asr.exits.criterion import CRITERIA, get_criterion
from tests.evaluation.synthetic import TOKENS, WORDS, chunk, recording

MACS = (1.0, 2.0, 3.0)
ENTROPY = get_criterion("frame_entropy")


def easy_and_hard() -> list[Recording]:
    """Nine easy utterances, right and sure from exit 1 on, and one hard one, right at the last exit only."""
    easy = [recording(f"e{i}", "ONE", [chunk(0, ["ONE"] * 3, [0.1 + i / 1000, 0.1, 0.1])]) for i in range(9)]
    return [*easy, recording("hard", "TWO", [chunk(0, ["THREE", "FOUR", "TWO"], [2.0, 1.0, 0.5])])]


def test_easy_chunks_leave_early_and_hard_ones_go_on() -> None:
    result = calibrate(easy_and_hard(), ENTROPY, MACS, TOKENS, max_relative_wer_loss=0.0)
    assert result.full_depth.wer == result.chosen.wer == 0.0
    assert result.full_depth.mean_macs_per_second == 3.0
    assert result.chosen.mean_macs_per_second == pytest.approx((9 * 1.0 + 3.0) / 10)
    assert result.chosen.mean_exit == pytest.approx(1.2)
    assert 0.108 <= result.chosen.threshold < 1.0


def test_the_other_direction() -> None:
    result = calibrate(easy_and_hard(), get_criterion("max_posterior"), MACS, TOKENS, max_relative_wer_loss=0.0)
    assert result.chosen.mean_exit == pytest.approx(1.2)
    assert 1 - 1.0 / 10 < result.chosen.threshold <= 1 - 0.108 / 10


def test_full_depth_where_every_early_exit_is_wrong() -> None:
    data = [recording("a", "ONE", [chunk(0, ["TWO", "TWO", "ONE"], [0.1, 0.1, 0.1])])]
    result = calibrate(data, ENTROPY, MACS, TOKENS)
    assert result.chosen == result.full_depth
    assert result.chosen.threshold < 0.1


def test_the_allowed_loss_is_relative_to_full_depth() -> None:
    """Full depth errs once in 4 words: 100 % more errors are two, so one cheap error is allowed."""
    data = [
        recording("a", "ONE", [chunk(0, ["ONE"] * 3, [0.1] * 3)]),
        recording("b", "ONE", [chunk(0, ["TWO", "TWO", "ONE"], [0.2, 0.2, 0.2])]),
        recording("c", "ONE", [chunk(0, ["TWO", "TWO", "ONE"], [0.3, 0.3, 0.3])]),
        recording("d", "ONE", [chunk(0, ["FIVE", "FIVE", "FIVE"], [0.4, 0.4, 0.4])]),
    ]
    exits = {
        loss: calibrate(data, ENTROPY, MACS, TOKENS, max_relative_wer_loss=loss).chosen.mean_exit
        for loss in (0.0, 1.0, 2.0)
    }
    assert exits == {0.0: 2.5, 1.0: 2.0, 2.0: 1.0}


WORD = st.sampled_from(["", *WORDS])
CHUNK = st.lists(st.tuples(WORD, st.floats(0, 4, allow_nan=False)), min_size=3, max_size=3)
DATA = st.lists(
    st.tuples(st.lists(WORD, max_size=3).map(" ".join), st.lists(CHUNK, min_size=1, max_size=3)), min_size=1
)


@given(DATA, st.sampled_from(sorted(CRITERIA)), st.sampled_from([0.0, 0.02, 0.5]))
def test_promises(data: list[tuple[str, list[list[tuple[str, float]]]]], name: str, loss: float) -> None:
    recordings = [
        recording(
            f"u{i}",
            text,
            [chunk(k, [w for w, _ in exits], [e for _, e in exits]) for k, exits in enumerate(chunks)],
        )
        for i, (text, chunks) in enumerate(data)
    ]
    result = calibrate(recordings, get_criterion(name), MACS, TOKENS, max_relative_wer_loss=loss, steps=10)
    assert result.full_depth.mean_exit == 3.0
    assert result.chosen.wer <= result.full_depth.wer * (1 + loss)
    assert result.chosen.mean_macs_per_second <= result.full_depth.mean_macs_per_second
    costs = [point.mean_macs_per_second for point in result.points]
    assert costs == sorted(costs, reverse=True)  # from strict to lenient: each threshold costs no more
    assert costs[-1] == MACS[0]


def test_nothing_to_calibrate_on() -> None:
    with pytest.raises(DataError, match="nothing to calibrate on"):
        thresholds([], ENTROPY)
    with pytest.raises(DataError, match="nothing to calibrate on"):
        thresholds([recording("a", "ONE", [chunk(0, ["ONE"], [0.1])])], ENTROPY)


@pytest.mark.parametrize("loss", [-0.1, float("nan"), float("inf")])
def test_bad_loss(loss: float) -> None:
    with pytest.raises(OptionError, match="max_relative_wer_loss"):
        calibrate(easy_and_hard(), ENTROPY, MACS, TOKENS, max_relative_wer_loss=loss)


def test_a_policy_is_written_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="Out of range"):
        write_policy(path, {"thresholds": {"640": [float("inf")]}})
    assert path.read_text() == "old"
    write_policy(path, {"criterion": "frame_entropy"})
    assert json.loads(path.read_text()) == {"criterion": "frame_entropy"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["policy.json"]
