"""What runtime tests share besides fixtures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edge_asr.audio.pcm import Mono
from edge_asr.bundle.bundle import Bundle
from edge_asr.exits.stats import ChunkInfo, ExitStats
from edge_asr.exits.view import ExitView
from edge_asr.runtime.engine import Array, Engine


@dataclass(frozen=True)
class Setup:
    """A loaded bundle and its engine."""

    bundle: Bundle
    engine: Engine


def noise(samples: int, seed: int = 0, level: float = 0.2) -> Mono:
    """Reproducible noise."""
    return np.random.default_rng(seed).uniform(-level, level, samples).astype(np.float32)


@dataclass
class PatternPolicy:
    """Leaves chunk k at ``exits[k]``, over and over; keeps what it was asked."""

    exits: list[int]
    asked: list[tuple[int, ExitStats, ChunkInfo]] = field(default_factory=list)

    def stop(self, view: ExitView, chunk: ChunkInfo) -> bool:
        self.asked.append((view.exit, view.stats, chunk))
        return view.exit >= self.exits[chunk.index % len(self.exits)]


@dataclass
class RecordingEngine:
    """Passes calls on, and keeps the graphs' names and the inputs' shapes."""

    engine: Engine
    calls: list[tuple[str, dict[str, tuple[int, ...]]]] = field(default_factory=list)

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.calls.append((graph, {name: value.shape for name, value in inputs.items()}))
        return self.engine.run(graph, inputs)
