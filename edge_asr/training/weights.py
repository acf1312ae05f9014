"""Float weights as one safetensors file: what users fine-tune from, and what a bundle is exported from."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from edge_asr.errors import DataError
from edge_asr.model.config import ModelConfig
from edge_asr.model.model import AsrModel
from edge_asr.training.checkpoint import load_model
from edge_asr.training.tokenizer import Tokenizer

FORMAT = "edge-asr-weights-1"


def save_weights(path: Path, model: AsrModel, tokenizer: Tokenizer, notes: dict[str, Any]) -> None:
    """Writes weights as bfloat16; configuration, tokeniser and notes (JSON values) go to the header."""
    tensors = {name: p.to(torch.bfloat16).contiguous() for name, p in model.state_dict().items()}
    header = {
        "format": FORMAT,
        "config": json.dumps(model.config.to_dict()),
        "tokenizer": base64.b64encode(tokenizer.model).decode(),
        "notes": json.dumps(notes),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=header)
    path.chmod(0o644)  # safetensors lets only the owner read


def lineage(notes: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs that weights come from, oldest first.

    Each with its name, updates, minutes, hours of each corpus, and the teacher (True if it was not said which). Older
    weights lack the names and corpora of runs before their last one.

    Args:
        notes: what ``load_weights`` gives.

    Example:
        >>> lineage({"step": 10, "elapsed": 90.0, "config": {"name": "own"}, "corpora": {"mine": 0.5}})
        [{'name': 'own', 'updates': 10, 'minutes': 1.5, 'teacher': False, 'corpora': {'mine': 0.5}}]
    """
    if "step" not in notes:
        return list(notes.get("earlier", []))
    taught = notes.get("config", {}).get("optim", {}).get("teacher", 0.0) > 0
    teacher = taught and (notes.get("taught_by") or True)
    minutes = round(notes.get("elapsed", 0.0) / 60, 1)
    run = {"name": notes.get("config", {}).get("name", ""), "updates": notes["step"], "minutes": minutes}
    run |= {"teacher": teacher, "corpora": notes.get("corpora", {})}
    return [*notes.get("earlier", []), run]


def load_weights(path: Path) -> tuple[AsrModel, Tokenizer, dict[str, Any]]:
    """Reads a ``.safetensors`` file of this project, or a checkpoint's averaged weights.

    Returns:
        The model in float32 and evaluation mode, its tokeniser, and notes.

    Raises:
        DataError: the file is missing, foreign, or does not fit its own configuration.

    Example:
        >>> model, tokenizer, notes = load_weights(Path("models/en-tiny.safetensors"))  # doctest: +SKIP
    """
    if path.suffix != ".safetensors":
        model, tokenizer, values = load_model(path)
        kept = ("step", "elapsed", "corpora", "config", "earlier", "taught_by")
        notes: dict[str, Any] = {k: values[k] for k in kept if k in values}
        return model, tokenizer, notes
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(f"weights {str(path)!r} cannot be read: {error}") from error
    if header.get("format") != FORMAT:
        raise DataError(f"weights {str(path)!r}: header says format {header.get('format')!r}; allowed: {FORMAT!r}")
    model = AsrModel(ModelConfig.from_dict(json.loads(header["config"])))
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(f"weights {str(path)!r} do not fit their own configuration: {error}") from error
    return model.eval(), Tokenizer(base64.b64decode(header["tokenizer"])), json.loads(header["notes"])
