"""CTC-CRF: what a phone bigram holds likely, summed over all sentences, as the denominator of CTC on phones.

CTC alone makes the transcript's phones likely; with this, more likely than whatever else the bigram allows, which is
what a search with a language model compares. Sources: Xiang and Ou, "CRF-based single-stage acoustic modeling with CTC
topology", ICASSP 2019; lattice-free MMI, Povey et al., Interspeech 2016.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

FLOOR = -40.0  # log-probabilities below it count as it: sums of scaled probabilities stay above float32's least


class Bigram:
    """How likely a phone is after another.

    Args:
        table: (P, P) probabilities, each row summing to one: row 0 is a sentence's start, column 0 its end; the others
            are ids of phones (blank's id, 0, is free for that).

    Example:
        >>> bigram = Bigram.count([[1, 2], [1]], phones=3)
        >>> bigram.table[0].argmax().item(), bigram.table.sum(dim=1).tolist()
        (1, [1.0, 1.0, 1.0])
    """

    def __init__(self, table: Tensor) -> None:
        self.table = table

    @classmethod
    def count(cls, sentences: Iterable[Sequence[int]], phones: int, added: float = 0.1) -> Bigram:
        """Estimates one from sentences of ids.

        Args:
            sentences: ids from 1.
            phones: P, blank included.
            added: to each count.
        """
        pairs = torch.tensor([pair for row in sentences for pair in zip((0, *row), (*row, 0), strict=True)])
        counts = torch.full((phones * phones,), added, dtype=torch.float64)
        if len(pairs):
            counts += torch.bincount(pairs[:, 0] * phones + pairs[:, 1], minlength=phones * phones)
        counts = counts.reshape(phones, phones)
        return cls((counts / counts.sum(dim=1, keepdim=True)).float())

    def score(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Log-probabilities (B) of B sentences, given as all their ids one after another and how many each has."""
        scores = []
        for row in torch.split(ids, lengths.tolist()):
            edge = row.new_zeros(1)
            scores.append(self.table[torch.cat([edge, row]), torch.cat([row, edge])].log().sum())
        return torch.stack(scores)


def log_partition(log_probs: Tensor, lengths: Tensor, bigram: Bigram) -> Tensor:
    """Log of the sum over all sentences, of the bigram's probability times CTC's of the sentence.

    Args:
        log_probs: (B, T, P), float32 or wider, blank first.
        lengths: (B) frames, at most T.
        bigram: over P.

    Returns:
        (B), differentiable in ``log_probs``; 0 for an utterance without frames.

    Example:
        >>> every = torch.full((1, 1, 3), 1 / 3).log()  # one frame says blank, phone 1 or phone 2
        >>> likely = Bigram(torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
        >>> round(log_partition(every, torch.tensor([1]), likely).exp().item(), 4)  # (0.5 + 0.25 + 0.25) / 3
        0.3333
    """
    out: Tensor = _LogPartition.apply(log_probs, lengths, bigram.table)  # type: ignore[no-untyped-call]
    return out


class _LogPartition(torch.autograd.Function):
    """Forward and backward sums by hand: a frame is a handful of operations, and autograd would keep each of them.

    A path is at a phone (``at``) or on blank after one (``off``; after none where 0 is the phone). From a phone the
    next frame says it again, which is the same phone, or another one, or blank; after blank any phone, which is new.
    """

    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, lengths: Tensor, table: Tensor) -> Tensor:
        batch, time, phones = log_probs.shape
        table = table.to(log_probs)
        step = torch.cat([torch.zeros_like(table[:, :1]), table[:, 1:]], dim=1)
        end, stay = table[:, 0], 1 - step.diagonal()
        probs = log_probs.detach().clamp(min=FLOOR).exp().transpose(0, 1).contiguous()
        blank, real = probs[..., :1].clone(), torch.arange(time)[:, None, None] < lengths.cpu()[None, :, None]
        probs[..., 0] = 0
        real = real.to(log_probs.device)
        at, off = log_probs.new_zeros(batch, phones), log_probs.new_zeros(batch, phones)
        off[:, 0] = 1
        total = log_probs.new_zeros(batch)
        ats, offs = log_probs.new_empty(time, batch, phones), log_probs.new_empty(time, batch, phones)
        for t in range(time):
            both = at + off
            new = probs[t] * torch.addmm(at * stay, both, step)
            both = both * blank[t]
            scale = (new.sum(dim=1) + both.sum(dim=1))[:, None]
            at, off = torch.where(real[t], new / scale, at), torch.where(real[t], both / scale, off)
            total += torch.where(real[t, :, 0], scale[:, 0].log(), 0)
            ats[t], offs[t] = at, off
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(probs, blank, real, ats, offs, step, stay, end)
        total = total + ((at + off) * end).sum(dim=1).log()
        return torch.where(lengths.to(total.device) > 0, total, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        probs, blank, real, ats, offs, step, stay, end = ctx.saved_tensors
        occupied = torch.empty_like(ats)
        at = end.expand_as(ats[0])
        off, back = at, step.T.contiguous()
        for t in range(len(ats) - 1, -1, -1):
            here = ats[t] * at
            here[:, 0] = (offs[t] * off).sum(dim=1)
            occupied[t] = here / here.sum(dim=1, keepdim=True) * real[t]
            after = probs[t] * at
            left = torch.addmm(blank[t] * off, after, back)
            right = left + after * stay
            scale = right.amax(dim=1, keepdim=True).clamp(min=1e-30)
            at, off = torch.where(real[t], right / scale, at), torch.where(real[t], left / scale, off)
        return gradients[0][:, None, None] * occupied.transpose(0, 1), None, None
