"""Policies: fixed depth and thresholds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from edge_asr.errors import OptionError
from edge_asr.exits.criterion import get_criterion
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.exits.policy import Policy
from edge_asr.exits.stats import ChunkInfo, ExitStats
from edge_asr.exits.threshold import ThresholdPolicy

CHUNK = ChunkInfo(index=0, first_frame=0, n_valid=16, chunk_frames=16, exits=4)


def depth(policy: Policy, entropies: list[float]) -> int:
    for exit, entropy in enumerate(entropies, start=1):
        if policy.stop(exit, ExitStats(entropy, 1 - entropy, 1 - entropy, 0.5), CHUNK):
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
