"""A batch of utterances, as the learner takes it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded utterances.

    Attributes:
        mels: (B, 4T + 3, bins) float32.
        lengths: (B) int64, frames of 40 ms.
        targets: (sum of target_lengths) int64 token ids.
        target_lengths: (B) int64.
        seconds: audio in the batch, padding not counted.
        texts: the transcripts.
    """

    mels: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    seconds: float
    texts: list[str]
