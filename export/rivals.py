"""Graphs of the rival encoders, one call a chunk: what a runtime would run if it were built on them.

No bundle holds them. They are there to be timed beside the segments that bundles do hold
(``scripts/encoder_costs.py``), and use the layers of training: only where a layer finds the frames before a chunk
differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from edge_asr.model.cache_once import CacheOnceSegment
from edge_asr.model.cached import Blocks, CachedLayer, CachedSegment
from edge_asr.model.config import ModelConfig
from edge_asr.model.layers import exit_stats, halve, valid_mask
from edge_asr.model.segment import look_around
from export.graphs import save_graph

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class OneBlock(Blocks):
    """One chunk of each stream, and what its caches hold from the calls before.

    Attributes:
        past: what ``before`` is asked for, in the order in which the layers ask.
        following: the same after this chunk; filled as the layers ask.
        seen_past: (B, L) bool, which of the frames before count.
    """

    past: list[Tensor] = field(default_factory=list)
    following: list[Tensor] = field(default_factory=list)
    seen_past: Tensor = field(default_factory=lambda: torch.zeros(1, 0, dtype=torch.bool))

    def before(self, x: Tensor, frames: int) -> Tensor:
        """See ``Blocks.before``: the next of the caches, which moves on by this chunk."""
        held = self.past.pop(0)
        both = torch.cat([held, x[:, : self.chunk]], dim=1)
        self.following.append(both[:, both.shape[1] - frames :])
        return held

    def seen(self, frames: int) -> Tensor:
        """See ``Blocks.seen``."""
        return self.seen_past[:, self.seen_past.shape[1] - frames :]

    def halved(self) -> OneBlock:
        """See ``Blocks.halved``; the caches go on in the same order."""
        return OneBlock(
            self.batch,
            self.chunk // 2,
            self.history // 2,
            self.keep[..., 0::2],
            self.cached[..., 0::2],
            self.past,
            self.following,
            self.seen_past[:, 0::2],
        )


class CachedStep(nn.Module):
    """A segment with caches of its own on one chunk: (b), (e) and (f) differ only in what the host puts in the caches.

    Args:
        segment: from a ``CachedSplitformer``.
        config: its sizes.
        chunk: frames a chunk.

    Example:
        >>> config = ModelConfig(architecture="splitformer-stale")
        >>> step = CachedStep(CachedSegment(config, 2), config, chunk=16)
        >>> out = step(torch.zeros(1, 24, 144), torch.tensor([24]), torch.zeros(1, 64), *step.zero_state(1))
        >>> out[0].shape, len(out)
        (torch.Size([1, 24, 144]), 9)
    """

    def __init__(self, segment: CachedSegment, config: ModelConfig, chunk: int) -> None:
        super().__init__()
        self.segment, self.config, self.chunk = segment, config, chunk

    def zero_state(self, batch: int) -> list[Tensor]:
        """Empty caches: keys, values and convolution inputs of each layer, then of the branch."""
        c, halo = self.config, self.config.kernel // 2
        layers = [shape for _ in self.segment.layers for shape in (c.history, c.history, halo)]
        branch = [] if self.segment.branch is None else [c.history // 2, c.history // 2, halo]
        return [torch.zeros(batch, frames, c.dim) for frames in layers + branch]

    def forward(self, frames: Tensor, n_valid: Tensor, seen: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """Runs on one chunk and its look-ahead.

        Args:
            frames: (B, C + R, d).
            n_valid: (B) int64, real ones of them.
            seen: (B, L), above 0.5 where a cached frame counts.
            caches: as ``zero_state`` gives them.

        Returns:
            hidden (B, C + R, d), log_probs (B, C, V), stats (B, C, 4), and the caches that follow.
        """
        keep = valid_mask(n_valid, frames.shape[1])[:, None]
        following: list[Tensor] = []
        blocks = OneBlock(
            frames.shape[0], self.chunk, self.config.history, keep, keep, list(caches), following, seen > 0.5
        )
        active = torch.ones(frames.shape[0], dtype=torch.bool, device=frames.device)
        hidden, log_probs = self.segment.run(frames, blocks, active)
        log_probs = log_probs[:, : self.chunk]
        return hidden, log_probs, exit_stats(log_probs), *following


class CatchUp(nn.Module):
    """What (b) owes for a chunk that left early, when a segment next runs: the caches that its hidden state gives.

    The stream passes unchanged, so each layer computes keys and values (after its first feed-forward module) and the
    convolution's inputs (after its attention), and nothing else.

    Args:
        step: the segment's step.
    """

    def __init__(self, step: CachedStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, frames: Tensor, n_valid: Tensor, seen: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """Inputs as ``CachedStep.forward`` has them → the caches that follow."""
        segment, keep = self.step.segment, valid_mask(n_valid, frames.shape[1])[:, None]
        following: list[Tensor] = []
        history = self.step.config.history
        blocks = OneBlock(frames.shape[0], self.step.chunk, history, keep, keep, list(caches), following, seen > 0.5)
        for layer in segment.layers:
            assert isinstance(layer, CachedLayer)
            layer.run(frames, blocks)
        if segment.branch is not None:
            segment.branch.run(halve(frames * keep[:, 0, :, None]), blocks.halved())
        return tuple(following)


class CacheOnceStep(nn.Module):
    """A segment that looks at the trunk's memory and keeps a causal convolution's state: (c), on one chunk.

    Args:
        segment: from a ``CacheOnceSplitformer``.
        config: its sizes.
        chunk: frames a chunk.
    """

    def __init__(self, segment: CacheOnceSegment, config: ModelConfig, chunk: int) -> None:
        super().__init__()
        self.segment, self.config, self.chunk = segment, config, chunk

    def zero_state(self, batch: int) -> list[Tensor]:
        """Empty convolution states of each layer, then of the branch."""
        count = len(self.segment.layers) + (self.segment.branch is not None)
        return [torch.zeros(batch, self.config.kernel - 1, self.config.dim) for _ in range(count)]

    def forward(
        self, frames: Tensor, window: Tensor, n_valid: Tensor, n_left: Tensor, n_right: Tensor, *caches: Tensor
    ) -> tuple[Tensor, ...]:
        """Runs on one chunk: inputs as ``DeepSegment.forward`` has them, then the states.

        Returns:
            hidden (B, C, d), log_probs (B, C, V), stats (B, C, 4), and the states that follow.
        """
        keep = valid_mask(n_valid, frames.shape[1])
        mask = keep[..., None].to(frames.dtype)
        view, pairs = look_around(self.config, self.segment.branch is not None, window, mask, n_left, n_right)
        following: list[Tensor] = []
        blocks = OneBlock(
            frames.shape[0], self.chunk, 0, keep[:, None], keep[:, None], list(caches), following, keep[:, :0]
        )
        active = torch.ones(frames.shape[0], dtype=torch.bool, device=frames.device)
        hidden, log_probs = self.segment.run(frames, view, pairs, blocks, active)
        return hidden, log_probs, exit_stats(log_probs), *following


class OfflineStep(nn.Module):
    """A segment of an offline encoder on a whole utterance: (a).

    Args:
        segment: from an ``OfflineSplitformer``.
    """

    def __init__(self, segment: CachedSegment) -> None:
        super().__init__()
        self.segment = segment

    def forward(self, frames: Tensor, n_valid: Tensor) -> tuple[Tensor, ...]:
        """(B, T, d) with T even, (B) int64 → hidden (B, T, d), log_probs (B, T, V), stats (B, T, 4)."""
        batch, time, _ = frames.shape
        keep = valid_mask(n_valid, time)[:, None]
        active = torch.ones(batch, dtype=torch.bool, device=frames.device)
        hidden, log_probs = self.segment.run(frames, Blocks(batch, time, 0, keep, keep), active)
        return hidden, log_probs, exit_stats(log_probs)


def export_step(path: Path, step: nn.Module, inputs: dict[str, Tensor]) -> None:
    """Writes a step as a graph of fixed shapes.

    Args:
        path: the graph.
        step: one of the above.
        inputs: name → an input of the shape that it will have, in order; states last, with any names.
    """
    with torch.inference_mode():
        outputs = [f"output_{i}" for i in range(len(step(*inputs.values())))]
    save_graph(path, step, tuple(inputs.values()), list(inputs), outputs, None)
