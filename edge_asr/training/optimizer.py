"""Optimisers and the learning-rate schedule."""

from __future__ import annotations

import re

import torch
from torch import nn

from edge_asr.training.config import OptimConfig
from edge_asr.training.muon import Muon

OUTPUTS = (".exit.", "subsampling", "teacher.")  # matrices that Muon is not for: input and output layers
HEADS = re.compile(r"^teacher\.|\.exit\.phones\.")  # a teacher's, beside the model, and the exits' for phones

Optimizers = list[tuple[torch.optim.Optimizer, float]]


def build_optimizers(model: nn.Module, config: OptimConfig, muon_dtype: torch.dtype | None = None) -> Optimizers:
    """Optimisers with their peak learning rates; weight decay on matrices only.

    With ``muon`` the encoder's matrices go to Muon (``muon_dtype``: to orthogonalise in) and everything else (vectors,
    convolutions, output layers) to AdamW, and with ``head_lr`` the heads to one of their own.
    """
    matrices, muon, vectors, heads = [], [], [], []
    for name, p in model.named_parameters():
        if config.head_lr and HEADS.search(name):
            heads.append(p)
        elif p.ndim < 2:
            vectors.append(p)
        elif config.optimizer == "muon" and p.ndim == 2 and not any(part in name for part in OUTPUTS):
            muon.append(p)
        else:
            matrices.append(p)
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    result: Optimizers = [
        (torch.optim.AdamW(groups, lr=config.peak_lr, betas=(0.9, config.beta2), eps=1e-9), config.peak_lr)
    ]
    if muon:
        optimizer = Muon(muon, lr=config.muon_lr, weight_decay=config.weight_decay, dtype=muon_dtype)
        result.append((optimizer, config.muon_lr))
    if heads:
        groups = [
            {"params": [p for p in heads if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in heads if p.ndim < 2], "weight_decay": 0.0},
        ]
        result.append(
            (torch.optim.AdamW(groups, lr=config.head_lr, betas=(0.9, config.beta2), eps=1e-9), config.head_lr)
        )
    return result


def rate(config: OptimConfig, step: int, progress: float) -> float:
    """Share of the peak learning rate: linear warm-up by steps, held, then linear to 2 % at the end of the run.

    Args:
        config: the schedule.
        step: updates done.
        progress: share of the run done, 0 to 1.
    """
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    fall = 1.0 if progress <= config.hold else 1.0 - 0.98 * min(1.0, (progress - config.hold) / (1.0 - config.hold))
    return min(warm, fall)
