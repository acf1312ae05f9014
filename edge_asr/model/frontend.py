"""PCM to encoder frames: log-mel, normalisation and 4x convolutional subsampling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edge_asr.model.config import ModelConfig
from edge_asr.model.logmel import LogMel

HOP = 640  # samples a frame
OVERLAP = 720  # samples of a frame's window that reach beyond its hop


class Subsampling(nn.Module):
    """Two 3x3 convolutions with stride 2 and a projection: mel rows every 10 ms become frames every 40 ms.

    Nothing is padded in time, so frame i sees the mel rows 4i to 4i+6 and no others, wherever the input
    was cut.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        first, second = config.channels
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(config.mels))
        self.register_buffer("std", torch.ones(config.mels))
        self.conv1 = nn.Conv2d(1, first, 3, stride=2, padding=(0, 1))
        self.conv2 = nn.Conv2d(first, second, 3, stride=2, padding=(0, 1))
        bins = (config.mels + 1) // 2
        self.project = nn.Linear(second * ((bins + 1) // 2), config.dim)

    def forward(self, mels: Tensor) -> Tensor:
        """(B, 4T + 3, mels) natural-log mel energies → (B, T, d) frames."""
        x = ((mels - self.mean) / self.std).unsqueeze(1).to(self.conv1.weight.dtype)
        x = nn.functional.silu(self.conv1(x))
        x = nn.functional.silu(self.conv2(x))
        batch, channels, time, bins = x.shape
        out: Tensor = self.project(x.permute(0, 2, 1, 3).reshape(batch, time, channels * bins))
        return out


class Frontend(nn.Module):
    """The frontend graph: ``pcm`` (B, 640 T + 720) in [-1, 1] at 16 kHz → frames (B, T, d).

    Example:
        >>> Frontend(ModelConfig())(torch.zeros(1, 640 * 8 + 720)).shape
        torch.Size([1, 8, 144])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.logmel = LogMel(config.mels)
        self.subsampling = Subsampling(config)

    def forward(self, pcm: Tensor) -> Tensor:
        out: Tensor = self.subsampling(self.logmel(pcm))
        return out
