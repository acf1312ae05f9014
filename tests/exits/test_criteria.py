"""Criteria: value, direction, registry."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.errors import OptionError
from edge_asr.exits.base import Criterion
from edge_asr.exits.criterion import CRITERIA, get_criterion
from edge_asr.exits.disagreement import edit_distance
from edge_asr.exits.learned_gate import FEATURES, LearnedGate, gate_features
from edge_asr.exits.stats import ChunkInfo, ExitStats
from edge_asr.exits.text_posterior import text_log_posteriors
from edge_asr.exits.threshold import ThresholdPolicy
from edge_asr.exits.view import ExitView, frame_stats
from tests.exits.helpers import speaking, view

NAMES = {
    "frame_entropy",
    "max_posterior",
    "margin",
    "nonblank_entropy",
    "nonblank_posterior",
    "nonblank_margin",
    "disagreement",
    "sentence_confidence",
    "learned_gate",
}
SURE_BLANK, WORD, UNSURE = [0.98, 0.01, 0.01], [0.04, 0.9, 0.06], [0.3, 0.4, 0.3]


@pytest.mark.parametrize(
    ("name", "value", "sure", "unsure"),
    [("frame_entropy", 0.3, 0.31, 0.29), ("max_posterior", 0.7, 0.69, 0.71), ("margin", 0.7, 0.69, 0.71)],
)
def test_values_and_directions(name: str, value: float, sure: float, unsure: float) -> None:
    criterion = get_criterion(name)
    assert criterion.name == name
    assert criterion.value(view(1, 0.3)) == pytest.approx(value)
    assert criterion.sure(value, sure)
    assert criterion.sure(value, value)
    assert not criterion.sure(value, unsure)
    assert not criterion.sure(value, criterion.stricter(value, 0.01))


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(OptionError, match="criterion='luck': expected one of frame_entropy, max_posterior, margin"):
        get_criterion("luck")
    assert set(CRITERIA) == NAMES


def test_stats_keep_the_order_of_the_graphs() -> None:
    assert ExitStats._fields == ("entropy", "max_posterior", "margin", "blank")


@pytest.mark.parametrize("name", sorted(NAMES - {"disagreement", "learned_gate"}))
def test_an_unsure_chunk_is_less_sure(name: str) -> None:
    criterion = get_criterion(name)
    sure, unsure = (criterion.value(speaking(1, [SURE_BLANK, frame, SURE_BLANK])) for frame in (WORD, UNSURE))
    assert criterion.sure(sure, unsure)
    assert not criterion.sure(unsure, sure)


def test_surely_blank_frames_do_not_dilute() -> None:
    for name in ("nonblank_entropy", "nonblank_posterior", "nonblank_margin"):
        criterion = get_criterion(name)
        short, long = (criterion.value(speaking(1, [*[SURE_BLANK] * n, UNSURE])) for n in (1, 9))
        assert short == pytest.approx(long)
    silence = speaking(1, [SURE_BLANK] * 4)
    assert get_criterion("nonblank_entropy").value(silence) == silence.stats.entropy


def test_disagreement() -> None:
    criterion = get_criterion("disagreement")
    one = speaking(1, [WORD, SURE_BLANK, WORD])
    assert criterion.value(one) == 1.0
    assert criterion.value(speaking(2, [SURE_BLANK, WORD, WORD], one)) == 0.5
    assert criterion.value(speaking(2, [WORD, SURE_BLANK, WORD], one)) == 0.0
    assert criterion.value(speaking(2, [SURE_BLANK], speaking(1, [SURE_BLANK]))) == 0.0


def plain_distance(one: Sequence[int], other: Sequence[int]) -> int:
    if not one or not other:
        return len(one) + len(other)
    swap = plain_distance(one[1:], other[1:]) + (one[0] != other[0])
    return min(swap, plain_distance(one[1:], other) + 1, plain_distance(one, other[1:]) + 1)


@given(st.lists(st.integers(1, 3), max_size=5), st.lists(st.integers(1, 3), max_size=5))
def test_edit_distance(one: list[int], other: list[int]) -> None:
    assert edit_distance(one, other) == plain_distance(one, other)


@given(st.integers(1, 4), st.lists(st.integers(1, 2), max_size=3), st.integers(0, 99))
def test_the_posterior_sums_all_alignments(frames: int, tokens: list[int], seed: int) -> None:
    log_probs = np.log(np.random.default_rng(seed).dirichlet(np.ones(3), frames)).astype(np.float32)
    total = 0.0
    for path in itertools.product(range(3), repeat=frames):
        merged = [token for token, _ in itertools.groupby(path) if token]
        if merged == tokens:
            total += math.exp(sum(float(log_probs[t, token]) for t, token in enumerate(path)))
    others = [[1, 2], [], [2]]  # texts of other lengths beside it change nothing
    assert np.exp(text_log_posteriors(log_probs, [*others, tokens])[-1]) == pytest.approx(total, abs=1e-6)


def test_posteriors_of_texts_of_many_frames() -> None:
    """Against logarithms throughout: rescaling loses nothing, and what can't be is impossible."""
    rng = np.random.default_rng(0)
    log_probs = np.log(rng.dirichlet(np.full(5, 0.05), 700) + 1e-9).astype(np.float32)
    text = [int(t) for t in rng.integers(1, 5, 90)]
    labels = [0] + [label for token in text for label in (token, 0)]
    alpha = [float(log_probs[0, label]) if s < 2 else -math.inf for s, label in enumerate(labels)]
    for frame in log_probs[1:].astype(np.float64):
        reach = [
            [
                alpha[s],
                alpha[s - 1] if s else -math.inf,
                alpha[s - 2] if s > 1 and label and label != labels[s - 2] else -math.inf,
            ]
            for s, label in enumerate(labels)
        ]
        alpha = [float(np.logaddexp.reduce(r)) + float(frame[label]) for r, label in zip(reach, labels, strict=True)]
    found = text_log_posteriors(log_probs, [text, [1] * 400])
    assert found[0] == pytest.approx(float(np.logaddexp(alpha[-1], alpha[-2])), rel=1e-9)
    assert found[1] == -math.inf  # 400 equal tokens need 799 frames


def test_what_the_gate_sees_of_texts() -> None:
    one = speaking(1, [WORD, UNSURE])
    two = speaking(2, [WORD, WORD], one)
    seen = dict(zip(FEATURES, gate_features(two).tolist(), strict=True))
    ours, theirs = np.exp(text_log_posteriors(two.log_probs, [two.tokens, one.tokens]))
    assert seen["text_posterior"] == pytest.approx(ours)
    assert seen["earlier_text_posterior"] == pytest.approx(theirs)
    assert seen["token_posterior"] == pytest.approx(ours ** (1 / max(1, len(two.tokens))))
    assert seen["log_token_posterior"] == pytest.approx(math.log(seen["token_posterior"]))
    first = dict(zip(FEATURES, gate_features(one).tolist(), strict=True))
    assert first["earlier_text_posterior"] == first["text_posterior"]
    assert first["disagreement"] == 1.0


def test_the_gate_is_a_logistic_model_per_exit() -> None:
    rows = [[0.5, -2.0, *[0.0] * (len(FEATURES) - 1)], [0.0] * (len(FEATURES) + 1)]
    gate = get_criterion("learned_gate").configured({"features": list(FEATURES), "exits": rows}, exits=3)
    assert isinstance(gate, LearnedGate)
    one = speaking(1, [WORD, UNSURE])
    assert gate.value(one) == pytest.approx(1 / (1 + math.exp(2.0 * one.stats.entropy - 0.5)))
    assert gate.value(speaking(2, [WORD], one)) == 0.5
    assert len(gate_features(one)) == len(FEATURES)
    assert gate_features(one) is gate_features(one)  # computed once, whoever asks
    assert gate.configured(gate.parameters(), exits=3) == gate
    with pytest.raises(OptionError, match="not for exit 3"):
        gate.value(speaking(3, [WORD]))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "features None"),
        ({"features": ["luck"]}, "features"),
        ({"features": None}, "features None"),
        ({"features": list(FEATURES)}, "weights of 2 exits"),
        ({"features": list(FEATURES), "exits": [[0.0] * 14]}, "weights of 2 exits"),
        ({"features": list(FEATURES), "exits": [[0.0] * 14, [0.0] * 13]}, "row of exit 2"),
        ({"features": list(FEATURES), "exits": [[0.0] * 13 + ["x"], [0.0] * 14]}, "row of exit 1"),
        ({"features": list(FEATURES), "exits": [[math.nan] * 14, [0.0] * 14]}, "row of exit 1"),
        ({"features": list(FEATURES), "exits": [[10**400] * 14, [0.0] * 14]}, "row of exit 1"),
    ],
)
def test_wrong_gates(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        get_criterion("learned_gate").configured(parameters, exits=3)
    with pytest.raises(OptionError, match="has no parameters"):
        get_criterion("margin").configured({"x": 1}, exits=3)


def test_a_new_criterion_is_one_class_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Patience(Criterion):
        """Sure of everything from exit 2 on."""

        name = "patience"

        def value(self, view: ExitView) -> float:
            return float(view.exit)

    monkeypatch.setitem(CRITERIA, Patience.name, Patience())
    policy = ThresholdPolicy(get_criterion("patience"), (2.0, 2.0))
    chunk = ChunkInfo(index=0, first_frame=0, n_valid=1, chunk_frames=16, exits=3)
    assert [policy.stop(view(exit, 0.1), chunk) for exit in (1, 2)] == [False, True]


@given(st.lists(st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4), min_size=1, max_size=5), st.floats(0.3, 4.0))
def test_tempered_views(weights: list[list[float]], temperature: float) -> None:
    posteriors = np.array(weights) / np.array(weights).sum(axis=1, keepdims=True)
    log_probs = np.log(posteriors).astype(np.float32)
    plain = ExitView.of(1, frame_stats(log_probs), log_probs)
    changed = plain.tempered([temperature])
    assert np.exp(changed.log_probs).sum(axis=1) == pytest.approx(1.0, abs=1e-4)
    assert changed.tokens == plain.tokens
    assert (changed.stats.entropy >= plain.stats.entropy - 1e-3) == (temperature >= 1.0) or abs(
        changed.stats.entropy - plain.stats.entropy
    ) < 1e-2
    assert plain.tempered([1.0]).stats == plain.stats
