"""Choosing thresholds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asr.bundle.policy import ReferenceSpec
from edge_asr.errors import DataError, OptionError
from edge_asr.evaluation import calibration
from edge_asr.evaluation.calibration import PATIENCE, calibrate, halves, last_kept, write_policy
from edge_asr.evaluation.chunk_table import ChunkTable
from edge_asr.evaluation.gate_training import logistic_regression, train_gate
from edge_asr.evaluation.goal import Goal
from edge_asr.evaluation.recording import Recording
from edge_asr.evaluation.reference import recalibrated, reference_of
from edge_asr.evaluation.temperature import fit_temperatures
from edge_asr.evaluation.threshold_path import STEP, common_path, threshold_path
from edge_asr.exits.criterion import CRITERIA, get_criterion
from edge_asr.exits.threshold import ThresholdPolicy
from tests.evaluation.synthetic import TOKENS, WORDS, chunk, recording

MACS = (1.0, 2.0, 3.0)
ENTROPY = get_criterion("frame_entropy")


def table_of(recordings: Sequence[Recording]) -> ChunkTable:
    return ChunkTable(recordings, MACS, TOKENS)


def easy_and_hard(count: int = 20) -> list[Recording]:
    """Easy utterances, right and sure from exit 1 on, and hard ones, right at the last exit only."""
    easy = [recording(f"e{i}", "ONE", [chunk(0, ["ONE"] * 3, [0.1 + i / 1000, 0.1, 0.1])]) for i in range(count)]
    hard = [recording(f"h{i}", "TWO", [chunk(0, ["THREE", "FOUR", "TWO"], [2.0, 1.0, 0.5])]) for i in range(count)]
    return easy + hard


@pytest.mark.parametrize("name", ["frame_entropy", "max_posterior", "learned_gate"])
def test_easy_chunks_leave_early_and_hard_ones_go_on(name: str) -> None:
    table = table_of(easy_and_hard())
    result = calibrate(table, get_criterion(name), Goal(max_loss=0.0))
    assert result.full_depth.wer == result.chosen.wer == 0.0
    assert result.full_depth.mean_cost == 3.0
    assert result.chosen.mean_cost == pytest.approx(2.0, abs=0.15)
    assert result.chosen.histogram[0] >= 0.4
    assert result.held_out == 20
    assert result.loss[0] in (0.0, -1.0)  # no error at all at full depth
    policy = ThresholdPolicy(result.criterion, result.thresholds)
    assert table.point(table.taken_by(policy)) == result.chosen
    assert [
        table.cost(table.taken(table.values(result.criterion), level, small_is_sure=name == "frame_entropy"))
        for level in result.levels
    ][-1] == 1.0


def test_full_depth_where_every_early_exit_is_wrong() -> None:
    data = [recording(f"u{i}", "ONE", [chunk(0, ["TWO", "TWO", "ONE"], [0.1, 0.1, 0.1])]) for i in range(4)]
    result = calibrate(table_of(data), ENTROPY, Goal(max_loss=0.02))
    assert result.chosen == result.full_depth
    assert all(threshold < 0.1 for threshold in result.thresholds)


def test_a_mean_cost() -> None:
    table = table_of(easy_and_hard())
    for budget, wer in ((3.0, 0.0), (2.2, 0.0), (1.5, 0.5), (1.0, 0.5)):
        point = calibrate(table, ENTROPY, Goal(mean_macs=budget)).chosen
        assert point.mean_cost <= budget
        assert point.wer == wer
    with pytest.raises(OptionError, match="impossible, exit 1 alone costs 1"):
        calibrate(table, ENTROPY, Goal(mean_macs=0.9))


def test_a_promised_loss_needs_enough_utterances() -> None:
    def noisy(count: int) -> list[Recording]:
        """Full depth errs in every tenth utterance, exit 1 in the same ones."""
        said = [("ONE", "ONE") if i % 10 else ("ONE", "TWO") for i in range(count)]
        return [recording(f"u{i}", t, [chunk(0, [s] * 3, [0.1] * 3)]) for i, (t, s) in enumerate(said)]

    few = calibrate(table_of(noisy(20)), ENTROPY, Goal(max_loss=0.5, confidence=0.9))
    many = calibrate(table_of(noisy(1200)), ENTROPY, Goal(max_loss=0.5, confidence=0.9))
    assert (few.certified, few.chosen.mean_exit) == (False, 3.0)
    assert (many.certified, many.chosen.mean_exit) == (True, 1.0)


WORD = st.sampled_from(["", *WORDS])
CHUNK = st.lists(st.tuples(WORD, st.floats(0, 4, allow_nan=False)), min_size=3, max_size=3)
DATA = st.lists(
    st.tuples(st.lists(WORD, max_size=3).map(" ".join), st.lists(CHUNK, min_size=1, max_size=3)), min_size=1
)


@settings(max_examples=60)
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
    table = table_of(recordings)
    result = calibrate(table, get_criterion(name), Goal(max_loss=loss))
    assert result.full_depth.mean_exit == 3.0
    assert result.chosen.wer <= result.full_depth.wer * (1 + loss)
    assert result.chosen.mean_cost <= result.full_depth.mean_cost
    policy = ThresholdPolicy(result.criterion, result.thresholds)
    taken = table.taken_by(policy)
    assert table.point(taken) == result.chosen  # the arrays decide as the policy does
    start = 0
    for number, said in enumerate(recordings):  # and the quick scorer says what a stream would say
        end = start + len(said.chunks)
        exits = taken[start:end].tolist()
        assert table.scorer.text(number, exits) == said.text(exits, TOKENS)
        start = end


@settings(max_examples=60)
@given(DATA, st.lists(st.integers(0, 1), min_size=3, max_size=3), st.floats(0.01, 2), st.booleans())
def test_arrays_decide_as_a_policy_with_hysteresis_does(
    data: list[tuple[str, list[list[tuple[str, float]]]]], steps: list[int], hysteresis: float, small: bool
) -> None:
    pieces = list(itertools.accumulate(steps))
    recordings = [
        recording(
            f"u{i}", text, [chunk(k, [w for w, _ in exits], [e for _, e in exits], pieces[k]) for k, exits in said]
        )
        for i, (text, chunks) in enumerate(data)
        for said in [list(enumerate(chunks))]
    ]
    table, criterion = table_of(recordings), get_criterion("frame_entropy" if small else "max_posterior")
    values = table.values(criterion)
    thresholds = tuple(np.median(values, axis=0).tolist())
    taken = table.taken(values, thresholds, small_is_sure=small, hysteresis=hysteresis)
    assert taken.tolist() == table.taken_by(ThresholdPolicy(criterion, thresholds, None, hysteresis)).tolist()


def flickering(count: int = 40) -> list[Recording]:
    """Utterances of eight chunks that are now surer, now less; exit 1 errs where it is unsure."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        said = [
            chunk(k, ["TWO" if e > 0.5 else "ONE", "ONE", "ONE"], [e, 0.3, 0.1]) for k, e in enumerate(rng.random(8))
        ]
        found.append(recording(f"u{i}", " ".join(["ONE"] * 8), said))
    return found


@pytest.mark.parametrize("goal", [Goal(mean_macs=1.7), Goal(max_loss=0.0), Goal(max_loss=0.5, confidence=0.5)])
def test_the_figures_are_those_of_the_policy_with_its_hysteresis(goal: Goal) -> None:
    table = table_of(flickering())
    result = calibrate(table, ENTROPY, goal, hysteresis=0.2)
    taken = table.taken_by(ThresholdPolicy(ENTROPY, result.thresholds, None, 0.2))
    assert result.hysteresis == 0.2
    assert result.chosen == table.point(taken)
    assert result.reference == reference_of(table.values(ENTROPY), taken)
    if goal.mean_macs is not None:
        assert result.chosen.mean_cost <= goal.mean_macs
        plain = calibrate(table, ENTROPY, goal)
        assert table.cost(table.taken_by(ThresholdPolicy(ENTROPY, plain.thresholds, None, 0.2))) > goal.mean_macs
    with pytest.raises(OptionError, match=r"hysteresis=-0\.1: expected a number from 0"):
        calibrate(table, ENTROPY, goal, hysteresis=-0.1)


def test_a_log_without_drift_moves_no_threshold_of_a_policy_with_hysteresis() -> None:
    table = table_of(flickering(200))
    result = calibrate(table, ENTROPY, Goal(mean_macs=1.7), hysteresis=0.2)
    assert 0.05 < result.reference[0]["stop"] < 0.95
    reference = [ReferenceSpec(tuple(e["edges"]), tuple(e["shares"]), e["stop"]) for e in result.reference]
    counts = [[round(1e6 * share) for share in spec.shares] for spec in reference]
    moved = recalibrated(result.thresholds, reference, counts, ENTROPY, hysteresis=0.2)
    assert moved[0] == pytest.approx(result.thresholds[0], abs=1e-3)
    assert recalibrated(result.thresholds, reference, counts, ENTROPY)[0] < moved[0] - 0.02


def test_full_depth_stays_full_depth_on_data_that_the_path_was_not_fitted_on() -> None:
    """Exits that agree in the half that judges, though none does in the half that the thresholds come from."""
    differ = recording("a", "", [chunk(0, ["", "ONE", ""], [0.0, 0.0, 0.0])])
    agree = recording("b", "", [chunk(0, ["ONE", "ONE", ""], [0.0, 0.0, 0.0])])
    for recordings in ([differ, agree], [agree, differ]):  # each once in the half that is fitted on
        result = calibrate(table_of(recordings), get_criterion("disagreement"), Goal(max_loss=0.0))
        assert result.chosen.wer == result.full_depth.wer == 0.0


def test_paths_go_from_full_depth_to_exit_1() -> None:
    table = table_of(easy_and_hard())
    for path in (threshold_path(table, ENTROPY), common_path(table, ENTROPY)):
        taken = [table.taken(table.values(ENTROPY), thresholds, small_is_sure=True) for thresholds in path]
        assert (taken[0] == 3).all()
        assert (taken[-1] == 1).all()
        costs = [table.cost(exits) for exits in taken]
        assert costs == sorted(costs, reverse=True)


def test_paths_have_no_wide_gaps() -> None:
    """A jump between two corners is filled, at shares of chunks between theirs."""
    rng = np.random.default_rng(3)
    data = [
        recording(f"u{i}", "ONE", [chunk(0, ["ONE" if e < 0.5 else "TWO", "ONE", "ONE"], [e, e / 2, 0.0])])
        for i, e in enumerate(rng.random(400).tolist())
    ]
    table = table_of(data)
    path = threshold_path(table, ENTROPY)
    costs = [table.cost(table.taken(table.values(ENTROPY), t, small_is_sure=True)) / table.costs[-1] for t in path]
    assert max(a - b for a, b in itertools.pairwise(costs)) <= STEP + 2 / len(data)
    assert costs == sorted(costs, reverse=True)
    assert len(path) > 20


def test_a_subset_keeps_what_is_known() -> None:
    table = table_of(easy_and_hard())
    table.values(ENTROPY)
    part = table.subset([1, 30])
    assert part.harm.tolist() == table.harm[[1, 30]].tolist() == [[0, 0, 0], [1, 1, 0]]
    assert part.values(ENTROPY).tolist() == table.values(ENTROPY)[[1, 30]].tolist()
    assert part.errors(part.fixed(1)).tolist() == [0, 1]
    assert table.with_costs([1, 1, 1]).cost(table.fixed(3)) == 1.0


def test_logistic_regression_finds_its_own_model() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20_000, 2)) * [1.0, 5.0] + [3.0, 0.0]
    target = (rng.random(len(x)) < 1 / (1 + np.exp(-(0.5 - 1.0 * x[:, 0] + 0.3 * x[:, 1])))).astype(np.float64)
    assert logistic_regression(x, target, 1.0) == pytest.approx([0.5, -1.0, 0.3], abs=0.1)
    assert np.isfinite(logistic_regression(x, np.ones(len(x)), 1.0)).all()


def test_the_gate_tells_harm() -> None:
    table = table_of(easy_and_hard())
    values = table.values(train_gate(table))
    assert values[:20].min() > 0.8 > 0.3 > values[20:].max()


def test_the_gate_learns_from_what_it_will_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(easy_and_hard())
    found: list[int] = []

    def temperatures(recordings: Sequence[Recording], blank: int) -> tuple[float, ...]:
        found.append(blank)
        return (3.0, 2.0, 1.0)

    monkeypatch.setattr(calibration, "fit_temperatures", temperatures)
    result = calibrate(table, get_criterion("learned_gate"), Goal(max_loss=0.0), temperature_scaling=True)
    fit = table.subset(halves(40)[0])
    assert result.criterion == train_gate(fit, temperatures=(3.0, 2.0, 1.0)) != train_gate(fit)
    values = table.values(result.criterion, result.temperatures)
    policy = ThresholdPolicy(result.criterion, result.thresholds, result.temperatures)
    assert values[0].tolist() == [policy.value(view) for view in table.chunks[0].views()[:-1]]
    other = ChunkTable(table.recordings, MACS, TOKENS, blank=2)
    calibrate(other, ENTROPY, Goal(max_loss=0.0), temperature_scaling=True)
    assert found == [0, 2]


def test_temperatures_find_overconfidence() -> None:
    rng = np.random.default_rng(0)
    part = chunk(0, ["", "", ""], [0.1] * 3)
    frames = 4000
    scores = rng.standard_normal((frames, 6)).astype(np.float32) * 2
    logits = np.stack([3 * scores, scores, np.zeros_like(scores)])
    log_probs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    chance = np.exp(log_probs[1])
    target = (chance.cumsum(axis=1) > rng.random((frames, 1))).argmax(axis=1)
    log_probs[2] = np.where(np.arange(6) == target[:, None], 0.0, -20.0)
    said = recording("a", "", [type(part)(part.info, part.frames, log_probs)])
    found = fit_temperatures([said])
    assert found[0] == pytest.approx(3.0, rel=0.15)
    assert found[1] == pytest.approx(1.0, rel=0.15)
    assert found[2] == 1.0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 8))
def test_the_last_point_that_keeps_a_promise(kept: list[bool], stride: int) -> None:
    asked: list[int] = []

    def keeps(place: int) -> bool:
        asked.append(place)
        return kept[place]

    found = last_kept(len(kept), keeps, stride)
    assert found == 0 or kept[found]
    assert len(asked) == len(set(asked))
    assert not any(kept[place] for place in asked if place > found)  # of what was looked at, the cheapest
    if stride == 1:
        failed, wanted = 0, 0
        for place, good in enumerate(kept):
            wanted, failed = (place, 0) if good else (wanted, failed + 1)
            if failed == PATIENCE:
                break
        assert found == wanted
    monotone = [place < sum(kept) for place in range(len(kept))]
    assert last_kept(len(kept), monotone.__getitem__, stride) == max(0, sum(kept) - 1)


def test_halves() -> None:
    one, other = halves(9)
    assert sorted(one + other) == list(range(9))
    assert halves(9, seed=1) != (one, other)
    assert halves(1) == ([0], [0])


def test_nothing_to_calibrate_on() -> None:
    with pytest.raises(DataError, match="nothing to calibrate on"):
        table_of([])


@pytest.mark.parametrize("loss", [-0.1, float("nan"), float("inf")])
def test_bad_loss(loss: float) -> None:
    with pytest.raises(OptionError, match="max_loss"):
        Goal(max_loss=loss)


def test_a_policy_is_written_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="Out of range"):
        write_policy(path, {"thresholds": {"640": [float("inf")]}})
    assert path.read_text() == "old"
    write_policy(path, {"criterion": "frame_entropy"})
    assert json.loads(path.read_text()) == {"criterion": "frame_entropy"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["policy.json"]
