"""The two-speed encoder with its memory written one segment later: two segments stream, four are pure."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_asr.model.base import Encoder
from edge_asr.model.config import ModelConfig
from edge_asr.model.encoder import deep_exits
from edge_asr.model.segment import DeepSegment
from edge_asr.model.trunk import Trunk


class LateCacheSplitformer(Encoder):
    """As ``TwoSpeedSplitformer``, but segment 2 belongs to the trunk: causal, always run, and the memory is ``h2``.

    For comparison: the memory knows more, and a larger share of the work cannot be saved.

    Example:
        >>> encoder = LateCacheSplitformer(ModelConfig())
        >>> encoder(torch.zeros(2, 40, 144), torch.tensor([40, 31]), chunk=16, look_ahead=8).shape
        torch.Size([6, 2, 40, 128])
    """

    pure = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config, memory=False)
        self.second = Trunk(replace(config, branches=(1,) if 2 in config.branches else ()))
        self.deep = nn.ModuleList(DeepSegment(config, number) for number in range(3, config.exits + 1))

    def every_exit(
        self, frames: Tensor, lengths: Tensor, exits: Tensor | None, chunk: int | None, look_ahead: int, depth: int
    ) -> Tensor:
        """See ``Encoder.every_exit``: no chunk's result depends on where others left."""
        batch, time, _ = frames.shape
        size = (time + time % 2) if chunk is None else chunk
        frames = F.pad(frames, (0, 0, 0, -time % size))
        hidden, _, first, _ = self.trunk(frames, lengths, self.trunk.zero_state(batch, frames))
        outputs = [first]
        self._tap(1, hidden, batch, time)
        if depth > 1:
            hidden, memory, second, _ = self.second(hidden, lengths, self.second.zero_state(batch, hidden))
            segments = [segment for segment in self.deep if isinstance(segment, DeepSegment)][: depth - 2]
            ahead = 0 if chunk is None else look_ahead
            self._tap(2, hidden, batch, time)
            overlap = 0 if chunk is None else self.config.overlap
            tapped = self._taps is not None
            deep = deep_exits(segments, hidden, memory, lengths, size, ahead, overlap=overlap, streams=tapped)
            outputs += [second, *(log_probs for _, log_probs in deep)]
            if self._taps is not None:
                for number, (x, _) in enumerate(deep, 3):
                    self._tap(number, x, batch, time)
        return torch.stack([log_probs[:, :time] for log_probs in outputs])
