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
        views: how many augmented copies of each utterance there are, one copy of all after the other.
        states: (B, T, S) float32 states of a teacher's encoder at the same frames, or None.
        state_lengths: (B) int64, frames that have states; 0 where the teacher was not asked.
        phones: (sum of phone_lengths) int64 phone ids, or None.
        phone_lengths: (B) int64; 0 where a word's pronunciation is not known.
    """

    mels: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    seconds: float
    texts: list[str]
    views: int = 1
    states: Tensor | None = None
    state_lengths: Tensor | None = None
    phones: Tensor | None = None
    phone_lengths: Tensor | None = None
