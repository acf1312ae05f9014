"""Phone CTC beside word pieces: what the streams after some exits also have to say, in training only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_asr.training.batch import Batch


class PhoneHeads(nn.Module):
    """Linear CTC output layers for phones on the streams after some exits.

    Hierarchical CTC (arXiv 1807.06234) teaches lower layers units that are nearer to sound. Nothing of it is exported.

    Args:
        dim: width of the stream.
        phones: how many phones there are, blank not counted.
        exits: whose streams are mapped.

    Example:
        >>> PhoneHeads(144, 39, (2, 6)).exits
        (2, 6)
    """

    def __init__(self, dim: int, phones: int, exits: tuple[int, ...]) -> None:
        super().__init__()
        self.exits = exits
        self.maps = nn.ModuleList(nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1 + phones)) for _ in exits)

    def forward(self, hidden: dict[int, Tensor], batch: Batch) -> Tensor:
        """CTC loss per phone, mean over those of the exits that were computed.

        Args:
            hidden: exit → stream (B, T, d).
            batch: with ``phones``; utterances without any weigh nothing.

        Returns:
            () loss; 0 where no utterance of the batch has phones.
        """
        first = next(iter(hidden.values()))
        targets, counts = batch.phones, batch.phone_lengths
        if targets is None or counts is None or not bool((counts > 0).any()):
            return first.new_zeros((), dtype=torch.float32)
        known = counts > 0
        losses = []
        for number, head in zip(self.exits, self.maps, strict=True):
            if number in hidden:
                log_probs = head(hidden[number]).float().log_softmax(dim=-1)[known.to(first.device)]
                loss = F.ctc_loss(
                    log_probs.transpose(0, 1),
                    targets.to(first.device),
                    batch.lengths[known],
                    counts[known],
                    reduction="sum",
                    zero_infinity=True,
                )
                losses.append(loss / counts.sum())
        return torch.stack(losses).mean() if losses else first.new_zeros((), dtype=torch.float32)
