"""Log-mel features as a torch module.

Kaldi's filter bank written as linear maps that export to any engine.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SAMPLE_RATE = 16_000
WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
FFT = 512
FLOOR = 1.1920928955078125e-07  # float32 epsilon, Kaldi's floor of a mel energy
LOG_FLOOR = math.log(FLOOR)
PREEMPHASIS = 0.97
LOW_HZ, HIGH_HZ = 20.0, 7600.0


def _mel(hz: Tensor) -> Tensor:
    return 1127.0 * torch.log(1.0 + hz / 700.0)


def mel_matrix(bins: int = 80) -> Tensor:
    """Triangular mel filters, Kaldi's definition.

    Returns:
        Matrix (255, bins) float32 for the spectrum's bins 1 to 255 (bins 0 and 256 have no weight).
    """
    low, high = _mel(torch.tensor([LOW_HZ, HIGH_HZ], dtype=torch.float64))
    delta = (high - low) / (bins + 1)
    left = low + delta * torch.arange(bins, dtype=torch.float64)
    centre, right = left + delta, left + 2 * delta
    mel = _mel(torch.arange(1, FFT // 2, dtype=torch.float64) * (SAMPLE_RATE / FFT))[:, None]
    up, down = (mel - left) / (centre - left), (right - mel) / (right - centre)
    return torch.minimum(up, down).clamp(min=0.0).float()


class LogMel(nn.Module):
    """80-bin log-mel energies of 25 ms windows every 10 ms, as Kaldi computes them without dither.

    ``snip_edges`` is true: no frame reaches beyond the samples given.


    Mean removal, pre-emphasis, Povey window and DFT are linear. The symmetric window lets the DFT be
    taken around
    the window's centre, where its cosine part is even and its sine part odd: folding the frame in half
    halves the cost.
    Source: Kaldi's ``feature-fbank.cc``; the parity test runs against kaldi-native-fbank.

    Example:
        >>> LogMel()(torch.zeros(1, 16_000)).shape
        torch.Size([1, 98, 80])
    """

    def __init__(self, bins: int = 80) -> None:
        super().__init__()
        self.bins = bins
        n = torch.arange(WINDOW, dtype=torch.float64)
        window = (0.5 - 0.5 * torch.cos(2 * math.pi * n / (WINDOW - 1))) ** 0.85
        k = torch.arange(1, FFT // 2, dtype=torch.float64)
        phase = 2 * math.pi * k[None, :] * (n[: WINDOW // 2, None] - (WINDOW - 1) / 2) / FFT
        self.window: Tensor
        self.cosine: Tensor
        self.sine: Tensor
        self.filters: Tensor
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("cosine", phase.cos().float(), persistent=False)
        self.register_buffer("sine", phase.sin().float(), persistent=False)
        self.register_buffer("filters", mel_matrix(bins), persistent=False)

    def forward(self, pcm: Tensor) -> Tensor:
        """Computes features.

        Args:
            pcm: (B, N) samples in [-1, 1] at 16 kHz; N ≥ 400.

        Returns:
            (B, T, bins) natural logarithms of mel energies, ``T = (N - 400) // 160 + 1``.
        """
        frames = (pcm.shape[1] - WINDOW) // HOP + 1
        # A frame is five pieces of 80 samples and starts two pieces after the one before: slices, no gather.
        pieces = pcm[:, : frames * HOP + WINDOW - HOP].reshape(pcm.shape[0], -1, HOP // 2)
        x = torch.cat([pieces[:, i : i + 2 * frames - 1 : 2] for i in range(5)], dim=-1)
        x = x - x.mean(dim=-1, keepdim=True)
        before = torch.cat([x[..., :1], x[..., :-1]], dim=-1)
        x = (x - PREEMPHASIS * before) * self.window
        head, tail = x[..., : WINDOW // 2], x[..., WINDOW // 2 :].flip(-1)
        real, imag = (head + tail) @ self.cosine, (head - tail) @ self.sine
        power = real * real + imag * imag
        return (power @ self.filters).clamp(min=FLOOR).log()
