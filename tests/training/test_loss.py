"""Splicing picks whole chunks, stacked CTC equals one call per exit, and consistency is what its paper says."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional as F

from edge_asr.training.batch import Batch
from edge_asr.training.crf import Bigram, log_partition
from edge_asr.training.loss import consistency_losses, ctc_losses, distillation_losses, phone_losses, splice


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


def test_phones_are_ctc_of_each_exit_over_utterances_that_have_any() -> None:
    torch.manual_seed(0)
    log_probs = torch.randn(3, 4, 30, 6).log_softmax(dim=-1).requires_grad_()
    lengths, counts = torch.tensor([30, 28, 21, 2]), torch.tensor([4, 0, 2, 3])
    phones = torch.tensor([1, 2, 3, 3, 5, 4, 1, 2, 1])
    batch = Batch(torch.empty(0), lengths, torch.tensor([1]), torch.tensor([1]), 1.0, [""] * 4)
    losses = phone_losses(log_probs, replace(batch, phones=phones, phone_lengths=counts))
    known = torch.tensor([0, 2])  # the second has none, the last is too short for its own
    for exit, loss in zip(log_probs.detach(), losses, strict=True):
        rows = exit[known].transpose(0, 1)
        one = F.ctc_loss(rows, phones[:6], lengths[known], counts[known], reduction="sum") / counts.sum()
        assert torch.allclose(loss, one, atol=1e-5)
    losses.mean().backward()  # type: ignore[no-untyped-call]
    assert log_probs.grad is not None
    assert bool((log_probs.grad[:, [1, 3]] == 0).all())
    assert bool((log_probs.grad[:, known].abs().amax(dim=(2, 3)) > 0).all())
    for none in (batch, replace(batch, phones=phones[:0], phone_lengths=0 * counts)):
        assert phone_losses(log_probs, none).tolist() == [0.0] * 3


def test_a_share_of_the_denominator_is_added_to_phones() -> None:
    torch.manual_seed(0)
    log_probs = torch.randn(2, 3, 30, 6).log_softmax(dim=-1)
    lengths, counts = torch.tensor([30, 21, 2]), torch.tensor([4, 2, 3])  # the last is too short for its phones
    phones = torch.tensor([1, 2, 3, 3, 5, 4, 1, 2, 1])
    batch = Batch(torch.empty(0), lengths, torch.tensor([1]), torch.tensor([1]), 1.0, [""] * 3)
    batch = replace(batch, phones=phones, phone_lengths=counts)
    bigram = Bigram.count([[1, 2, 3, 3], [5, 4]], phones=6)
    plain = phone_losses(log_probs, batch)
    assert torch.equal(phone_losses(log_probs, batch, bigram, 0.0), plain)
    for exit, before, whole, part in zip(
        log_probs,
        plain,
        phone_losses(log_probs, batch, bigram, 1.0),
        phone_losses(log_probs, batch, bigram, 0.5),
        strict=True,
    ):
        sums = log_partition(exit[:2], lengths[:2], bigram).sum()
        likely = bigram.score(phones[:6], counts[:2]).sum()
        assert torch.allclose(whole - before, (sums - likely) / 9, atol=1e-5)
        assert torch.allclose(part - before, (whole - before) / 2, atol=1e-5)
        assert whole > 0  # minus the log of a probability


def test_consistency_is_the_divergence_of_each_view_from_the_other_held_fixed() -> None:
    torch.manual_seed(0)
    log_probs = torch.randn(2, 4, 7, 5).log_softmax(dim=-1).requires_grad_()
    lengths = torch.tensor([7, 4, 7, 4])
    targets = torch.tensor([1, 2, 3] * 2)
    batch = Batch(torch.empty(0), lengths, targets, torch.tensor([2, 1, 2, 1]), 1.0, [""] * 4, views=2)
    losses = consistency_losses(log_probs, batch)
    for number in range(2):
        total = torch.zeros(())
        for row, other in ((0, 2), (2, 0), (1, 3), (3, 1)):
            p, q = (log_probs[number, i, : lengths[row]] for i in (other, row))
            total = total + (p.exp() * (p - q)).sum()
        assert torch.allclose(losses[number], total / 6, atol=1e-6)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert log_probs.grad is not None
    # Only the student's side is moved: the gradient is q - p in the space of logits, and sums to -sum(p) here.
    assert torch.allclose(log_probs.grad[:, 0].sum(dim=-1), torch.full((2, 7), -1 / 6), atol=1e-6)
    assert bool((log_probs.grad[:, 1, 4:] == 0).all())


def test_equal_views_are_consistent() -> None:
    view = torch.randn(1, 1, 7, 5).log_softmax(dim=-1)
    batch = Batch(torch.empty(0), torch.tensor([7, 7]), torch.tensor([1, 1]), torch.tensor([1, 1]), 1.0, ["", ""], 2)
    assert abs(float(consistency_losses(torch.cat([view, view], dim=1), batch))) < 1e-6


def test_distillation_forgives_a_lag_and_nothing_else() -> None:
    torch.manual_seed(0)
    last = (3 * torch.randn(1, 2, 20, 6)).log_softmax(dim=-1)
    batch = Batch(torch.empty(0), torch.tensor([20, 15]), torch.tensor([1, 2, 3]), torch.tensor([2, 1]), 1.0, ["", ""])
    for lag in range(6):
        early = last.roll(lag, dims=2).requires_grad_()
        loss = distillation_losses(torch.cat([early, last]), batch, 3)
        assert loss.shape == (1,)
        assert (float(loss.detach()) < 1e-5) == (lag <= 3)
        loss.sum().backward()
        assert early.grad is not None
        assert bool((early.grad[:, 1, 15:] == 0).all())
    exact = torch.nn.functional.kl_div(last.roll(1, dims=1)[0, 0], last[0, 0], reduction="sum", log_target=True)
    one = Batch(torch.empty(0), torch.tensor([20]), torch.tensor([1, 2]), torch.tensor([2]), 1.0, [""])
    pair = torch.cat([last.roll(1, dims=1)[:, :1], last[:, :1]])
    assert torch.allclose(distillation_losses(pair, one, 0), exact / 2, atol=1e-5)


def test_an_utterance_shorter_than_its_transcript_counts_as_zero() -> None:
    log_probs = torch.randn(1, 1, 3, 6).log_softmax(dim=-1)
    batch = Batch(torch.empty(0), torch.tensor([3]), torch.tensor([1, 2, 3, 4]), torch.tensor([4]), 1.0, [""])
    assert ctc_losses(log_probs, batch).tolist() == [0.0]


def test_distillation_reaches_utterances_that_a_lag_would_empty() -> None:
    torch.manual_seed(0)
    log_probs = (3 * torch.randn(2, 2, 6, 5)).log_softmax(dim=-1)
    for lengths in ([2, 3], [1, 2]):
        batch = Batch(torch.empty(0), torch.tensor(lengths), torch.tensor([1, 2]), torch.tensor([1, 1]), 1.0, ["", ""])
        for index in range(2):
            alone = replace(batch, lengths=batch.lengths[index : index + 1], target_lengths=torch.tensor([1]))
            assert distillation_losses(log_probs[:, index : index + 1], alone, 3) > 0
