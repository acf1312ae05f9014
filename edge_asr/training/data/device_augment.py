"""The same augmentation as ``augment``, for whole batches in device memory."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from edge_asr.model.logmel import LOG_FLOOR
from edge_asr.training.batch import Batch
from edge_asr.training.config import AugmentConfig
from edge_asr.training.data.augment import CORNERS, gain_curve

DB = 0.2302585092994046  # natural-log power units in a decibel


class DeviceAugmenter:
    """Changes a batch's log-mels at random: gain, warp, noise, bandwidth, SpecAugment, and silence after the end.

    Random numbers come from a CPU generator, so that a seed gives the same on every device.
    """

    def __init__(self, config: AugmentConfig, mean: Tensor, noise: Tensor | None) -> None:
        self.config, self.mean, self.noise = config, mean, noise

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """A changed batch; utterances get up to ``tail_frames`` frames of digital silence."""
        c, x = self.config, batch.mels
        size, rows, bins = x.shape

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return (low + (high - low) * torch.rand(size, *(shape or (1, 1)), generator=generator)).to(x.device)

        place = torch.arange(rows, device=x.device)[None, :, None]
        used = (4 * batch.lengths + 3).to(x.device)[:, None, None]
        x = x + uniform(-c.gain_db, c.gain_db) * DB
        bin_place = torch.arange(bins, device=x.device)[None, None]
        if c.frequency_warp:
            source = (bin_place / (1 + uniform(-c.frequency_warp, c.frequency_warp))).clamp(max=bins - 1)
            lower = source.floor().long().expand_as(x)
            x = torch.lerp(x.gather(2, lower), x.gather(2, (lower + 1).clamp(max=bins - 1)), source - source.floor())
        if c.equalize_db:
            corners = (uniform(0, bins - 1, CORNERS), uniform(-c.equalize_db, c.equalize_db, CORNERS))
            curves = [
                gain_curve(bins, p.cpu().double().numpy(), g.cpu().double().numpy())
                for p, g in zip(*corners, strict=True)
            ]
            x = x + torch.stack(curves)[:, None].to(x) * DB
        if self.noise is not None and c.noise_probability:
            start = (uniform(0, 1) * max(1, len(self.noise) - rows)).long()
            noise = self.noise[(start + place).squeeze(-1) % len(self.noise)].float()
            real = place < used
            speech_level = (x.exp() * real).sum(dim=(1, 2), keepdim=True) / (real.sum(dim=1, keepdim=True) * bins)
            level = speech_level.log() - noise.exp().mean(dim=(1, 2), keepdim=True).log() - uniform(*c.snr_db) * DB
            mixed = torch.logaddexp(x, noise + level)
            x = torch.where(uniform(0, 1) < c.noise_probability, mixed, x)
        cut = uniform(55, bins).floor()
        slope = ((bin_place - cut) / (bins - cut)).clamp(min=0) * uniform(5, 60) * DB
        x = torch.where(uniform(0, 1) < c.bandwidth_probability, x - slope, x).clamp(min=LOG_FLOOR)
        for _ in range(c.frequency_masks):
            width = (uniform(0, 1) * (c.frequency_width + 1)).floor()
            first = (uniform(0, 1) * (bins - width + 1)).floor()
            x = torch.where((bin_place >= first) & (bin_place < first + width), self.mean, x)
        for _ in range(c.time_masks):
            most = (used * c.time_share).clamp(max=c.time_width).floor()
            width = (uniform(0, 1) * (most + 1)).floor()
            first = (uniform(0, 1) * (used - width + 1)).floor()
            x = torch.where((place >= first) & (place < first + width), self.mean, x)
        x = torch.where(place < used, x, LOG_FLOOR)
        # Views of an utterance differ in all but their length.
        tail = torch.randint(0, c.tail_frames + 1, (size // batch.views,), generator=generator).repeat(batch.views)
        lengths = batch.lengths + tail
        need = 4 * int(lengths.max()) + 3
        x = torch.nn.functional.pad(x, (0, 0, 0, max(0, need - rows)), value=LOG_FLOOR)
        return replace(batch, mels=x[:, :need], lengths=lengths)
