"""Training configurations: those in the repository are valid, wrong ones are refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_asr.errors import OptionError
from edge_asr.model.config import ModelConfig
from edge_asr.training.config import TrainConfig


def test_shipped_configurations_are_valid(repository: Path) -> None:
    configs = repository / "scripts" / "configs"
    files = [*sorted(configs.glob("en-*.yaml")), configs / "mini.yaml"]
    assert len(files) > 1
    for file in files:
        config = TrainConfig.load(file)
        assert TrainConfig.from_dict(yaml.safe_load(yaml.safe_dump(_plain(config.to_dict())))) == config


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "name"),
        ({"name": "x"}, "model"),
        ({"name": "x", "model": {}, "speed": 3}, "speed"),
        ({"name": "x", "model": {"dim": 7}}, "dim"),
        ({"name": "x", "model": {}, "optim": {"optimizer": "sgd"}}, "optimizer"),
        ({"name": "x", "model": {}, "optim": {"chunks": {7: 1.0}}}, "chunks"),
        ({"name": "x", "model": {}, "phases": [{"until": 0.5}]}, "phases"),
        ({"name": "x", "model": {}, "data": {"speeds": []}}, "speeds"),
        ({"name": "x", "model": {"exits": 2, "branches": [1]}, "phases": [{"depths": {3: 1.0}}]}, "depths"),
        ({"name": "x", "model": {}, "augment": []}, "augment"),
        ({"name": "x", "model": {}, "optim": {"consistency": -1}}, "consistency"),
        ({"name": "x", "model": {}, "optim": {"teacher": 1.0}}, "data.teacher"),
        ({"name": "x", "model": {}, "optim": {"phones": 1.0}}, "0, or model.phones"),
        ({"name": "x", "model": {"phones": 79}, "optim": {"phones": -1}}, "optim.phones"),
        (
            {"name": "x", "model": {"phones": 79}, "optim": {"phones": 1, "crf": 1.1}},
            "allowed: 0 to 1",
        ),
        ({"name": "x", "model": {"phones": 79}, "optim": {"crf": 0.9}}, "0, or optim.phones above 0"),
        ({"name": "x", "model": {"phones": 79}, "optim": {"phones": 1.0, "phone_exits": [2]}}, "phone_exits"),
        ({"name": "x", "model": {}, "optim": {"precision": "int8"}}, "optim.precision"),
        ({"name": "x", "model": {}, "augment": {"frequency_width": 100}}, "augment.frequency_width"),
        ({"name": "x", "model": {}, "augment": {"time_share": 1.5}}, "augment.time_share"),
        ({"name": "x", "model": {}, "augment": {"tail_frames": -1}}, "augment.tail_frames"),
        ({"name": "x", "model": {}, "augment": {"gain_db": -3.0}}, "augment.gain_db"),
        (
            {"name": "x", "model": {}, "data": {"teacher": True}, "optim": {"teacher": 1.0, "teacher_exits": [7]}},
            "teacher_exits",
        ),
        ([], "mapping"),
        ({"name": "x", "model": {}, "seed": -1}, "seed is -1"),
        ({"name": "x", "model": {}, "seed": 1.5}, r"seed is 1\.5; allowed: a whole number"),
        ({"name": "x", "model": {"dim": "wide"}}, r"model\.dim is 'wide'; allowed: a whole number"),
        ({"name": "x", "model": {}, "optim": {"peak_lr": "fast"}}, r"optim\.peak_lr is 'fast'; allowed: a number"),
        ({"name": "x", "model": {}, "optim": {"peak_lr": float("nan")}}, "peak_lr is nan"),
        ({"name": "x", "model": {}, "optim": {"peak_lr": -0.1}}, "peak_lr is -0.1"),
        ({"name": "x", "model": {}, "optim": {"steps": True}}, "steps is True; allowed: a whole number"),
        ({"name": "x", "model": {}, "optim": {"optimizer": 3}}, "optimizer is 3; allowed: a text"),
        ({"name": "x", "model": {}, "optim": {"minutes": -5}}, r"optim\.minutes is -5"),
        ({"name": "x", "model": {}, "optim": {"chunks": {8: 0}}}, r"optim\.chunks is \{8: 0\.0\}; allowed: shares"),
        ({"name": "x", "model": {}, "optim": {"chunks": {8: 2, 16: -1}}}, "allowed: shares"),
        ({"name": "x", "model": {}, "optim": {"look_ahead": {}}}, "look_ahead is {}; allowed: shares"),
        ({"name": "x", "model": {}, "optim": {"chunks": 8}}, "chunks is 8; allowed: a mapping"),
        ({"name": "x", "model": {}, "optim": {"exit_weights": 1}}, "exit_weights is 1; allowed: a list"),
        ({"name": "x", "model": {}, "optim": {"exit_weights": [1, 1]}}, "exit_weights .* allowed: 6 numbers"),
        ({"name": "x", "model": {}, "optim": {"exit_weights": [0] * 6}}, "allowed: not all 0 up to exit 6"),
        (
            {"name": "x", "model": {}, "optim": {"exit_weights": [0, 0, 1, 1, 1, 1]}, "phases": [{"depths": {2: 1}}]},
            "allowed: not all 0 up to exit 2",
        ),
        (
            {"name": "x", "model": {}, "optim": {"exit_weights": [0, 1, 1, 1, 1, 1]}, "phases": [{"patterns": 0.5}]},
            "allowed: not all 0 up to exit 1",
        ),
        ({"name": "x", "model": {}, "phases": [{"depths": {2: 0}}]}, r"phases\.depths is .* allowed: shares"),
        ({"name": "x", "model": {}, "phases": [{"weights": None}]}, r"phases\.weights is None; allowed: a mapping"),
        ({"name": "x", "model": {}, "phases": 3}, "phases is 3; allowed: a list"),
        ({"name": "x", "model": {}, "data": {"teacher": 1}}, r"data\.teacher is 1; allowed: true or false"),
        ({"name": "x", "model": {}, "augment": {"snr_db": [5]}}, r"snr_db is \[5\]; allowed: a list of 2"),
    ],
)
def test_wrong_configurations(values: Any, name: str) -> None:
    with pytest.raises(OptionError, match=name):
        TrainConfig.from_dict(values)


def test_numbers_may_be_texts(repository: Path) -> None:
    """YAML 1.1 reads 1e-3 as a text, and JSON makes texts of chunk sizes and depths."""
    values = yaml.safe_load("{name: x, model: {}, optim: {peak_lr: 1e-3, steps: 1e4, batch_seconds: 80}}")
    assert isinstance(values["optim"]["peak_lr"], str)
    optim = TrainConfig.from_dict(values).optim
    assert (optim.peak_lr, optim.steps, optim.batch_seconds) == (0.001, 10_000, 80.0)
    assert (type(optim.steps), type(optim.batch_seconds)) == (int, float)
    config = TrainConfig.load(repository / "scripts" / "configs" / "en-tiny.yaml")
    assert config.optim.chunks
    assert any(phase.depths for phase in config.phases)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [1")
    for file in (tmp_path / "bad.yaml", tmp_path / "none.yaml"):
        with pytest.raises(OptionError, match=file.name):
            TrainConfig.load(file)


def test_sizes_may_come_from_weights(repository: Path) -> None:
    base = ModelConfig(dim=32, heads=2, vocabulary=12, exits=2, branches=(1,))
    assert TrainConfig.from_dict({"name": "own"}, base).model == base
    tuned, spoken = repository / "scripts" / "configs" / "fine-tune.yaml", replace(base, phones=79)
    assert TrainConfig.load(tuned, spoken).model == spoken
    with pytest.raises(OptionError, match=r"optim\.phones is 1\.5; allowed: 0, or model\.phones"):
        TrainConfig.load(tuned, base)
    changed = TrainConfig.from_dict({"name": "own", "model": {"dropout": 0.1}}, base).model
    assert changed == replace(base, dropout=0.1)
    with pytest.raises(OptionError, match="model"):
        TrainConfig.from_dict({"name": "own"})
    with pytest.raises(OptionError, match="model is 'large'; allowed: a mapping"):
        TrainConfig.from_dict({"name": "own", "model": "large"}, base)
    with pytest.raises(OptionError, match="sise"):
        TrainConfig.from_dict({"name": "own", "model": {"sise": 3}}, base)
