"""Training configurations: those in the repository are valid, wrong ones are refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_asr.errors import OptionError
from edge_asr.model.config import ModelConfig
from edge_asr.training.config import TrainConfig


def test_shipped_configurations_are_valid(repository: Path) -> None:
    files = sorted((repository / "scripts" / "configs").glob("en-*.yaml"))
    assert files
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
        (
            {"name": "x", "model": {}, "data": {"teacher": True}, "optim": {"teacher": 1.0, "teacher_exits": [7]}},
            "teacher_exits",
        ),
        ([], "mapping"),
    ],
)
def test_wrong_configurations(values: Any, name: str) -> None:
    with pytest.raises(OptionError, match=name):
        TrainConfig.from_dict(values)


def test_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [1")
    for file in (tmp_path / "bad.yaml", tmp_path / "none.yaml"):
        with pytest.raises(OptionError, match=file.name):
            TrainConfig.load(file)


def test_sizes_may_come_from_weights(repository: Path) -> None:
    base = ModelConfig(dim=32, heads=2, vocabulary=12, exits=2, branches=(1,))
    assert TrainConfig.from_dict({"name": "own"}, base).model == base
    assert TrainConfig.load(repository / "scripts" / "configs" / "fine-tune.yaml", base).model == base
    changed = TrainConfig.from_dict({"name": "own", "model": {"dropout": 0.1}}, base).model
    assert changed == replace(base, dropout=0.1)
    with pytest.raises(OptionError, match="model"):
        TrainConfig.from_dict({"name": "own"})
    with pytest.raises(OptionError, match="model is 'large'; allowed: a mapping"):
        TrainConfig.from_dict({"name": "own", "model": "large"}, base)
    with pytest.raises(OptionError, match="sise"):
        TrainConfig.from_dict({"name": "own", "model": {"sise": 3}}, base)
