"""The two-speed Splitformer.

A streaming trunk and pure deep segments, with the parallel forward used in training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_asr.model.base import Encoder
from edge_asr.model.config import ModelConfig
from edge_asr.model.layers import valid_mask
from edge_asr.model.segment import DeepSegment, look_around
from edge_asr.model.trunk import Trunk


class TwoSpeedSplitformer(Encoder):
    """Six exits (by default), of which every deeper one is exact for a chunk wherever other chunks left.

    Sources: Splitformer (arXiv 2506.18035), early-exit Conformer (arXiv 2309.09546); the two-speed form
        is this project's.

    Example:
        >>> encoder = TwoSpeedSplitformer(ModelConfig())
        >>> encoder(torch.zeros(2, 40, 144), torch.tensor([40, 31]), chunk=16, look_ahead=8).shape
        torch.Size([6, 2, 40, 128])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)
        self.deep = nn.ModuleList(DeepSegment(config, number) for number in range(2, config.exits + 1))

    def segments(self) -> list[DeepSegment]:
        """The deep segments, from the second on."""
        return [segment for segment in self.deep if isinstance(segment, DeepSegment)]

    def every_exit(
        self, frames: Tensor, lengths: Tensor, exits: Tensor | None, chunk: int | None, look_ahead: int, depth: int
    ) -> Tensor:
        """See ``Encoder.every_exit``: all chunks at once, what the runtime computes chunk by chunk.

        No chunk's result depends on where others left, so the pattern of exits changes nothing.
        """
        batch, time, _ = frames.shape
        size = (time + time % 2) if chunk is None else chunk
        count = -(-time // size)
        frames = F.pad(frames, (0, 0, 0, count * size - time))
        hidden, memory, log_probs, _ = self.trunk(frames, lengths, self.trunk.zero_state(batch, frames))
        outputs = [log_probs[:, :time]]
        if self._taps is not None:
            self._taps[1] = hidden[:, :time]
        # Chunks of all utterances become one batch; those that are wholly padding are left out.
        history, ahead = self.config.history, 0 if chunk is None else look_ahead
        start = torch.arange(count, device=frames.device)[None] * size
        real = (start < lengths[:, None]).flatten()
        x = hidden.reshape(batch * count, size, -1)[real]
        windows = F.pad(memory, (0, 0, history, ahead)).unfold(1, history + size + ahead, size)
        window = windows.reshape(batch * count, memory.shape[-1], -1)[real].transpose(1, 2)
        n_valid = (lengths[:, None] - start).clamp(0, size).flatten()[real]
        n_left = start.clamp(max=history).expand(batch, count).flatten()[real]
        n_right = (lengths[:, None] - start - size).clamp(0, ahead).flatten()[real]
        keep = valid_mask(n_valid, size)[..., None].to(x.dtype)
        segments = self.segments()[: depth - 1]
        branched = any(segment.branch is not None for segment in segments)
        views = look_around(self.config, branched, window, keep, n_left, n_right)

        def whole(rows: Tensor) -> Tensor:
            out = rows.new_zeros(batch * count, size, rows.shape[-1])
            out[real] = rows
            return out.reshape(batch, count * size, -1)[:, :time]

        for number, segment in enumerate(segments, 2):
            x, log_probs = segment.run(x, keep, *views)
            outputs.append(whole(log_probs))
            if self._taps is not None:
                self._taps[number] = whole(x)
        return torch.stack(outputs)
