"""Checkpoints: written whole or not at all, read without unpickling code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from edge_asr.errors import DataError
from edge_asr.model.config import ModelConfig
from edge_asr.model.model import AsrModel
from edge_asr.training.tokenizer import Tokenizer


def save_checkpoint(path: Path, values: dict[str, Any]) -> None:
    """Writes beside ``path`` and renames, so that a crash leaves the one before."""
    part = path.with_name(path.name + ".part")
    torch.save(values, part)
    os.replace(part, path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads tensors and plain values; DataError for anything else."""
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"checkpoint {str(path)!r} cannot be read: {error}") from error
    if not isinstance(values, dict) or "model" not in values or "config" not in values:
        raise DataError(f"checkpoint {str(path)!r} is not one of this project's: it lacks 'model' and 'config'")
    return values


def load_model(path: Path) -> tuple[AsrModel, Tokenizer, dict[str, Any]]:
    """The averaged weights of a checkpoint as a model in evaluation mode, its tokeniser, and all else in the file."""
    values = read_checkpoint(path)
    model = AsrModel(ModelConfig.from_dict(values["config"]["model"]))
    try:
        model.load_state_dict(values["ema"])
    except (KeyError, RuntimeError) as error:
        raise DataError(f"checkpoint {str(path)!r} does not fit its own configuration: {error}") from error
    return model.eval(), Tokenizer(bytes(values["tokenizer"].numpy().tobytes())), values
