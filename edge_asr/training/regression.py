"""Regression on a teacher's encoder states: what a student of little data learns beside the transcripts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edge_asr.model.layers import valid_mask
from edge_asr.training.batch import Batch


class TeacherHeads(nn.Module):
    """Linear maps of the streams after some exits to the teacher's states; needed in training only.

    Args:
        dim: width of the stream.
        teacher_dim: width of the teacher's states.
        exits: whose streams are mapped.

    Example:
        >>> TeacherHeads(144, 384, (2, 4, 6)).exits
        (2, 4, 6)
    """

    def __init__(self, dim: int, teacher_dim: int, exits: tuple[int, ...]) -> None:
        super().__init__()
        self.exits = exits
        self.maps = nn.ModuleList(nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, teacher_dim)) for _ in exits)

    def forward(self, hidden: dict[int, Tensor], batch: Batch) -> Tensor:
        """Mean squared error over states, frames and those of the exits that were computed.

        Args:
            hidden: exit → stream (B, T, d).
            batch: with ``states`` of unit variance.

        Returns:
            () loss; 0 where no utterance of the batch has states.
        """
        states, lengths = batch.states, batch.state_lengths
        first = next(iter(hidden.values()))
        if states is None or lengths is None or not bool((lengths > 0).any()):
            return first.new_zeros((), dtype=torch.float32)
        real = valid_mask(lengths, states.shape[1]).to(first.device)
        wanted = states.to(first.device)[real]
        errors = [
            (wanted - head(hidden[exit_number][real]).float()).square().mean()
            for exit_number, head in zip(self.exits, self.maps, strict=True)
            if exit_number in hidden
        ]
        return torch.stack(errors).mean() if errors else first.new_zeros((), dtype=torch.float32)
