"""The monitor: counts, shift, and two formats."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from edge_asr.bundle.policy import PolicySpec, ReferenceSpec
from edge_asr.errors import OptionError
from edge_asr.exits.shift import population_stability
from edge_asr.runtime.decided_chunk import DecidedChunk
from edge_asr.runtime.monitor import Monitor, counted_by
from tests.exits.helpers import view

QUARTERS = ReferenceSpec((0.2, 0.4, 0.6), (0.25, 0.25, 0.25, 0.25), 0.5)
POLICY = PolicySpec(
    "int8", "0" * 64, "frame_entropy", {"640": (0.4, 0.4)}, {}, exits=3, reference={"640": (QUARTERS, QUARTERS)}
)


def chunk(exit: int, entropy: float, seconds: float = 0.03) -> DecidedChunk:
    views = [view(1, entropy, seconds=seconds / exit)]
    while len(views) < exit:
        views.append(view(len(views) + 1, entropy, views[-1], seconds / exit))
    return DecidedChunk(
        piece=0,
        first_frame=0,
        n_valid=16,
        n_audio=16,
        exit=exit,
        log_probs=np.zeros((16, 3), dtype=np.float32),
        stats=tuple(v.stats for v in views),
        all_log_probs=None,
        segment_seconds=tuple(v.seconds for v in views),
        views=tuple(views),
    )


def test_counts() -> None:
    monitor = Monitor(3, POLICY)
    monitor.observe(chunk(1, 0.3), "640", 0.04, missed=False)
    monitor.observe(chunk(3, 0.5, seconds=0.3), "640", 0.04, missed=True)
    monitor.observe(chunk(1, 0.3), "full", 0.04)
    monitor.revisited(chunk(3, 0.1), 1, 0.02)
    facts = json.loads(monitor.json())
    assert facts["chunks"] == 3
    assert facts["exits"] == {"1": 1, "2": 0, "3": 2}
    assert (facts["revisits"], facts["deadline_misses"]) == (1, 1)
    assert facts["audio_seconds"] == pytest.approx(1.92)
    assert facts["compute_seconds"] == pytest.approx(0.38)
    assert facts["criterion"] == {"640": [[0, 1, 1, 0], [0, 0, 1, 0]]}
    assert sum(facts["chunk_seconds"]["counts"]) == 3
    assert [sum(row) for row in facts["entropy"]["counts"]] == [3, 1, 1]
    assert facts["population_stability"] == {"640": [None, None]}
    assert facts["alarm"] is False


def test_a_shift_raises_the_alarm() -> None:
    rng = np.random.default_rng(0)
    same, other = Monitor(3, POLICY), Monitor(3, POLICY)
    for value in rng.uniform(0, 0.8, 400):
        same.observe(chunk(1, value), "640", 0.04)
        other.observe(chunk(1, value / 2 + 0.4), "640", 0.04)
    assert not same.alarm
    assert other.alarm
    assert same.shift()["640"][1] is None  # no chunk came there


def test_a_decoder_with_thresholds_of_its_own_is_counted_beside_the_others() -> None:
    few = ReferenceSpec((0.5,), (0.5, 0.5), 0.5)
    lm = PolicySpec("int8", "0" * 64, "max_posterior", {"640": (0.4, 0.4)}, {}, exits=3, reference={"640": (few, few)})
    monitor = Monitor(3, replace(POLICY, decoders={"lm": lm}))
    monitor.observe(chunk(1, 0.3), "640", 0.04)
    for _ in range(300):
        monitor.observe(chunk(2, 0.3), "lm/640", 0.04)
    facts = monitor.snapshot()
    assert facts["criterion"]["640"] == [[0, 1, 0, 0], [0, 0, 0, 0]]
    assert [len(row) for row in facts["criterion"]["lm/640"]] == [2, 2]
    assert [sum(row) for row in facts["criterion"]["lm/640"]] == [300, 300]
    assert facts["population_stability"]["640"] == [None, None]
    assert all(value is not None for value in facts["population_stability"]["lm/640"])
    assert monitor.alarm  # all of them in one bin
    assert 'chunk="lm/640",exit="1"' in monitor.prometheus()


def test_a_snapshot_says_which_calibration_counted() -> None:
    def said(policy: PolicySpec) -> str:
        monitor = Monitor(3, policy)
        monitor.observe(chunk(1, 0.3), "640", 0.04)
        found = json.loads(monitor.json())["calibrations"]
        assert list(found) == ["640"]
        return str(found["640"])

    halves = ReferenceSpec((0.4,), (0.5, 0.5), 0.5)
    others = [
        replace(POLICY, criterion="max_posterior"),
        replace(POLICY, temperatures={"640": (2.0, 1.0, 1.0)}),
        replace(POLICY, reference={"640": (QUARTERS, halves)}),
    ]
    assert len({said(policy) for policy in [POLICY, *others]}) == 4
    weights = [replace(POLICY, parameters={"640": {"exits": [[value]]}}) for value in (1.0, 2.0)]
    assert len({counted_by(policy, "640") for policy in [POLICY, *weights]}) == 3
    assert said(replace(POLICY, thresholds={"640": (0.1, 0.1)})) == said(POLICY) == counted_by(POLICY, "640")
    assert Monitor(3).snapshot()["calibrations"] == {}


def test_depth_that_calibration_did_not_choose_says_nothing_of_drift() -> None:
    monitor = Monitor(3, POLICY)
    monitor.observe(chunk(3, 0.3), None, 0.04)
    facts = monitor.snapshot()
    assert (facts["chunks"], facts["criterion"]) == (1, {})


def test_counters_keep_their_digits() -> None:
    monitor = Monitor(3)
    monitor.observe(chunk(1, 0.3), "640", 0.04)
    monitor.spent(1_234_567.125)
    assert "edge_asr_compute_seconds_total 1234567.155\n" in monitor.prometheus()
    assert "edge_asr_chunk_seconds_sum 0.03\n" in monitor.prometheus()


def test_old_audio_fades() -> None:
    monitor = Monitor(3, POLICY)
    for _ in range(5200):
        monitor.observe(chunk(1, 0.1), "640", 0.04)
    assert sum(monitor.snapshot()["criterion"]["640"][0]) < 5000


def test_without_a_policy() -> None:
    monitor = Monitor(3)
    monitor.observe(chunk(2, 0.3), "640", 0.04)
    facts = monitor.snapshot()
    assert facts["criterion"] == {}
    assert facts["criterion_name"] is None
    assert not monitor.alarm


def test_prometheus() -> None:
    monitor = Monitor(3, POLICY)
    for value in np.random.default_rng(0).uniform(0, 0.8, 300):
        monitor.observe(chunk(1, value), "640", 0.04)
    text = monitor.prometheus()
    assert 'edge_asr_chunks{exit="1"} 300' in text
    assert 'edge_asr_chunk_seconds_bucket{le="+Inf"} 300' in text
    line = re.compile(r'(# (HELP|TYPE) \S+ .+|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.e+-]+)')
    assert all(line.fullmatch(row) for row in text.splitlines())


def test_population_stability() -> None:
    assert population_stability([0.25] * 4, [0.25] * 4) == 0.0
    assert population_stability([0.25] * 4, [0.7, 0.1, 0.1, 0.1]) > 0.25
    with pytest.raises(OptionError, match="1 shares for 2 bins"):
        population_stability([0.5, 0.5], [1.0])
