"""Costs of encoders on exported graphs: what is added up, on encoders small enough to export in a test."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from edge_asr.model.config import ModelConfig

CONFIG = ModelConfig(dim=16, heads=2, vocabulary=12, exits=3, history=16, branches=(1, 3))


@pytest.fixture(scope="module")
def costs(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("encoder_costs", repository / "scripts" / "encoder_costs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["encoder_costs"] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def test_costs_add_up_and_rivals_cost_what_they_compute(costs: ModuleType, tmp_path: Path) -> None:
    cases = {
        "pure": costs.pure(CONFIG, 8),
        "own": costs.cached(CONFIG, 8),
        "owed": costs.cached(CONFIG, 8, owed=True),
    }
    timed = {name: costs.Timed(parts, tmp_path / name, "float32") for name, parts in cases.items()}
    for one in timed.values():
        for _ in range(5):
            one.run()
    macs = {name: one.per_exit(one.macs) for name, one in timed.items()}
    for values in macs.values():
        assert len(values) == 3
        assert values == sorted(values)
    assert macs["pure"][0] == macs["own"][0] == macs["owed"][0]  # the trunk is common to all
    deep = {name: values[-1] - values[0] for name, values in macs.items()}
    assert deep["own"] / deep["pure"] == pytest.approx(1.5, abs=0.2)  # look-ahead is computed twice
    assert deep["owed"] > 1.3 * deep["own"]
    for one in timed.values():
        times = one.per_exit(one.medians())
        assert times == sorted(times)
        assert times[0] > 0
    text = costs.table({"pure": {"time": [0.5, 0.8, 1.0], "macs": macs["pure"]}})
    assert text.splitlines()[0] == "| encoder | exit 1 | exit 2 | exit 3 | MMAC a chunk, full depth |"
    assert "| pure | 0.50 | 0.80 | 1.00 |" in text


def test_every_case_can_be_built(costs: ModuleType) -> None:
    for name, build in costs.cases(ModelConfig()).items():
        exits = [part.exit for part in build()]
        assert set(exits) == set(range(1, 7)), name
