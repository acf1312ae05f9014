"""Checkpoints: written whole or not at all, read without unpickling code."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from edge_asr.errors import DataError
from edge_asr.model.config import ModelConfig
from edge_asr.model.model import AsrModel
from edge_asr.training.config import Phase, TrainConfig
from edge_asr.training.tokenizer import Tokenizer

MAY_CHANGE = ("data.dev", "data.dev_utterances", "optim.minutes", "optim.steps", "optim.precision")
"""Options that a resumed run may have another value of: its length, how it rounds, what it is scored on."""


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


def changes(saved: dict[str, Any], config: TrainConfig) -> list[str]:
    """How a run's configuration differs from the one that its checkpoint was trained with, but for `MAY_CHANGE`.

    Args:
        saved: what ``TrainConfig.to_dict`` gave; options that are younger than it had their defaults.
        config: of the run now.

    Returns:
        ``option was A, is B`` each. The model's sizes are not looked at.
    """
    now, found = config.to_dict(), []
    if (then := saved.get("seed", now["seed"])) != now["seed"]:
        found.append(f"seed was {then!r}, is {now['seed']!r}")
    for section in ("data", "augment", "optim"):
        default = asdict(type(getattr(config, section))())
        for name, value in now[section].items():
            then = saved.get(section, now[section]).get(name, default[name])
            if then != value and f"{section}.{name}" not in MAY_CHANGE:
                found.append(f"{section}.{name} was {then!r}, is {value!r}")
    phases = [asdict(Phase()) | phase for phase in saved.get("phases", now["phases"])]
    phases = [{name: phase[name] for name in asdict(Phase())} for phase in phases]
    if phases != list(now["phases"]):
        found.append(f"phases were {phases!r}, are {list(now['phases'])!r}")
    return found


def digest(state: dict[str, torch.Tensor]) -> str:
    """SHA-256 of weights, by name."""
    result = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        result.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return result.hexdigest()
