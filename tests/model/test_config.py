"""Wrong sizes are refused with the option's name, its value and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from edge_asr.errors import OptionError
from edge_asr.model.config import ModelConfig
from edge_asr.model.registry import build_encoder


def test_round_trip() -> None:
    config = ModelConfig(dim=32, heads=2, branches=(1, 3), exits=3)
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_phones_are_further_columns_and_older_files_have_none() -> None:
    assert ModelConfig(vocabulary=10, phones=5).outputs == 15
    older = ModelConfig().to_dict()
    del older["phones"]
    assert ModelConfig.from_dict(older).outputs == ModelConfig().vocabulary


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dim", 50),
        ("exits", 1),
        ("kernel", 8),
        ("history", 63),
        ("branches", (7,)),
        ("dropout", 1.0),
        ("vocabulary", 1),
        ("phones", 1),
        ("phones", 257),
        ("phones", -2),
        ("layers", 0),
        ("colour", "red"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=name):
        ModelConfig.from_dict({name: value})


def test_an_unknown_architecture_names_the_known_ones() -> None:
    with pytest.raises(OptionError, match="splitformer-two-speed"):
        build_encoder(ModelConfig(architecture="transducer"))
