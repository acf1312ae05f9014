"""A small random model and the bundle exported from it, made once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from rich.console import Console

from edge_asr.bundle.bundle import Bundle
from edge_asr.model.config import ModelConfig
from edge_asr.model.model import AsrModel, two_speed
from edge_asr.training.tokenizer import Tokenizer
from edge_asr.training.weights import load_weights, save_weights
from export.__main__ import export_bundle

CONFIG = ModelConfig(dim=32, heads=2, vocabulary=20, exits=3, history=32, branches=(1, 3))


@dataclass(frozen=True)
class Exported:
    """A model, its weights file and its bundle."""

    model: AsrModel
    weights: Path
    bundle: Path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    model = AsrModel(CONFIG)
    model.frontend.subsampling.mean -= 7.0
    model.frontend.subsampling.std += 3.0
    encoder = two_speed(model)
    for exit in (encoder.trunk.exit, *(s.exit for s in encoder.segments())):
        exit.output.weight.data *= 3  # posteriors that are not all alike
    weights = folder / "random.safetensors"
    save_weights(weights, model, Tokenizer.train(["A FEW WORDS TO LEARN PIECES FROM", "AND SOME MORE"] * 9, 20), {})
    export_bundle(weights, folder / "random", "random", Console(quiet=True))
    model = load_weights(weights)[0].overlapping(Bundle.load(folder / "random").spec.encoder.overlap)
    return Exported(model, weights, folder / "random")
