"""The bundle on disk: graphs, tokens, ``bundle.json`` and the model card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import edge_asr
from edge_asr.errors import DataError
from edge_asr.model.config import SIDE
from edge_asr.model.frontend import HOP, OVERLAP
from edge_asr.model.logmel import SAMPLE_RATE
from edge_asr.model.model import AsrModel, two_speed
from edge_asr.training.phones import TABLE
from edge_asr.training.tokenizer import Tokenizer
from export.costs import Cost, count_macs
from export.graphs import DEEP_INPUTS, export_frontend, export_segments, trunk_inputs
from export.quantise import precisions, quantise

FULL_FRAMES = 250  # ten seconds stand for "full" when costs are counted


@dataclass(frozen=True, slots=True)
class BundleOptions:
    """What the weights don't say.

    Attributes:
        name: the model's name.
        language: BCP 47 tag.
        chunks: allowed chunk sizes in frames.
        chunk: the default one.
        look_ahead: R in frames.
        overlap: frames on either side of a chunk that deeper segments compute along with it.
        step: frames the trunk takes at a time.
        tail: frames of silence computed after the end.
        full_max: longest piece of ``full`` mode in frames.
    """

    name: str
    language: str = "en"
    chunks: tuple[int, ...] = (8, 16, 32)
    chunk: int = 16
    look_ahead: int = 8
    overlap: int = SIDE
    step: int = 8
    tail: int = 8
    full_max: int = 750


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_graphs(model: AsrModel, tokenizer: Tokenizer, out: Path, say: Callable[[str], None]) -> None:
    """Writes tokens, phones where the model has them, and graphs, float32 and int8."""
    (out / "tokens.txt").write_text("\n".join(tokenizer.pieces()) + "\n", encoding="utf-8")
    if model.config.phones:
        if model.config.phones != len(TABLE):
            raise DataError(f"the model's exits give {model.config.phones} phones; allowed: {len(TABLE)}, or none")
        (out / "phones.txt").write_text("\n".join(TABLE) + "\n", encoding="utf-8")
    say("frontend")
    export_frontend(model, out / "frontend.onnx")
    say(f"{model.config.exits} segments, float32")
    for path in export_segments(two_speed(model), out / "float32"):
        say(f"{path.stem}, int8")
        quantise(path, out / "int8" / path.name)
        left = precisions(out / "int8" / path.name)["float32"]
        if left:
            raise DataError(f"graph int8/{path.name}: {left} matrix products with a constant matrix are still float32")


def _costs(model: AsrModel, out: Path, step: int, frames: int, look_ahead: int) -> list[Cost]:
    """Work of frontend and trunk for ``step`` frames, and of each deep segment for one call of ``frames``."""
    c, trunk = model.config, two_speed(model).trunk
    state = {name: (1, *shape) for name, shape in trunk.state_shapes().items()}
    sizes: dict[str, tuple[int, ...]] = {"frames": (1, step, c.dim), "n_valid": (1,), **state}
    assert list(sizes) == trunk_inputs(trunk)
    deep: dict[str, tuple[int, ...]] = {
        "frames": (1, frames, c.dim),
        "window": (1, c.history + frames + look_ahead, 3 * c.dim),
    }
    deep |= dict.fromkeys(DEEP_INPUTS[2:], (1,))
    paths = [out / "float32" / f"segment{i}.onnx" for i in range(1, c.exits + 1)]
    return [
        count_macs(out / "frontend.onnx", {"pcm": (1, HOP * step + OVERLAP)}),
        count_macs(paths[0], sizes),
        *(count_macs(path, deep) for path in paths[1:]),
    ]


def count_exits(model: AsrModel, out: Path, options: BundleOptions) -> tuple[list[dict[str, Any]], float]:
    """Cumulative parameters and work per exit, and the int8 share of the encoder's work at the default chunk."""
    frame = HOP / SAMPLE_RATE
    encoder = two_speed(model)
    modules = [encoder.trunk, *encoder.deep]
    params = [sum(p.numel() for p in module.parameters()) for module in modules]
    params[0] += sum(p.numel() for p in model.frontend.parameters())
    exits: list[dict[str, Any]] = [
        {"exit": i + 1, "params": sum(params[: i + 1]), "macs_per_second": {}} for i in range(len(modules))
    ]
    share = 0.0
    right = min(options.overlap, options.look_ahead)
    beyond = options.look_ahead - right
    cases = [
        (str(round(c * frame * 1000)), options.step, c, options.overlap + c + right, beyond) for c in options.chunks
    ]
    for name, step, chunk, run, ahead in [*cases, ("full", FULL_FRAMES, FULL_FRAMES, FULL_FRAMES, 0)]:
        costs = _costs(model, out, step, run, ahead)
        rates = [c.total / (step * frame) for c in costs[:2]] + [c.total / (chunk * frame) for c in costs[2:]]
        for i, entry in enumerate(exits):
            entry["macs_per_second"][name] = round(sum(rates[: i + 2]))
        if chunk == options.chunk:
            share = sum(c.constant for c in costs[1:]) / sum(c.total for c in costs[1:])
    return exits, share


def write_manifest(
    model: AsrModel, out: Path, options: BundleOptions, exits: list[dict[str, Any]], metrics: dict[str, Any]
) -> None:
    """Writes ``bundle.json``, last of all, with a checksum for each file."""
    c = model.config
    files = sorted(
        p for p in out.rglob("*") if p.is_file() and p.name not in ("bundle.json", "policy.json", "README.md")
    )
    names = [f"segment{i}.onnx" for i in range(1, c.exits + 1)]
    segments = {p: [f"{p}/{name}" for name in names] for p in ("int8", "float32") if (out / p).is_dir()}
    manifest = {
        "format": "edge-asr-bundle",
        "version": 1,
        "name": options.name,
        "language": options.language,
        "producer": f"edge-asr {edge_asr.__version__}",
        "created": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sample_rate": SAMPLE_RATE,
        "frontend": {"file": "frontend.onnx", "hop": HOP, "overlap": OVERLAP},
        "encoder": {
            "architecture": c.architecture,
            "dim": c.dim,
            "exits": c.exits,
            "history": c.history,
            "look_ahead": options.look_ahead,
            "overlap": options.overlap,
            "step_frames": options.step,
            "tail_frames": options.tail,
            "trunk_state": two_speed(model).trunk.state_shapes(),
        },
        "chunks": {
            "default": options.chunk,
            "allowed": list(options.chunks),
            "full_max_frames": options.full_max,
        },
        "tokens": {"file": "tokens.txt", "size": c.vocabulary, "blank": 0},
        **({"phones": {"file": "phones.txt", "size": c.phones, "blank": 0}} if c.phones else {}),
        "segments": segments,
        "default_precision": "int8" if "int8" in segments else "float32",
        "exits": exits,
        "files": {p.relative_to(out).as_posix(): {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in files},
        "metrics": metrics,
    }
    (out / "bundle.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
