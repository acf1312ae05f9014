"""The trunk: the first segment, which streams causally with caches of its own and writes the memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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

State = dict[str, Tensor]


class StreamingLayer(nn.Module):
    """A Conformer layer in which a frame sees itself and the past only, through two caches."""

    def __init__(self, config: ModelConfig, history: int) -> None:
        super().__init__()
        self.history = history
        self.half1 = FeedForward(config.dim, config.expansion, config.dropout)
        self.attention = Attention(config.dim, config.heads, config.dropout)
        self.convolution = Convolution(config.dim, config.trunk_kernel, config.dropout)
        self.half2 = FeedForward(config.dim, config.expansion, config.dropout)
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, mask: Tensor, keep: Tensor, kv: Tensor, conv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Runs on C frames.

        Args:
            x: (B, C, d).
            mask: (B, 1, C, L + C), added to the scores.
            keep: (B, C, 1), zero at padding frames.
            kv: (B, 2, L, d), keys (unrotated) and values of the L frames before.
            conv: (B, kernel - 1, d), normalised frames before.

        Returns:
            The layer's output (B, C, d) and the two caches to pass on.
        """
        x = x + 0.5 * self.half1(x)
        q, k, v = self.attention.project(x)
        k, v = torch.cat([kv[:, 0], k], dim=1), torch.cat([kv[:, 1], v], dim=1)
        rope = rotary(places(k.shape[1], x), self.attention.head_dim)
        own = rope[0][self.history :], rope[1][self.history :]
        split = self.attention.split
        x = x + self.attention(rotate(split(q), own), rotate(split(k), rope), split(v), mask)
        padded = torch.cat([conv, self.convolution.norm(x) * keep], dim=1)
        x = x + self.convolution(padded)
        x = x + 0.5 * self.half2(x)
        kv = torch.stack([k[:, k.shape[1] - self.history :], v[:, v.shape[1] - self.history :]], dim=1)
        return self.norm(x), kv, padded[:, padded.shape[1] - (self.convolution.kernel - 1) :]


def causal_mask(n_past: Tensor, frames: int, history: int) -> Tensor:
    """Scores' mask (B, 1, C, L + C).

    Frame i sees itself, the L frames before it, and of those only real ones.
    """
    device = n_past.device
    key = torch.arange(history + frames, device=device)[None, None, :]
    query = torch.arange(frames, device=device)[None, :, None]
    seen = (key >= query) & (key <= query + history) & (key >= history - n_past[:, None, None])
    return torch.where(seen, 0.0, MASKED)[:, None]


class Trunk(nn.Module):
    """Segment 1: layers, an optional 2x branch, exit 1, and ``h1``'s projection to the memory (unless told otherwise).

    The result does not depend on how frames are cut into calls, as long as each call has an even number
    of them: one
    call with a whole utterance and a zero state is the parallel forward.

    Example:
        >>> config = ModelConfig()
        >>> trunk = Trunk(config)
        >>> out = trunk(torch.zeros(1, 8, 144), torch.tensor([8]), trunk.zero_state(1))
        >>> out[1].shape  # memory
        torch.Size([1, 8, 432])
    """

    def __init__(self, config: ModelConfig, *, memory: bool = True) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(StreamingLayer(config, config.history) for _ in range(config.layers))
        self.branch = StreamingLayer(config, config.history // 2) if 1 in config.branches else None
        self.exit = ExitHead(config.dim, config.vocabulary, config.feedback, config.phones)
        self.memory_norm = nn.LayerNorm(config.dim) if memory else None
        self.memory_kv = nn.Linear(config.dim, 2 * config.dim * config.memories) if memory else None

    def state_shapes(self) -> dict[str, list[int]]:
        """Names and shapes of the state tensors, without the batch axis.

        ``n_past`` counts frames and is int64.
        """
        c = self.config
        shapes = {"kv": [2 * c.layers, c.history, c.dim], "conv": [c.layers, c.trunk_kernel - 1, c.dim]}
        if self.branch is not None:
            shapes |= {"branch_kv": [2, c.history // 2, c.dim], "branch_conv": [1, c.trunk_kernel - 1, c.dim]}
        return shapes | {"n_past": []}

    def zero_state(self, batch: int, like: Tensor | None = None) -> State:
        """The state at the start of an utterance."""
        like = self.exit.norm.weight if like is None else like
        return {
            name: torch.zeros(batch, *shape, dtype=torch.int64 if name == "n_past" else like.dtype, device=like.device)
            for name, shape in self.state_shapes().items()
        }

    def forward(self, frames: Tensor, n_valid: Tensor, state: State) -> tuple[Tensor, Tensor, Tensor, State]:
        """Runs on C frames (even).

        Args:
            frames: (B, C, d) from the frontend.
            n_valid: (B) int64, real frames; below C only in an utterance's last call.
            state: as ``zero_state`` gives it.

        Returns:
            hidden (B, C, d), memory (B, C, ``config.memory_width``; ``hidden`` where there is none), log_probs
            (B, C, V + P), next state.
        """
        count, history, n_past = frames.shape[1], self.config.history, state["n_past"]
        keep = valid_mask(n_valid, count)[..., None].to(frames.dtype)
        mask = causal_mask(n_past, count, history)
        x, kvs, convs = frames, [], []
        for i, layer in enumerate(self.layers):
            x, kv, conv = layer(x, mask, keep, state["kv"][:, 2 * i : 2 * i + 2], state["conv"][:, i])
            kvs.append(kv)
            convs.append(conv)
        following: State = {"kv": torch.cat(kvs, dim=1), "conv": torch.stack(convs, dim=1)}
        if self.branch is not None:
            # A pair that holds one real frame counts as real; its padding half is zero on every path.
            y, kv, conv = self.branch(
                halve(frames * keep),
                causal_mask(n_past // 2, count // 2, history // 2),
                keep[:, 0::2],
                state["branch_kv"],
                state["branch_conv"][:, 0],
            )
            x = x + double(y)
            following |= {"branch_kv": kv, "branch_conv": conv[:, None]}
        following["n_past"] = (n_past + n_valid).clamp(max=history)
        hidden, log_probs = self.exit(x)
        hidden = hidden * keep
        memory = hidden
        if self.memory_norm is not None and self.memory_kv is not None:
            memory = torch.cat([hidden, self.memory_kv(self.memory_norm(hidden))], dim=-1)
        return hidden, memory, log_probs, following
