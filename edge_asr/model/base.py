"""What every encoder offers: all exits, or each chunk at an exit of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from edge_asr.model.config import ModelConfig
from edge_asr.model.layers import pick


class Encoder(nn.Module, ABC):
    """An encoder with exits; the ones that stream take chunks, the offline ones whole utterances (``chunk=None``)."""

    config: ModelConfig
    streams = True  # whether it takes chunks
    pure = False  # whether no chunk's result depends on where others left
    _taps: dict[int, Tensor] | None = None

    @contextmanager
    def tapped(self) -> Iterator[dict[int, Tensor]]:
        """Collects the stream (B, T, d) after each exit, by the exit's number, of the forward passes inside.

        For losses on hidden states.
        """
        self._taps = {}
        try:
            yield self._taps
        finally:
            self._taps = None

    def _tap(self, number: int, stream: Tensor, batch: int, time: int) -> None:
        """Keeps the stream after an exit, given as (B, N · C, d) or (B · N, C, d), where it is asked for."""
        if self._taps is not None:
            self._taps[number] = stream.reshape(batch, -1, stream.shape[-1])[:, :time]

    @abstractmethod
    def every_exit(
        self, frames: Tensor, lengths: Tensor, exits: Tensor | None, chunk: int | None, look_ahead: int, depth: int
    ) -> Tensor:
        """Log-probabilities of all exits, given where each chunk left.

        A chunk's rows mean something up to its own exit; rows beyond it say what would have come without running.

        Args:
            frames: (B, T, d) from the frontend.
            lengths: (B) int64, real frames.
            exits: (B, N) int64, the exit of each chunk, anything for chunks beyond a length; None: none left early.
            chunk: frames a chunk (even); None takes each utterance as one.
            look_ahead: frames after a chunk that it may see.
            depth: how many exits to compute.

        Returns:
            (depth, B, T, V + P), float32 or wider: word pieces (V), then phones (P), each normalised on their
            own. Frames beyond a length mean nothing.
        """

    def forward(
        self,
        frames: Tensor,
        lengths: Tensor,
        *,
        chunk: int | None = 16,
        look_ahead: int = 8,
        depth: int | None = None,
    ) -> Tensor:
        """Every exit, all chunks at full depth: (depth, B, T, V + P); all exits by default. See ``every_exit``."""
        return self.every_exit(frames, lengths, None, chunk, look_ahead, depth or self.config.exits)

    def spliced(
        self, frames: Tensor, lengths: Tensor, exits: Tensor, *, chunk: int | None = 16, look_ahead: int = 8
    ) -> Tensor:
        """Each chunk at an exit of its own, (B, N) int64: (B, T, V + P). See ``every_exit``."""
        every = self.every_exit(frames, lengths, exits, chunk, look_ahead, self.config.exits)
        return pick(every, exits, frames.shape[1] if chunk is None else chunk)
