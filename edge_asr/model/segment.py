"""Deep segments: pure functions of a chunk and a window of the trunk's memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_asr.model.config import ModelConfig
from edge_asr.model.layers import (
    MASKED,
    Attention,
    Convolution,
    ExitHead,
    FeedForward,
    double,
    halve,
    places,
    rotary,
    rotate,
    valid_mask,
)


class WindowLayer(nn.Module):
    """A Conformer layer on one chunk, bidirectional inside it.

    Outside the chunk its world is the trunk's memory.
    """

    def __init__(self, config: ModelConfig, memory: int = 0) -> None:
        super().__init__()
        self.memory = memory  # which of the memory's keys and values are this layer's
        self.half1 = FeedForward(config.dim, config.expansion, config.dropout)
        self.attention = Attention(config.dim, config.heads, config.dropout)
        self.convolution = Convolution(config.dim, config.kernel, config.dropout)
        self.half2 = FeedForward(config.dim, config.expansion, config.dropout)
        self.norm = nn.LayerNorm(config.dim)

    def attend(self, x: Tensor, view: View) -> Tensor:
        """Attention over the chunk's own frames and the memory: (B, C, d) → (B, C, d)."""
        q, k, v = self.attention.project(x)
        split = self.attention.split
        keys = torch.cat([rotate(split(k), view.rope), view.keys[self.memory]], dim=1)
        values = torch.cat([split(v), view.values[self.memory]], dim=1)
        out: Tensor = self.attention(rotate(split(q), view.rope), keys, values, view.mask)
        return out

    def forward(self, x: Tensor, keep: Tensor, view: View) -> Tensor:
        """(B, C, d) → (B, C, d); ``keep`` (B, C, 1) is zero at padding frames."""
        x = x + 0.5 * self.half1(x)
        x = x + self.attend(x, view)
        norm = self.convolution.norm
        padded = [norm(view.before) * view.before_keep, norm(x) * keep, norm(view.after) * view.after_keep]
        x = x + self.convolution(torch.cat(padded, dim=1))
        x = x + 0.5 * self.half2(x)
        out: Tensor = self.norm(x)
        return out


class View:
    """What a layer sees of the world outside its chunk, prepared once for all layers of a segment.

    ``rope`` belongs to the chunk's own positions; ``keys`` (rotated) and ``values`` are the memory's, one for all
    layers or one for each, (B, L + R, H, head_dim); ``mask`` covers the chunk's own keys, then the memory's.
    ``before`` and ``after`` are the convolution's halo from ``h1``.
    """

    def __init__(
        self, config: ModelConfig, window: Tensor, keep: Tensor, n_left: Tensor, n_right: Tensor, pairs: bool
    ) -> None:
        chunk = keep.shape[1] * (2 if pairs else 1)
        d, history, head_dim = config.dim, config.history, config.dim // config.heads
        # Split, not sliced: the gradient of a split is one concatenation, that of each slice a window of zeros.
        past, _, future = torch.split(window, [history, chunk, window.shape[1] - history - chunk], dim=1)
        count = config.memories
        hidden_past, keys_past, values_past = torch.split(past, [d, count * d, count * d], dim=-1)
        hidden_future, keys_future, values_future = torch.split(future, [d, count * d, count * d], dim=-1)
        position = places(window.shape[1], window)
        memory_rope = rotary(torch.cat([position[:history], position[history + chunk :]]), head_dim)
        own = position[history : history + chunk]
        self.rope = rotary((own[0::2] + own[1::2]) * 0.5 if pairs else own, head_dim)
        shape = (window.shape[0], window.shape[1] - chunk, count * config.heads, head_dim)
        keys = rotate(torch.cat([keys_past, keys_future], dim=1).reshape(shape), memory_rope)
        values = torch.cat([values_past, values_future], dim=1).reshape(shape)
        self.keys, self.values = (torch.split(x, config.heads, dim=2) for x in (keys, values))
        left = torch.arange(history, device=window.device)[None] >= history - n_left[:, None]
        right = valid_mask(n_right, window.shape[1] - history - chunk)
        seen = torch.cat([keep[..., 0] > 0, left, right], dim=1)
        self.mask = torch.where(seen, 0.0, MASKED)[:, None, None]
        halo = (config.kernel // 2) * (2 if pairs else 1)
        self.before = hidden_past[:, history - halo :]
        self.after = F.pad(hidden_future, (0, 0, 0, halo))[:, :halo]
        self.before_keep = left[:, history - halo :, None].to(window.dtype)
        self.after_keep = valid_mask(n_right, halo)[..., None].to(window.dtype)
        if pairs:
            self.before, self.after = (
                halve(self.before * self.before_keep),
                halve(self.after * self.after_keep),
            )
            # A pair counts where its first (left: last) frame is real.
            self.before_keep, self.after_keep = self.before_keep[:, 1::2], self.after_keep[:, 0::2]


def look_around(
    config: ModelConfig, halved: bool, window: Tensor, keep: Tensor, n_left: Tensor, n_right: Tensor
) -> tuple[View, View | None]:
    """The views of a chunk: at full rate, and at half rate where a layer needs one."""
    view = View(config, window, keep, n_left, n_right, pairs=False)
    return view, View(config, window, keep[:, 0::2], n_left, n_right, pairs=True) if halved else None


class DeepSegment(nn.Module):
    """A segment beyond the trunk: layers, an optional parallel 2x branch (Splitformer), and an exit. It has no state.

    Example:
        >>> config = ModelConfig()
        >>> one, window = torch.tensor([16]), torch.zeros(1, 64 + 16 + 8, 432)
        >>> hidden, log_probs = DeepSegment(config, 2)(torch.zeros(1, 16, 144), window, one, one * 0, one * 0)
        >>> log_probs.shape
        torch.Size([1, 16, 128])
    """

    def __init__(self, config: ModelConfig, number: int) -> None:
        super().__init__()
        self.config = config
        first = config.layers * (number - 2)
        owned = [first + i if config.own_memory else 0 for i in range(config.layers)]
        self.layers = nn.ModuleList(WindowLayer(config, memory) for memory in owned)
        # Branches' memories come after all layers'.
        place = config.layers * (config.exits - 1) + sum(1 < branch < number for branch in config.branches)
        has = number in config.branches
        self.branch = WindowLayer(config, place if config.own_memory else 0) if has else None
        self.slow = number in config.slow
        self.exit = ExitHead(config.dim, config.vocabulary, config.feedback and number < config.exits, config.phones)

    @property
    def halved(self) -> bool:
        """Whether it has layers on 80 ms frames."""
        return self.slow or self.branch is not None

    def forward(
        self, hidden: Tensor, window: Tensor, n_valid: Tensor, n_left: Tensor, n_right: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Runs on one chunk.

        Args:
            hidden: (B, C, d) from the segment before; C even.
            window: (B, L + C + R, ``config.memory_width``; 3d by default), memory rows before, in and after the chunk.
            n_valid: (B) int64, real frames of the chunk.
            n_left: (B) int64, real rows of the L before, right-aligned.
            n_right: (B) int64, real rows of the R after, left-aligned.

        Returns:
            hidden (B, C, d), log_probs (B, C, V + P).
        """
        keep = valid_mask(n_valid, hidden.shape[1])[..., None].to(hidden.dtype)
        views = look_around(self.config, self.halved, window, keep, n_left, n_right)
        return self.run(hidden, keep, *views)

    def run(self, hidden: Tensor, keep: Tensor, view: View, pairs: View | None) -> tuple[Tensor, Tensor]:
        """As ``forward``, with views that several segments may share."""
        if self.slow and pairs is not None:
            # What the layers change in the means of pairs is added to both; what differs inside a pair stays.
            x = means = halve(hidden * keep)
            for layer in self.layers:
                x = layer(x, keep[:, 0::2], pairs)
            x = hidden + double(x - means)
        else:
            x = hidden
            for layer in self.layers:
                x = layer(x, keep, view)
        if self.branch is not None and pairs is not None:
            x = x + double(self.branch(halve(hidden * keep), keep[:, 0::2], pairs))
        out: tuple[Tensor, Tensor] = self.exit(x)
        return out
