"""The papers' offline encoders: early-exit Conformer (arXiv 2309.09546) and Splitformer (arXiv 2506.18035).

Every layer sees the whole utterance, both ways. Two things differ from the papers so that encoders can
be compared on equal terms: the order of the convolution module (depthwise first, LayerNorm, see ``layers.Convolution``)
and rotary positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_asr.errors import OptionError
from edge_asr.model.base import Encoder
from edge_asr.model.cached import Blocks, CachedSegment
from edge_asr.model.config import ModelConfig


class OfflineSplitformer(Encoder):
    """Six exits on full context; ``branches=()`` makes it the early-exit Conformer.

    Example:
        >>> encoder = OfflineSplitformer(ModelConfig())
        >>> encoder(torch.zeros(2, 40, 144), torch.tensor([40, 31]), chunk=None).shape
        torch.Size([6, 2, 40, 128])
    """

    streams, pure = False, True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.segments = nn.ModuleList(CachedSegment(config, number) for number in range(1, config.exits + 1))

    def every_exit(
        self, frames: Tensor, lengths: Tensor, exits: Tensor | None, chunk: int | None, look_ahead: int, depth: int
    ) -> Tensor:
        """See ``Encoder.every_exit``; an utterance is one chunk, so the pattern of exits changes nothing.

        Raises:
            OptionError: a chunk size is given.
        """
        if chunk is not None:
            raise OptionError(f"chunk={chunk}: an offline encoder takes whole utterances only, chunk=None")
        batch, time, _ = frames.shape
        x = F.pad(frames, (0, 0, 0, time % 2))
        keep = (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[:, None]
        blocks = Blocks(batch, x.shape[1], 0, keep, keep)
        active = torch.ones(batch, dtype=torch.bool, device=x.device)
        outputs = []
        for number, segment in enumerate(list(self.segments)[:depth], 1):
            assert isinstance(segment, CachedSegment)
            x, log_probs = segment.run(x, blocks, active)
            outputs.append(log_probs[:, :time])
            self._tap(number, x, batch, time)
        return torch.stack(outputs)
