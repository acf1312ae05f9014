"""A rival between the two: attention looks at the trunk's memory, the convolution keeps a causal state of its own.

As in decoder-decoder models that cache once (YOCO, arXiv 2405.05254): keys and values of the past come from
one place and are never stale. The convolution's state does belong to each layer; a chunk that left early passes its
hidden state on unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_asr.model.base import Encoder
from edge_asr.model.cached import Blocks
from edge_asr.model.config import ModelConfig
from edge_asr.model.layers import ExitHead, double, halve
from edge_asr.model.segment import View, WindowLayer, look_around
from edge_asr.model.trunk import Trunk


class CacheOnceLayer(WindowLayer):
    """A layer of a pure segment, but for its convolution, which is causal over the layer's own frames."""

    def run(self, x: Tensor, view: View, blocks: Blocks) -> Tensor:
        """(B · N, C, d) → the same shape."""
        keep = blocks.keep.flatten(0, 1)[..., None].to(x.dtype)
        x = x + 0.5 * self.half1(x)
        x = x + self.attend(x, view)
        halo = self.convolution.kernel - 1
        normed = self.convolution.norm(x) * keep
        x = x + self.convolution(torch.cat([blocks.before(normed, halo), normed], dim=1))
        x = x + 0.5 * self.half2(x)
        out: Tensor = self.norm(x)
        return out


class CacheOnceSegment(nn.Module):
    """Layers, an optional parallel 2x branch, and an exit."""

    def __init__(self, config: ModelConfig, number: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CacheOnceLayer(config) for _ in range(config.layers))
        self.branch = CacheOnceLayer(config) if number in config.branches else None
        self.exit = ExitHead(config.dim, config.vocabulary, config.feedback and number < config.exits, config.phones)

    def run(
        self, hidden: Tensor, view: View, pairs: View | None, blocks: Blocks, active: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Runs on the active blocks; the others' frames pass unchanged."""
        on = active[:, None, None]
        x = hidden
        for layer in self.layers:
            assert isinstance(layer, CacheOnceLayer)
            x = torch.where(on, layer.run(x, view, blocks), x)
        if self.branch is not None and pairs is not None:
            keep = blocks.keep.flatten(0, 1)[..., None].to(x.dtype)
            x = torch.where(on, x + double(self.branch.run(halve(hidden * keep), pairs, blocks.halved())), x)
        following, log_probs = self.exit(x)
        return torch.where(on, following, hidden), log_probs


class CacheOnceSplitformer(Encoder):
    """The same trunk and memory; only the convolution's state can differ after an early exit.

    Example:
        >>> encoder = CacheOnceSplitformer(ModelConfig())
        >>> encoder(torch.zeros(2, 40, 144), torch.tensor([40, 31]), chunk=16, look_ahead=8).shape
        torch.Size([6, 2, 40, 128])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)
        self.deep = nn.ModuleList(CacheOnceSegment(config, number) for number in range(2, config.exits + 1))

    def every_exit(
        self, frames: Tensor, lengths: Tensor, exits: Tensor | None, chunk: int | None, look_ahead: int, depth: int
    ) -> Tensor:
        """See ``Encoder.every_exit``."""
        batch, time, _ = frames.shape
        size = (time + time % 2) if chunk is None else chunk
        count, ahead, history = -(-time // size), 0 if chunk is None else look_ahead, self.config.history
        frames = F.pad(frames, (0, 0, 0, count * size - time))
        hidden, memory, log_probs, _ = self.trunk(frames, lengths, self.trunk.zero_state(batch, frames))
        outputs = [log_probs[:, :time]]
        self._tap(1, hidden, batch, time)
        start = torch.arange(count, device=frames.device)[None] * size
        x = hidden.reshape(batch * count, size, -1)
        windows = F.pad(memory, (0, 0, history, ahead)).unfold(1, history + size + ahead, size)
        window = windows.flatten(0, 1).transpose(1, 2)
        keep = torch.arange(size, device=frames.device) < (lengths[:, None] - start)[..., None]
        n_left = start.clamp(max=history).expand(batch, count).flatten()
        n_right = (lengths[:, None] - start - size).clamp(0, ahead).flatten()
        blocks = Blocks(batch, size, history, keep, keep)
        segments = list(self.deep)[: depth - 1]
        branched = any(isinstance(s, CacheOnceSegment) and s.branch is not None for s in segments)
        mask = keep.flatten(0, 1)[..., None].to(x.dtype)
        view, pairs = look_around(self.config, branched, window, mask, n_left, n_right)
        for number, segment in enumerate(segments, 2):
            assert isinstance(segment, CacheOnceSegment)
            active = keep[..., 0] if exits is None else (exits >= number) & keep[..., 0]
            x, log_probs = segment.run(x, view, pairs, blocks, active.flatten())
            outputs.append(log_probs.reshape(batch, count * size, -1)[:, :time])
            self._tap(number, x, batch, time)
        return torch.stack(outputs)
