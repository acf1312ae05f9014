"""What all encoders share: feed-forward, attention, convolution, exit and 2x resampling modules."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MASKED = -1e9  # added to a score that must not count; finite, so that a row of masks gives no NaN


class Dropout(nn.Module):
    """Zeroes a share of the values in training and scales the rest, as ``nn.Dropout``, to the next 256th.

    On a CPU, drawing a number for each value takes a third of an update's time (docs/decisions/training.md). So there
    a value's factor comes from one strip of random factors, which all modules read from random places and which is
    drawn anew after ``READS`` readings: values of one call are independent of each other.

    Example:
        >>> out = Dropout(0.5)(torch.ones(1000))
        >>> sorted(set(out.tolist()))
        [0.0, 2.0]
    """

    LENGTH, READS = 1 << 23, 64
    _strips: ClassVar[dict[tuple[int, torch.dtype], tuple[Tensor, int]]] = {}

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape → the same; in evaluation mode ``x`` itself."""
        if not self.training or not self.p:
            return x
        return x * self._factors(x) if x.device.type == "cpu" else F.dropout(x, self.p)

    def _factors(self, x: Tensor) -> Tensor:
        dropped, count = min(round(256 * self.p), 255), x.numel()
        strip, reads = self._strips.get((dropped, x.dtype), (x.new_empty(0), self.READS))
        if reads >= self.READS or len(strip) < 2 * count:
            drawn = torch.empty(max(self.LENGTH, 2 * count) // 8 + 1, dtype=torch.int64).random_(-(2**63), None)
            strip, reads = (drawn.view(torch.uint8) >= dropped).to(x.dtype).mul_(256 / (256 - dropped)), 0
        self._strips[dropped, x.dtype] = strip, reads + 1
        start = int(torch.randint(len(strip) - count + 1, ()))
        return strip[start : start + count].view(x.shape)


class FeedForward(nn.Module):
    """LayerNorm → Linear → SiLU → Linear, the Conformer's half-step module (arXiv 2005.08100) without its residual."""

    def __init__(self, dim: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, expansion * dim)
        self.down = nn.Linear(expansion * dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(self.dropout(F.silu(self.up(self.norm(x)))))
        return out


def rotary(positions: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine (T, 1, head_dim / 2) of rotary embeddings (arXiv 2104.09864) of positions (T,) in frames."""
    half = head_dim // 2
    frequency = 10_000.0 ** (-torch.arange(half, device=positions.device, dtype=positions.dtype) / half)
    angle = positions[:, None, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Turns (B, T, H, head_dim) by its positions."""
    cos, sin = rope[0].to(x.dtype), rope[1].to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Scaled dot-product attention of (B, H, C, D) over (B, H, K, D), with a mask added to the scores.

    In bfloat16 on a CPU in three operations: torch's fused kernel takes 2 to 4 times as long there, forth and back
    (docs/decisions/training.md).
    """
    if q.dtype == torch.bfloat16 and q.device.type == "cpu":
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + mask
        out: Tensor = scores.softmax(dim=-1) @ v
        return out
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class Attention(nn.Module):
    """Multi-head attention whose keys and values come partly from outside the layer.

    ``project`` gives the layer's own queries, keys and values; ``forward`` attends over any keys and
    values in which
    they were put together, keys and queries rotated by the caller.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def split(self, x: Tensor) -> Tensor:
        """(B, T, d) → (B, T, H, head_dim)."""
        return x.reshape(x.shape[0], x.shape[1], self.heads, self.head_dim)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, d) → queries, keys and values, (B, T, d) each, unrotated."""
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        return q, k, v

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Attends.

        Args:
            q: (B, C, H, head_dim), rotated.
            k: (B, K, H, head_dim), rotated.
            v: (B, K, H, head_dim).
            mask: (B, 1, C or 1, K), added to the scores.

        Returns:
            (B, C, d).
        """
        x = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), mask.to(q.dtype))
        x = x.transpose(1, 2).reshape(q.shape[0], q.shape[1], self.heads * self.head_dim)
        out: Tensor = self.dropout(self.out(x))
        return out


class Convolution(nn.Module):
    """LayerNorm → depthwise convolution → pointwise with GLU → SiLU → pointwise.

    The depthwise convolution comes first, so that the frames it borrows from its neighbours need only a
    LayerNorm.
    """

    def __init__(self, dim: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.kernel = kernel
        self.norm = nn.LayerNorm(dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel, groups=dim)
        self.gate = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, padded: Tensor) -> Tensor:
        """Normalised frames with their halo, (B, C + kernel - 1, d) → (B, C, d)."""
        x = self._depthwise(padded) if self.training else self.depthwise(padded.transpose(1, 2)).transpose(1, 2)
        x, gate = self.gate(x).chunk(2, dim=-1)
        out: Tensor = self.dropout(self.out(F.silu(x * torch.sigmoid(gate))))
        return out

    def _depthwise(self, padded: Tensor) -> Tensor:
        """The same convolution with time as an image's height, which takes a CPU less than half of the time forth and
        back: frames stay in one piece (docs/decisions/training.md).
        """
        image, kernel = padded.transpose(1, 2)[..., None], self.depthwise.weight[..., None]
        out = F.conv2d(image, kernel, self.depthwise.bias, groups=self.depthwise.groups)
        return out[..., 0].transpose(1, 2)


class ExitHead(nn.Module):
    """LayerNorm and a linear CTC output layer for word pieces, and optionally another one for phones.

    Optionally the pieces' posteriors projected back (self-conditioned CTC, arXiv 2104.02724). Phones are read from the
    stream that this gives, and are not projected back.

    Example:
        >>> ExitHead(144, 128, True, phones=79)(torch.zeros(1, 16, 144))[1].shape
        torch.Size([1, 16, 207])
    """

    def __init__(self, dim: int, vocabulary: int, feedback: bool, phones: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, vocabulary)
        self.feedback = nn.Linear(vocabulary, dim) if feedback else None
        self.phones = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, phones)) if phones else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, d) → the stream with feedback added (B, C, d), log-probabilities (B, C, V + P), float32 or wider.

        Pieces (V) and phones (P) are each normalised on their own.
        """
        log_probs = _log_softmax(self.output(self.norm(x)))
        if self.feedback is not None:
            x = x + self.feedback(log_probs.exp().to(x.dtype))
        if self.phones is not None:
            log_probs = torch.cat([log_probs, _log_softmax(self.phones(x))], dim=-1)
        return x, log_probs


def _log_softmax(logits: Tensor) -> Tensor:
    """Over the last axis, in float32 or wider."""
    return (logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits).log_softmax(dim=-1)


def places(count: int, like: Tensor) -> Tensor:
    """Positions 0 to count - 1 (T,) for ``rotary``.

    Float64 where the model is, else float32 (half types count too coarsely).
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    return torch.arange(count, device=like.device).to(dtype)


def halve(x: Tensor) -> Tensor:
    """Means of frame pairs: (B, T, d) → (B, T / 2, d); T must be even."""
    return (x[:, 0::2] + x[:, 1::2]) * 0.5


def double(x: Tensor) -> Tensor:
    """Each frame twice: (B, T, d) → (B, 2T, d)."""
    return torch.stack([x, x], dim=2).reshape(x.shape[0], 2 * x.shape[1], x.shape[2])


def valid_mask(n_valid: Tensor, frames: int) -> Tensor:
    """(B, T) bool: true for the first ``n_valid`` frames."""
    return torch.arange(frames, device=n_valid.device)[None] < n_valid[:, None]


def exit_stats(log_probs: Tensor) -> Tensor:
    """Per-frame entropy (nats), largest posterior, margin over the second largest, and blank posterior.

    (B, C, V), word pieces only → (B, C, 4).
    """
    probs = log_probs.exp()
    top = probs.topk(2, dim=-1).values
    entropy = -(probs * log_probs).sum(dim=-1)
    return torch.stack([entropy, top[..., 0], top[..., 0] - top[..., 1], probs[..., 0]], dim=-1)


def pick(log_probs: Tensor, exits: Tensor, chunk: int) -> Tensor:
    """Takes each chunk from its exit: (E, B, T, V) and (B, N) → (B, T, V)."""
    _, batch, time, vocabulary = log_probs.shape
    choice = exits.clamp(1, log_probs.shape[0]).repeat_interleave(chunk, dim=1)[:, :time] - 1
    return log_probs.gather(0, choice[None, :, :, None].expand(1, batch, time, vocabulary))[0]
