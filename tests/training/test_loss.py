"""Splicing picks whole chunks, and the stacked CTC call equals one call per exit."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from edge_asr.training.batch import Batch
from edge_asr.training.loss import ctc_losses, splice


def test_each_chunk_comes_from_one_exit() -> None:
    exits, size, time = 5, 3, 37
    source = torch.arange(exits).float()[:, None, None, None].expand(exits, size, time, 2)
    out = splice(source, 8, torch.Generator().manual_seed(0))
    assert out.shape == (size, time, 2)
    seen = set()
    for row in out[..., 0]:
        for start in range(0, time, 8):
            values = row[start : start + 8].unique()
            assert len(values) == 1
            seen.add(int(values))
    assert seen == set(range(exits))


def test_stacked_ctc_is_ctc_of_each_exit() -> None:
    torch.manual_seed(0)
    log_probs = torch.randn(3, 2, 30, 6).log_softmax(dim=-1)
    targets = torch.tensor([1, 2, 3, 3, 5, 4])
    batch = Batch(torch.empty(0), torch.tensor([30, 21]), targets, torch.tensor([4, 2]), 1.0, ["", ""])
    losses = ctc_losses(log_probs, batch)
    for exit, loss in zip(log_probs, losses, strict=True):
        one = F.ctc_loss(exit.transpose(0, 1), targets, batch.lengths, batch.target_lengths, reduction="sum") / 6
        assert torch.allclose(loss, one, atol=1e-5)


def test_an_utterance_shorter_than_its_transcript_counts_as_zero() -> None:
    log_probs = torch.randn(1, 1, 3, 6).log_softmax(dim=-1)
    batch = Batch(torch.empty(0), torch.tensor([3]), torch.tensor([1, 2, 3, 4]), torch.tensor([4]), 1.0, [""])
    assert ctc_losses(log_probs, batch).tolist() == [0.0]
