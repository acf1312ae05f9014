"""The parallel forward: everything at once, all exits, straight from ``docs/architecture.md``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_asr.audio.pcm import Mono
from edge_asr.bundle.schema import BundleSpec
from edge_asr.runtime.engine import Engine

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ReferenceChunk:
    """A chunk at all exits: log-probabilities (exits, n, V) and mean stats (exits, 4)."""

    first_frame: int
    log_probs: Floats
    stats: npt.NDArray[np.float64]


def parallel_forward(spec: BundleSpec, engine: Engine, pcm: Mono, chunk_frames: int | None) -> list[ReferenceChunk]:
    """Runs one utterance; ``chunk_frames`` None is full mode."""
    hop, tail, left = spec.frontend.hop, spec.frontend.overlap, spec.encoder.history
    total = math.ceil(len(pcm) / hop) + spec.encoder.tail_frames
    even = total + total % 2
    padded = np.zeros((1, tail + even * hop), dtype=np.float32)
    padded[0, : len(pcm)] = pcm
    frames = engine.run("frontend", {"pcm": padded})["frames"]
    state = {
        name: np.zeros((1, *shape), dtype=np.int64 if name == "n_past" else np.float32)
        for name, shape in spec.encoder.trunk_state.items()
    }
    trunk = engine.run("segment1", {"frames": frames, "n_valid": np.array([total]), **state})
    chunk, right = (even, 0) if chunk_frames is None else (chunk_frames, spec.encoder.look_ahead)
    result = []
    for start in range(0, total, chunk):
        n_valid = min(chunk, total - start)
        overlap = 0 if chunk_frames is None else spec.encoder.overlap
        first = max(0, start - overlap)
        # Look-ahead runs along as far as the overlap goes, in whole pairs.
        end = min(start + n_valid + min(overlap, right // 2 * 2), total)
        begin, n_run = start - first, end - first
        size = n_run + n_run % 2
        beyond = right - min(overlap, right // 2 * 2)
        window = np.zeros((1, left + size + beyond, 3 * spec.encoder.dim), dtype=np.float32)
        for row in range(window.shape[1]):
            frame = first - left + row
            if 0 <= frame < total:
                window[0, row] = trunk["memory"][0, frame]
        counts = {
            "n_valid": n_run,
            "n_left": min(left, first),
            "n_right": min(beyond, total - end),
        }
        hidden = trunk["hidden"][:, first : first + size]
        log_probs = [trunk["log_probs"][0, start : start + n_valid]]
        stats = [trunk["stats"][0, start : start + n_valid]]
        for exit in range(2, spec.encoder.exits + 1):
            inputs = {"frames": hidden, "window": window} | {name: np.array([n]) for name, n in counts.items()}
            outputs = engine.run(f"segment{exit}", inputs)
            hidden = outputs["hidden"]
            log_probs.append(outputs["log_probs"][0, begin : begin + n_valid])
            stats.append(outputs["stats"][0, begin : begin + n_valid])
        means = np.stack([value.mean(axis=0, dtype=np.float64) for value in stats])
        result.append(ReferenceChunk(start, np.stack(log_probs), means))
    return result
