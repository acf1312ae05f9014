"""CTC over all exits at once, of word pieces and of phones, and over spliced sequences."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_asr.model.layers import valid_mask
from edge_asr.training.batch import Batch
from edge_asr.training.crf import Bigram, log_partition


def splice(log_probs: Tensor, chunk: int, generator: torch.Generator) -> Tensor:
    """Takes each chunk of each utterance from a random exit, as a runtime with per-chunk exits would.

    Args:
        log_probs: (exits, B, T, V).
        chunk: frames a chunk.
        generator: source of randomness.

    Returns:
        (B, T, V).
    """
    exits, batch, time, vocabulary = log_probs.shape
    count = -(-time // chunk)
    choice = torch.randint(exits, (batch, count), generator=generator).repeat_interleave(chunk, dim=1)[:, :time]
    index = choice.to(log_probs.device)[None, :, :, None].expand(1, batch, time, vocabulary)
    return log_probs.gather(0, index)[0]


def consistency_losses(log_probs: Tensor, batch: Batch) -> Tensor:
    """Divergence between the exits' posteriors of the two views of each utterance, in nats per token.

    Source: CR-CTC (arXiv 2410.05101). Each view is drawn to the other, which is held fixed.

    Args:
        log_probs: (E, B, T, V), the second half of B the other view of the first.
        batch: lengths; of two views.

    Returns:
        (E) losses.
    """
    other = log_probs.detach().roll(log_probs.shape[1] // 2, dims=1)
    divergence = F.kl_div(log_probs, other, reduction="none", log_target=True).sum(dim=-1)
    real = valid_mask(batch.lengths.to(log_probs.device), log_probs.shape[2])
    return (divergence * real).sum(dim=(1, 2)) / batch.target_lengths.sum()


def distillation_losses(log_probs: Tensor, batch: Batch, delay: int) -> Tensor:
    """Divergence of each earlier exit's posteriors from the last exit's, held fixed, in nats per token.

    For each utterance and exit the lag behind the last exit, 0 to ``delay`` frames, at which the divergence is smallest
    is the one that counts; frames that a lag moves beyond either end of the utterance do not.

    Args:
        log_probs: (E, B, T, V), E at least 1; T above ``delay``.
        batch: lengths.
        delay: largest lag in frames.

    Returns:
        (E - 1) losses.
    """
    early, last = log_probs[:-1], log_probs[-1:].detach()
    time = log_probs.shape[2]
    lengths = batch.lengths.to(log_probs.device)
    lags = []
    for lag in range(delay + 1):
        divergence = F.kl_div(early[:, :, lag:], last[:, :, : time - lag], reduction="none", log_target=True).sum(
            dim=-1
        )
        real = valid_mask((lengths - lag).clamp(min=0), time - lag)
        # A mean times the length, so that a lag does not win by having fewer frames.
        moved = (divergence * real).sum(dim=-1) * (lengths / real.sum(dim=-1).clamp(min=1))
        lags.append(moved if lag == 0 else torch.where(lengths > lag, moved, torch.inf))  # none is left of shorter ones
    return torch.stack(lags).amin(dim=0).sum(dim=-1) / batch.target_lengths.sum()


def ctc_losses(log_probs: Tensor, batch: Batch) -> Tensor:
    """Mean CTC loss per token of each of E sequences of log-probabilities, in one call.

    Args:
        log_probs: (E, B, T, V).
        batch: lengths and targets.

    Returns:
        (E) losses; an utterance too short for its transcript counts as zero.
    """
    exits, size, time, vocabulary = log_probs.shape
    losses = F.ctc_loss(
        log_probs.permute(2, 0, 1, 3).reshape(time, exits * size, vocabulary),
        batch.targets.to(log_probs.device).repeat(exits),
        batch.lengths.repeat(exits),
        batch.target_lengths.repeat(exits),
        reduction="none",
        zero_infinity=True,
    ).reshape(exits, size)
    return losses.sum(dim=1) / batch.target_lengths.sum()


def phone_losses(log_probs: Tensor, batch: Batch, bigram: Bigram | None = None, share: float = 0.0) -> Tensor:
    """Mean CTC loss per phone of each of E sequences of phones' log-probabilities, in one call.

    Hierarchical CTC (arXiv 1807.06234) teaches lower layers units that are nearer to sound. With a bigram, so large a
    share of CTC-CRF's denominator is added (``edge_asr.training.crf``): at 1 the loss is how unlikely the transcript's
    phones are among all that the bigram allows.

    Args:
        log_probs: (E, B, T, P).
        batch: lengths, and ``phones``; utterances without any weigh nothing.
        bigram: of phones.
        share: 0 to 1.

    Returns:
        (E) losses, 0 where no utterance has phones; one too short for its phones counts as zero.
    """
    exits = len(log_probs)
    if batch.phones is None or batch.phone_lengths is None or not bool((batch.phone_lengths > 0).any()):
        return log_probs.new_zeros(exits)
    known = batch.phone_lengths > 0
    counts = batch.phone_lengths[known]
    rows = log_probs[:, known.to(log_probs.device)]
    losses = F.ctc_loss(
        rows.permute(2, 0, 1, 3).reshape(rows.shape[2], exits * len(counts), rows.shape[3]),
        batch.phones.to(log_probs.device).repeat(exits),
        batch.lengths[known].repeat(exits),
        counts.repeat(exits),
        reduction="none",
        zero_infinity=True,
    ).reshape(exits, len(counts))
    if bigram is not None and share:
        lengths = batch.lengths[known].repeat(exits)
        sums = log_partition(rows.reshape(exits * len(counts), *rows.shape[2:]), lengths, bigram)
        likely = bigram.score(batch.phones, counts).to(sums.device)
        fits = losses > 0  # CTC gave 0 to one too short for its phones
        losses = losses + share * torch.where(fits, sums.reshape(exits, -1) - likely, 0)
    return losses.sum(dim=1) / counts.sum()
