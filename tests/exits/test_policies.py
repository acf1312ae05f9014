"""Policies: fixed depth and thresholds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edge_asr.errors import OptionError
from edge_asr.exits.criterion import get_criterion
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.exits.policy import Policy
from edge_asr.exits.stats import ChunkInfo
from edge_asr.exits.threshold import ThresholdPolicy
from edge_asr.exits.view import ExitView, frame_stats
from tests.exits.helpers import view

CHUNK = ChunkInfo(index=0, first_frame=0, n_valid=16, chunk_frames=16, exits=4)


def depth(policy: Policy, entropies: list[float], chunk: ChunkInfo = CHUNK) -> int:
    for exit, entropy in enumerate(entropies, start=1):
        if policy.stop(view(exit, entropy), chunk):
            return exit
    return len(entropies)


@pytest.mark.parametrize("exit", [1, 2, 3, 4])
def test_fixed_depth(exit: int) -> None:
    assert depth(FixedPolicy(exit), [0.0] * 4) == exit


@pytest.mark.parametrize("exit", [0, -1, 1.0, "2", True, None])
def test_fixed_depth_refuses(exit: Any) -> None:
    with pytest.raises(OptionError, match="expected an integer from 1"):
        FixedPolicy(exit)


@pytest.mark.parametrize(
    ("entropies", "exit"),
    [([0.1, 0, 0, 0], 1), ([0.3, 0.2, 0, 0], 2), ([0.3, 0.3, 0.3, 0], 3), ([0.9, 0.9, 0.9, 0.9], 4)],
)
def test_thresholds(entropies: list[float], exit: int) -> None:
    assert depth(ThresholdPolicy(get_criterion("frame_entropy"), [0.1, 0.2, 0.3]), entropies) == exit


def test_infinite_thresholds_are_always_and_never() -> None:
    always = ThresholdPolicy(get_criterion("frame_entropy"), (math.inf,) * 3)
    never = ThresholdPolicy(get_criterion("frame_entropy"), (-math.inf,) * 3)
    assert depth(always, [5.0] * 4) == 1
    assert depth(never, [0.0] * 4) == 4


@pytest.mark.parametrize("threshold", [math.nan, "0.1", None, True])
def test_thresholds_refuse(threshold: Any) -> None:
    with pytest.raises(OptionError, match="threshold of exit 2"):
        ThresholdPolicy(get_criterion("margin"), (0.5, threshold))


def test_a_policy_keeps_its_own_thresholds() -> None:
    thresholds = [0.1, 0.2]
    policy = ThresholdPolicy(get_criterion("frame_entropy"), thresholds)
    thresholds[0] = 9.0
    assert policy.thresholds == (0.1, 0.2)


def test_hysteresis_asks_for_more_before_it_leaves_earlier_than_the_chunk_before() -> None:
    policy = ThresholdPolicy(get_criterion("frame_entropy"), (0.2, 0.2, 0.2), hysteresis=0.1)
    for previous, exit in ((0, 1), (1, 1), (3, 3)):
        chunk = ChunkInfo(1, 16, 16, 16, 4, previous_exit=previous)
        assert depth(policy, [0.15, 0.15, 0.15, 0.15], chunk) == exit
        assert depth(policy, [0.05, 0.05, 0.05, 0.05], chunk) == 1
    confident = ThresholdPolicy(get_criterion("max_posterior"), (0.8, 0.8, 0.8), hysteresis=0.1)
    assert depth(confident, [0.15] * 4, ChunkInfo(1, 16, 16, 16, 4, previous_exit=4)) == 4


def test_temperatures_are_applied_before_the_criterion() -> None:
    policy = ThresholdPolicy(get_criterion("frame_entropy"), (0.5,), temperatures=(4.0, 1.0))
    log_probs = np.log(np.array([[0.9, 0.05, 0.05]], dtype=np.float32))
    sharp = ExitView.of(1, frame_stats(log_probs), log_probs)
    assert sharp.stats.entropy < 0.5 < policy.value(sharp)
    assert not policy.stop(sharp, CHUNK)
    with pytest.raises(OptionError, match="1 temperatures for 1 thresholds"):
        ThresholdPolicy(get_criterion("margin"), (0.5,), temperatures=(1.0,))
    with pytest.raises(OptionError, match="temperature of exit 2 is 0"):
        ThresholdPolicy(get_criterion("margin"), (0.5,), temperatures=(1.0, 0.0))


@pytest.mark.parametrize("hysteresis", [-0.1, math.nan, math.inf])
def test_hysteresis_refuses(hysteresis: float) -> None:
    with pytest.raises(OptionError, match="hysteresis"):
        ThresholdPolicy(get_criterion("margin"), (0.5,), hysteresis=hysteresis)
