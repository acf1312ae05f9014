"""The two-speed Splitformer.

A streaming trunk and pure deep segments, with the parallel forward used in training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_asr.model.base import Encoder
from edge_asr.model.config import ModelConfig
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

    pure = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)
        self.deep = nn.ModuleList(DeepSegment(config, number) for number in range(2, config.exits + 1))
        if config.shared_output:
            for segment in self.segments():
                segment.exit.output = self.trunk.exit.output

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
        frames = F.pad(frames, (0, 0, 0, -time % size))
        hidden, memory, log_probs, _ = self.trunk(frames, lengths, self.trunk.zero_state(batch, frames))
        steps = [(hidden, log_probs)]
        ahead, overlap = (0, 0) if chunk is None else (look_ahead, self.config.overlap)
        tapped = self._taps is not None
        segments = self.segments()[: depth - 1]
        steps += deep_exits(segments, hidden, memory, lengths, size, ahead, overlap=overlap, streams=tapped)
        if tapped:
            for number, (x, _) in enumerate(steps, 1):
                self._tap(number, x, batch, time)
        return torch.stack([log_probs[:, :time] for _, log_probs in steps])


def deep_exits(
    segments: list[DeepSegment],
    hidden: Tensor,
    memory: Tensor,
    lengths: Tensor,
    size: int,
    ahead: int,
    *,
    overlap: int = 0,
    streams: bool = True,
) -> list[tuple[Tensor, Tensor]]:
    """Runs deep segments on all chunks of all utterances as one batch; chunks that are wholly padding are left out.

    Args:
        segments: in order.
        hidden: (B, N · size, d), the trunk's stream.
        memory: (B, N · size, ``config.memory_width``).
        lengths: (B) int64, real frames.
        size: frames a chunk.
        ahead: frames of look-ahead.
        overlap: frames on either side that run along with a chunk, even; on the right at most ``ahead``, and only what
            is beyond them is looked at in the memory.
        streams: whether the streams are wanted too; else what is returned for them means nothing.

    Returns:
        For each segment the stream (B, N · size, d) and log-probabilities (B, N · size, V + P).
    """
    if not segments:
        return []
    config, batch, count = segments[0].config, hidden.shape[0], hidden.shape[1] // size
    history, after = config.history, min(overlap, ahead - ahead % 2)
    wide, beyond = overlap + size + after, ahead - after
    chunks = torch.arange(count, device=hidden.device)[None] * size
    real = (chunks < lengths[:, None]).flatten()
    start = chunks - overlap  # of the window that runs
    place = start[..., None] + torch.arange(wide, device=hidden.device)
    keep = ((place >= 0) & (place < lengths[:, None, None])).flatten(0, 1)[real][..., None].to(hidden.dtype)

    def windows(rows: Tensor, before: int, behind: int) -> Tensor:
        width = before + size + behind
        cut = F.pad(rows, (0, 0, before, behind)).unfold(1, width, size)
        return cut.reshape(batch * count, rows.shape[-1], width)[real].transpose(1, 2)

    x, window = windows(hidden, overlap, after), windows(memory, history + overlap, ahead)
    n_left = start.clamp(0, history).expand(batch, count).flatten()[real]
    n_right = (lengths[:, None] - start - wide).clamp(0, beyond).flatten()[real]
    views = look_around(config, any(segment.halved for segment in segments), window, keep, n_left, n_right)

    def whole(rows: Tensor) -> Tensor:
        out = rows.new_zeros(batch * count, size, rows.shape[-1])
        out[real] = rows[:, overlap : overlap + size]
        return out.reshape(batch, count * size, -1)

    outputs = []
    for segment in segments:
        x, log_probs = segment.run(x, keep, *views)
        outputs.append((whole(x) if streams else x, whole(log_probs)))
    return outputs
