"""Rivals of the pure segments: deeper segments with caches of their own, and three answers to a chunk that left.

A conventional streaming encoder keeps, for each layer, the keys, values and convolution inputs of the frames before.
When a chunk leaves at an early exit, deeper layers never see it. What then stands in their caches?

- ``propagate``: the chunk's hidden state at its exit is passed on unchanged; keys and values are computed from it when
  the segment next runs (as CALM does for language models, arXiv 2207.07061).
- ``absent``: nothing; attention and convolution find a gap.
- ``stale``: the frames of the last chunk that did go deep, as if they had just been heard: what a runtime does that
  knows nothing of exits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_asr.model.base import Encoder
from edge_asr.model.config import ModelConfig
from edge_asr.model.layers import MASKED, ExitHead, double, halve, places, rotary, rotate
from edge_asr.model.segment import WindowLayer
from edge_asr.model.trunk import Trunk


@dataclass(frozen=True, slots=True)
class Blocks:
    """Chunks of a batch, in the order in which a segment sees them.

    Attributes:
        batch: utterances B.
        chunk: frames C of a chunk; a block holds C frames and then R look-ahead frames that are computed anew later.
        history: frames L of the caches.
        keep: (B, N, C + R) bool, real frames.
        cached: (B, N, C) bool, frames that stand in the caches.
    """

    batch: int
    chunk: int
    history: int
    keep: Tensor
    cached: Tensor

    def before(self, x: Tensor, frames: int) -> Tensor:
        """What the caches hold of (B · N, C + R, F) when each block comes: (B · N, frames, F)."""
        main = x[:, : self.chunk].reshape(self.batch, -1, x.shape[-1])
        windows = F.pad(main, (0, 0, frames, 0)).unfold(1, frames, self.chunk)[:, : self.keep.shape[1]]
        return windows.flatten(0, 1).transpose(1, 2)

    def seen(self, frames: int) -> Tensor:
        """Which of them count: (B · N, frames) bool."""
        return self.before(self.cached.flatten(0, 1)[..., None].float(), frames)[..., 0] > 0.5

    def halved(self) -> Blocks:
        """The same at half the frame rate; a pair counts where its first frame does."""
        return Blocks(self.batch, self.chunk // 2, self.history // 2, self.keep[..., 0::2], self.cached[..., 0::2])


class CachedLayer(WindowLayer):
    """A Conformer layer with caches of its own; same parameters as a layer of a pure segment."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.kernel = config.kernel

    def run(self, x: Tensor, blocks: Blocks) -> Tensor:
        """(B · N, C + R, d) → the same shape."""
        keep = blocks.keep.flatten(0, 1)[..., None].to(x.dtype)
        seen = blocks.seen(blocks.history)
        x = x + 0.5 * self.half1(x)
        q, k, v = self.attention.project(x)
        split = self.attention.split
        rope = rotary(places(blocks.history + x.shape[1], x), self.attention.head_dim)
        own = rope[0][blocks.history :], rope[1][blocks.history :]
        keys = rotate(split(torch.cat([blocks.before(k, blocks.history), k], dim=1)), rope)
        values = split(torch.cat([blocks.before(v, blocks.history), v], dim=1))
        mask = torch.where(torch.cat([seen, keep[..., 0] > 0], dim=1), 0.0, MASKED)[:, None, None]
        x = x + self.attention(rotate(split(q), own), keys, values, mask)
        halo = self.kernel // 2
        normed = self.convolution.norm(x) * keep
        before = blocks.before(normed, halo) * blocks.seen(halo)[..., None]
        x = x + self.convolution(F.pad(torch.cat([before, normed], dim=1), (0, 0, 0, halo)))
        x = x + 0.5 * self.half2(x)
        out: Tensor = self.norm(x)
        return out


class CachedSegment(nn.Module):
    """Layers with their own caches, an optional parallel 2x branch, and an exit."""

    def __init__(self, config: ModelConfig, number: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CachedLayer(config) for _ in range(config.layers))
        self.branch = CachedLayer(config) if number in config.branches else None
        self.exit = ExitHead(config.dim, config.vocabulary, config.feedback and number < config.exits, config.phones)

    def run(self, hidden: Tensor, blocks: Blocks, active: Tensor) -> tuple[Tensor, Tensor]:
        """Runs on the active blocks; the others' frames pass unchanged, layer by layer.

        Args:
            hidden: (B · N, C + R, d).
            blocks: where they stand.
            active: (B · N) bool.

        Returns:
            hidden (B · N, C + R, d), log_probs (B · N, C + R, V + P).
        """
        on = active[:, None, None]
        x = hidden
        for layer in self.layers:
            assert isinstance(layer, CachedLayer)
            x = torch.where(on, layer.run(x, blocks), x)
        if self.branch is not None:
            keep = blocks.keep.flatten(0, 1)[..., None].to(x.dtype)
            x = torch.where(on, x + double(self.branch.run(halve(hidden * keep), blocks.halved())), x)
        x_next, log_probs = self.exit(x)
        return torch.where(on, x_next, hidden), log_probs


class CachedSplitformer(Encoder):
    """The same trunk, deeper segments with caches of their own; ``skip`` says what an early exit leaves behind.

    Look-ahead is computed twice, as a conventional streaming encoder does: as look-ahead, and as part of its chunk.

    Example:
        >>> encoder = CachedSplitformer(ModelConfig(), "stale")
        >>> frames, lengths = torch.zeros(2, 40, 144), torch.tensor([40, 31])
        >>> encoder.spliced(frames, lengths, torch.tensor([[1, 6, 2], [6, 6, 0]]), chunk=16, look_ahead=8).shape
        torch.Size([2, 40, 128])
    """

    def __init__(self, config: ModelConfig, skip: str) -> None:
        super().__init__()
        self.config, self.skip = config, skip
        self.trunk = Trunk(config)
        self.deep = nn.ModuleList(CachedSegment(config, number) for number in range(2, config.exits + 1))

    def every_exit(
        self, frames: Tensor, lengths: Tensor, exits: Tensor | None, chunk: int | None, look_ahead: int, depth: int
    ) -> Tensor:
        """See ``Encoder.every_exit``."""
        batch, time, _ = frames.shape
        size = (time + time % 2) if chunk is None else chunk
        count, ahead = -(-time // size), 0 if chunk is None else look_ahead
        frames = F.pad(frames, (0, 0, 0, count * size - time))
        hidden, _, log_probs, _ = self.trunk(frames, lengths, self.trunk.zero_state(batch, frames))
        outputs = [log_probs[:, :time]]
        self._tap(1, hidden, batch, time)
        start = torch.arange(count, device=frames.device)[None] * size
        x = F.pad(hidden, (0, 0, 0, ahead)).unfold(1, size + ahead, size).transpose(2, 3).flatten(0, 1)
        place = torch.arange(size + ahead, device=frames.device)
        keep = place < (lengths[:, None] - start)[..., None]
        for number, segment in enumerate(list(self.deep)[: depth - 1], 2):
            assert isinstance(segment, CachedSegment)
            active = keep[..., 0] if exits is None else (exits >= number) & keep[..., 0]
            cached = keep[..., :size]
            if self.skip != "propagate":
                cached = cached & active[..., None]
            if self.skip == "stale" and exits is not None:
                order = torch.argsort((~active).to(torch.int8), dim=1, stable=True)
                x, log_probs = self._compressed(segment, x, order, keep, cached, active, size)
            else:
                blocks = Blocks(batch, size, self.config.history, keep, cached)
                x, log_probs = segment.run(x, blocks, active.flatten())
            outputs.append(log_probs[:, :size].reshape(batch, count * size, -1)[:, :time])
            self._tap(number, x[:, :size], batch, time)
        return torch.stack(outputs)

    def _compressed(
        self, segment: CachedSegment, x: Tensor, order: Tensor, keep: Tensor, cached: Tensor, active: Tensor, size: int
    ) -> tuple[Tensor, Tensor]:
        """Runs a segment on its active chunks as if they followed each other, and puts the results back."""
        batch, count = order.shape
        row = torch.arange(batch, device=x.device)[:, None]
        back = torch.argsort(order, dim=1)

        def reorder(values: Tensor, by: Tensor) -> Tensor:
            return values.reshape(batch, count, *values.shape[1:])[row, by].flatten(0, 1)

        blocks = Blocks(batch, size, self.config.history, keep[row, order], cached[row, order])
        y, log_probs = segment.run(reorder(x, order), blocks, active[row, order].flatten())
        return reorder(y, back), reorder(log_probs, back)
