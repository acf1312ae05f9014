"""A loader that makes one process's share of each batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lhotse import MonoCut

from edge_asr.training.batch import Batch
from edge_asr.training.data.batches import Loader
from edge_asr.training.parallel import Parallel


class ShareLoader(Loader):
    """Draws the batches that a `Loader` draws, and loads every ``size``-th utterance of each, from the ``rank``-th on.

    Utterances in a batch are of alike length, so the shares are too. A process that is left without one gets an
    utterance with an empty transcript, which weighs nothing: all processes make the same number of updates.

    Args:
        parallel: which process of how many this is.
        args: as for `Loader`.
        more: as for `Loader`.
    """

    def __init__(self, parallel: Parallel, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.parallel = parallel

    def collate(self, cuts: list[MonoCut], rng: np.random.Generator | None) -> Batch:
        """Loads this process's share; augmentation is drawn by each process for itself."""
        mine = cuts[self.parallel.rank :: self.parallel.size]
        if rng is not None and self.parallel.size > 1:
            rng = np.random.default_rng([int(rng.integers(2**31)), self.parallel.rank])
        if mine:
            return super().collate(mine, rng)
        batch = super().collate(cuts[:1], rng)
        nothing = torch.zeros_like(batch.target_lengths)
        batch = replace(batch, targets=batch.targets[:0], target_lengths=nothing, seconds=0.0)
        return batch if batch.phones is None else replace(batch, phones=batch.phones[:0], phone_lengths=nothing)
