"""What a run will cost, and whether its configuration works: a few updates on noise, without data."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from edge_asr.model.model import AsrModel
from edge_asr.training.batch import Batch
from edge_asr.training.config import TrainConfig
from edge_asr.training.crf import Bigram
from edge_asr.training.learner import Learner


@dataclass(frozen=True, slots=True)
class Estimate:
    """The size of a run.

    Args:
        parameters: of the model.
        updates: of the run.
        audio_hours: heard in all, augmented views counted.
        passes: over the data.
        hours: of time, with all processes.
        process_hours: of all processes together.

    Example:
        >>> config = TrainConfig.load(Path("scripts/configs/en-small-960h.yaml"))  # doctest: +SKIP
        >>> estimate(config, data_hours=960, speed=4000, processes=8).hours  # doctest: +SKIP
    """

    parameters: int
    updates: int
    audio_hours: float
    passes: float
    hours: float
    process_hours: float


def estimate(config: TrainConfig, *, data_hours: float, speed: float, processes: int) -> Estimate:
    """Work out a run's size from its configuration.

    Args:
        config: the run.
        data_hours: of the training data; weights and limits of phases are not looked at.
        speed: seconds of audio that one process trains on in a second.
        processes: how many share the work; that they share it without loss is assumed.
    """
    optim = config.optim
    per_second = speed * processes
    updates = int(60 * optim.minutes * per_second / optim.batch_seconds) if optim.minutes else optim.steps
    seconds = updates * optim.batch_seconds
    hours = optim.minutes / 60 if optim.minutes else seconds / per_second / 3600
    return Estimate(
        parameters=sum(p.numel() for p in AsrModel(config.model).parameters()),
        updates=updates,
        audio_hours=seconds / 3600,
        passes=seconds / 3600 / optim.views / data_hours,
        hours=hours,
        process_hours=hours * processes,
    )


def rehearse(
    config: TrainConfig,
    device: torch.device,
    *,
    updates: int = 8,
    batch_seconds: float = 24.0,
    utterance_seconds: float = 3.0,
    seed: int = 0,
) -> float:
    """Make updates on noise in every phase, with the run's model, losses and optimisers.

    A teacher's states are left out, as they come with data; phones are random.

    Args:
        config: the run.
        device: where.
        updates: in all, spread over the phases; the first one is not timed.
        batch_seconds: audio in a batch.
        utterance_seconds: length of an utterance, more or less.
        seed: of the noise.

    Returns:
        Seconds of audio in a second, on the batches made here.
    """
    bigram = Bigram.count([], config.model.phones) if config.optim.crf else None
    learner = Learner(config, AsrModel(config.model), device, bigram=bigram)
    rng = np.random.default_rng(seed)
    ends = [phase.until for phase in config.phases]
    audio = spent = 0.0
    for update in range(updates):
        number = min(update * len(ends) // max(1, updates), len(ends) - 1)
        batch = noise_batch(config, batch_seconds, utterance_seconds, rng)
        started = time.monotonic()
        learner.update(config.phases[number], batch, ends[number] / 2)
        if update or updates == 1:
            audio, spent = audio + batch.seconds, spent + time.monotonic() - started
    return audio / spent


def noise_batch(config: TrainConfig, seconds: float, utterance_seconds: float, rng: np.random.Generator) -> Batch:
    """A batch of noise with random transcripts, of the run's number of views; with phones, if the model has them."""
    frames = max(20, int(utterance_seconds * 25 * rng.uniform(0.7, 1.3)))
    count = max(1, round(seconds / config.optim.views / (0.04 * frames)))
    tokens = rng.integers(1, config.model.vocabulary, size=(count, 10))
    phones = rng.integers(1, config.model.phones, size=tokens.shape) if config.model.phones else None
    views = config.optim.views
    mels = torch.from_numpy(rng.standard_normal((count * views, 4 * frames + 3, config.model.mels), dtype=np.float32))
    return Batch(
        mels,
        torch.full((count * views,), frames),
        torch.from_numpy(np.tile(tokens, (views, 1)).ravel()),
        torch.full((count * views,), tokens.shape[1]),
        count * views * frames * 0.04,
        ["" for _ in range(count * views)],
        views,
        phones=None if phones is None else torch.from_numpy(np.tile(phones, (views, 1)).ravel()),
        phone_lengths=None if phones is None else torch.full((count * views,), phones.shape[1]),
    )
