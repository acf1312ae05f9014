"""Cost of a chunk at each depth, encoder by encoder, on exported graphs, timed in turn in one run.

    python scripts/encoder_costs.py --out COSTS [--rounds 60] [--precision int8] [--init WEIGHTS]

Weights change no time, so they are random. Writes ``costs.json`` and ``costs.md``: ratios to the default encoder at
full depth. The frontend is left out (it is the same for all).
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from edge_asr.errors import EdgeAsrError, OptionError
from edge_asr.model.cache_once import CacheOnceSegment, CacheOnceSplitformer
from edge_asr.model.cached import CachedSegment, CachedSplitformer
from edge_asr.model.config import SIDE, ModelConfig
from edge_asr.model.encoder import TwoSpeedSplitformer
from edge_asr.model.offline import OfflineSplitformer
from edge_asr.model.trunk import Trunk
from edge_asr.training.weights import load_weights
from export.costs import count_macs
from export.graphs import SegmentGraph, TrunkGraph
from export.quantise import quantise
from export.rivals import CachedStep, CacheOnceStep, CatchUp, OfflineStep, export_step

CHUNK = 16  # 640 ms
WHOLE = 376  # frames of the offline encoder's utterance: 15 s


@dataclass(frozen=True, slots=True)
class Part:
    """A graph of an encoder.

    Attributes:
        exit: the exit at whose depth it runs.
        module: to be exported.
        inputs: name → example.
        kind: parts of one kind have the same graph but for the weights, and are exported and timed once.
        chunks: how many chunks one call serves.
    """

    exit: int
    module: nn.Module
    inputs: dict[str, Tensor]
    kind: str
    chunks: float = 1.0


def _count(value: int) -> Tensor:
    return torch.tensor([value])


def _kind(name: str, number: int, config: ModelConfig) -> str:
    """What distinguishes a segment's graph: branch, rate, and feedback, which the last one lacks."""
    return f"{name} {number in config.branches} {number in config.slow} {number == config.exits}"


def trunk_part(trunk: Trunk) -> Part:
    """The trunk on a chunk."""
    frames = torch.randn(1, CHUNK, trunk.config.dim)
    return Part(1, TrunkGraph(trunk), {"frames": frames, "n_valid": _count(CHUNK), **trunk.zero_state(1)}, "trunk")


def window_inputs(config: ModelConfig, ahead: int, overlap: int = 0) -> dict[str, Tensor]:
    """Inputs of a segment that looks at the trunk's memory, full on both sides.

    With ``overlap`` frames on either side that run along, on the right at most as many as it looks ahead.
    """
    after = min(overlap, ahead)
    wide, beyond = overlap + CHUNK + after, ahead - after
    return {
        "frames": torch.randn(1, wide, config.dim),
        "window": torch.randn(1, config.history + wide + beyond, 3 * config.dim),
        "n_valid": _count(wide),
        "n_left": _count(config.history),
        "n_right": _count(beyond),
    }


def cached_inputs(step: CachedStep, ahead: int) -> dict[str, Tensor]:
    """Inputs of a segment with caches of its own, all of them full."""
    caches = {f"cache_{i}": torch.randn_like(t) for i, t in enumerate(step.zero_state(1))}
    frames = torch.randn(1, CHUNK + ahead, step.config.dim)
    return {"frames": frames, "n_valid": _count(CHUNK + ahead), "seen": torch.ones(1, step.config.history), **caches}


def pure(config: ModelConfig, ahead: int, overlap: int = 0) -> list[Part]:
    """(d): the default with an overlap of ``SIDE``."""
    encoder = TwoSpeedSplitformer(config)
    parts = [
        Part(i, SegmentGraph(segment), window_inputs(config, ahead, overlap), _kind("deep", i, config))
        for i, segment in enumerate(encoder.segments(), 2)
    ]
    return [trunk_part(encoder.trunk), *parts]


def cached(config: ModelConfig, ahead: int, *, owed: bool = False) -> list[Part]:
    """(b), (e), (f): caches of their own; with ``owed``, also what (b) computes for one chunk that had left."""
    encoder = CachedSplitformer(config, "propagate")
    parts = [trunk_part(encoder.trunk)]
    for i, segment in enumerate(encoder.deep, 2):
        assert isinstance(segment, CachedSegment)
        step = CachedStep(segment, config, CHUNK)
        parts.append(Part(i, step, cached_inputs(step, ahead), _kind("cached", i, config)))
        if owed:
            parts.append(Part(i, CatchUp(step), cached_inputs(step, ahead), _kind("owed", i, config)))
    return parts


def cache_once(config: ModelConfig, ahead: int) -> list[Part]:
    """(c)."""
    encoder = CacheOnceSplitformer(config)
    parts = [trunk_part(encoder.trunk)]
    for i, segment in enumerate(encoder.deep, 2):
        assert isinstance(segment, CacheOnceSegment)
        step = CacheOnceStep(segment, config, CHUNK)
        states = {f"cache_{j}": torch.randn_like(t) for j, t in enumerate(step.zero_state(1))}
        parts.append(Part(i, step, {**window_inputs(config, ahead), **states}, _kind("once", i, config)))
    return parts


def offline(config: ModelConfig) -> list[Part]:
    """(a), on an utterance of 15 s."""
    encoder = OfflineSplitformer(config)
    inputs = {"frames": torch.randn(1, WHOLE, config.dim), "n_valid": _count(WHOLE)}
    parts = []
    for i, segment in enumerate(encoder.segments, 1):
        assert isinstance(segment, CachedSegment)
        parts.append(Part(i, OfflineStep(segment), dict(inputs), _kind("offline", i, config), WHOLE / CHUNK))
    return parts


def cases(config: ModelConfig) -> dict[str, Callable[[], list[Part]]]:
    """What is compared, the default first."""
    return {
        "(d) pure segments, overlap 8, look-ahead 8": lambda: pure(config, 8, SIDE),
        "(d) no overlap, look-ahead 8": lambda: pure(config, 8),
        "(d) no overlap, look-ahead 0": lambda: pure(config, 0),
        "(d) no overlap, look-ahead 16": lambda: pure(config, 16),
        "(d) segments 3 to 5 on 80 ms frames": lambda: pure(replace(config, slow=(3, 4, 5)), 8, SIDE),
        "(d) no 2x branches": lambda: pure(replace(config, branches=()), 8, SIDE),
        "(c) cache once, look-ahead 8": lambda: cache_once(config, 8),
        "(b, e, f) own caches, look-ahead 8": lambda: cached(config, 8),
        "(b, e, f) own caches, look-ahead 0": lambda: cached(config, 0),
        "(b) own caches, one chunk caught up with": lambda: cached(config, 8, owed=True),
        "(a) offline Splitformer, 15 s at once": lambda: offline(config),
    }


class Timed:
    """An encoder's graphs, ready to run, and the seconds they took."""

    def __init__(self, parts: list[Part], folder: Path, precision: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.parts = parts
        self.macs: dict[str, float] = {}
        self.calls: dict[str, tuple[onnxruntime.InferenceSession, dict[str, Any]]] = {}
        for part in parts:
            if part.kind in self.calls:
                continue
            path = folder / f"{part.kind}.onnx"
            export_step(path, part.module, part.inputs)
            shapes = {name: tuple(t.shape) for name, t in part.inputs.items()}
            self.macs[part.kind] = count_macs(path, shapes).total / part.chunks
            if precision == "int8":
                quantise(path, folder / f"{part.kind}.int8.onnx")
                path = folder / f"{part.kind}.int8.onnx"
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            wanted = {value.name for value in session.get_inputs()}  # what a graph doesn't use is gone from it
            feeds = {name: t.numpy() for name, t in part.inputs.items() if name in wanted}
            self.calls[part.kind] = (session, feeds)
        self.seconds: dict[str, list[float]] = {kind: [] for kind in self.calls}

    def run(self) -> None:
        """Each graph once."""
        for kind, (session, feeds) in self.calls.items():
            start = time.perf_counter()
            session.run(None, feeds)
            self.seconds[kind].append(time.perf_counter() - start)

    def medians(self) -> dict[str, float]:
        """Median seconds a chunk of each kind of graph, without the first three calls."""
        chunks = {part.kind: part.chunks for part in self.parts}
        return {kind: statistics.median(s[3:]) / chunks[kind] for kind, s in self.seconds.items()}

    def per_exit(self, values: dict[str, float]) -> list[float]:
        """Sums of the parts' values up to each exit."""
        last = max(part.exit for part in self.parts)
        return [sum(values[part.kind] for part in self.parts if part.exit <= e) for e in range(1, last + 1)]


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    exits = len(next(iter(rows.values()))["time"])
    lines = [
        "| encoder | " + " | ".join(f"exit {i}" for i in range(1, exits + 1)) + " | MMAC a chunk, full depth |",
        "| --- |" + " --- |" * (exits + 1),
    ]
    for name, row in rows.items():
        times = " | ".join(f"{value:.2f}" for value in row["time"])
        lines.append(f"| {name} | {times} | {row['macs'][-1] / 1e6:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="weights whose sizes are taken (default: en-tiny's)")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--precision", choices=["int8", "float32"], default="int8")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    console = Console(stderr=True)
    torch.manual_seed(0)
    try:
        if args.rounds < 3:
            raise OptionError(f"--rounds is {args.rounds}; allowed: 3 or more")
        config = load_weights(args.init)[0].config if args.init else ModelConfig()
        timed = {}
        for i, (name, build) in enumerate(track(cases(config).items(), "exporting", console=console)):
            timed[name] = Timed(build(), args.out / "graphs" / str(i), args.precision)
        order, rng = list(timed.values()), random.Random(0)
        for _ in track(range(args.rounds + 3), "timing in turn", console=console):
            rng.shuffle(order)
            for one in order:
                one.run()
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    default = next(iter(timed.values()))
    unit = default.per_exit(default.medians())[-1]
    rows = {
        name: {"time": [t / unit for t in one.per_exit(one.medians())], "macs": one.per_exit(one.macs)}
        for name, one in timed.items()
    }
    about = {
        "precision": args.precision, "rounds": args.rounds, "chunk_frames": CHUNK, "threads": 1,
        "onnxruntime": onnxruntime.__version__, "machine": platform.machine(),
    }  # fmt: skip
    (args.out / "costs.json").write_text(json.dumps(about | {"unit": next(iter(timed)), "encoders": rows}, indent=1))
    (args.out / "costs.md").write_text(table(rows))
    print(table(rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
