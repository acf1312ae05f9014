"""The denominator of CTC-CRF is what adding up every path gives, and so is its gradient."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from edge_asr.training.crf import Bigram, log_partition


def bigram(phones: int, seed: int) -> Bigram:
    torch.manual_seed(seed)
    return Bigram(torch.rand(phones, phones, dtype=torch.float64).softmax(dim=1))


def added_up(log_probs: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Every path of frames, its phones after CTC's rule, the bigram's probability of these."""
    time, phones = log_probs.shape
    total = torch.zeros((), dtype=log_probs.dtype)
    for path in product(range(phones), repeat=time):
        said = [p for i, p in enumerate(path) if p and (i == 0 or path[i - 1] != p)]
        sound = torch.stack([log_probs[i, p] for i, p in enumerate(path)]).sum().exp()
        total = total + sound * torch.stack([table[a, b] for a, b in zip([0, *said], [*said, 0], strict=True)]).prod()
    return total.log()


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_sum_over_every_path(seed: int) -> None:
    likely = bigram(4, seed)
    log_probs = torch.randn(2, 5, 4, dtype=torch.float64).log_softmax(dim=-1)
    lengths = torch.tensor([5, 3])
    found = log_partition(log_probs, lengths, likely)
    for row, length, one in zip(log_probs, lengths, found, strict=True):
        assert torch.allclose(one, added_up(row[:length], likely.table))


@pytest.mark.parametrize("seed", range(3))
def test_its_gradient_is_autograds_of_that_sum(seed: int) -> None:
    likely = bigram(3, seed)
    log_probs = torch.randn(2, 4, 3, dtype=torch.float64).log_softmax(dim=-1).requires_grad_()
    lengths, weights = torch.tensor([4, 2]), torch.tensor([1.0, -2.0], dtype=torch.float64)
    (log_partition(log_probs, lengths, likely) * weights).sum().backward()  # type: ignore[no-untyped-call]
    by_hand, log_probs.grad = log_probs.grad, None
    both = torch.stack([added_up(row[:n], likely.table) for row, n in zip(log_probs, lengths, strict=True)])
    (both * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert by_hand is not None
    assert log_probs.grad is not None
    assert torch.allclose(by_hand, log_probs.grad)


def test_long_and_certain_input_stays_finite() -> None:
    log_probs = (300 * torch.randn(2, 1500, 79)).log_softmax(dim=-1).requires_grad_()
    out = log_partition(log_probs, torch.tensor([1500, 0]), Bigram.count([[1, 2, 3]] * 5, 79))
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert log_probs.grad is not None
    assert bool(out.isfinite().all())
    assert float(out.detach()[1]) == 0
    assert bool(log_probs.grad.isfinite().all())
    # Each frame is somewhere: what is occupied adds up to one.
    assert torch.allclose(log_probs.grad[0].sum(dim=-1), torch.ones(1500), atol=1e-4)
    assert bool((log_probs.grad[1] == 0).all())


def test_counts_and_scores() -> None:
    likely = Bigram.count([[1, 2], [1, 1, 2], []], phones=3, added=0.0)
    table = torch.tensor([[1 / 3, 2 / 3, 0], [0, 1 / 3, 2 / 3], [1, 0, 0]])
    assert torch.allclose(likely.table, table)
    scores = likely.score(torch.tensor([1, 1, 2, 1, 2]), torch.tensor([3, 0, 2]))
    assert torch.allclose(scores.exp(), torch.tensor([4 / 27, 1 / 3, 4 / 9]))
    assert torch.allclose(Bigram.count([], phones=3).table, torch.full((3, 3), 1 / 3))
