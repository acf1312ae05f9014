"""What a run will cost, and rehearsals of the configurations for the whole of LibriSpeech."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_asr.training.config import TrainConfig
from edge_asr.training.estimate import estimate, noise_batch, rehearse

MODEL: dict[str, Any] = {"dim": 32, "heads": 2, "vocabulary": 12, "exits": 2, "layers": 1, "history": 16}


def config(**optim: Any) -> TrainConfig:
    phases = [{"until": 0.5, "depths": {1: 1.0}}, {"until": 1.0, "splice": 0.2}]
    return TrainConfig.from_dict({"name": "test", "model": MODEL | {"branches": [1]}, "optim": optim, "phases": phases})


def test_by_updates() -> None:
    size = estimate(config(steps=3600, batch_seconds=100), data_hours=10, speed=50, processes=4)
    assert (size.updates, size.audio_hours, size.passes) == (3600, 100, 10)
    assert (size.hours, size.process_hours) == (0.5, 2.0)
    assert (
        estimate(config(steps=3600, batch_seconds=100, consistency=0.2), data_hours=10, speed=50, processes=4).passes
        == 5
    )


def test_by_the_clock() -> None:
    size = estimate(config(minutes=30, batch_seconds=100), data_hours=10, speed=50, processes=4)
    assert (size.updates, size.hours, size.process_hours) == (3600, 0.5, 2.0)


def test_rehearsal() -> None:
    with_views = config(steps=10, consistency=0.2)
    assert rehearse(with_views, torch.device("cpu"), updates=4, batch_seconds=6) > 0
    batch = noise_batch(with_views, 6, 2, np.random.default_rng(0))
    assert batch.views == 2
    assert len(batch.mels) == len(batch.target_lengths) == len(batch.texts)
    assert batch.mels.shape[1] == 4 * int(batch.lengths.max()) + 3


def test_rehearsal_with_phones() -> None:
    values = config(steps=10, consistency=0.2).to_dict()
    values["model"]["phones"], values["optim"]["phones"] = 7, 0.5
    asked = TrainConfig.from_dict(values)
    assert rehearse(asked, torch.device("cpu"), updates=2, batch_seconds=6) > 0
    batch = noise_batch(asked, 6, 2, np.random.default_rng(0))
    assert batch.phones is not None
    assert batch.phone_lengths is not None
    assert len(batch.phone_lengths) == len(batch.mels)
    assert batch.phones.shape == (int(batch.phone_lengths.sum()),)
    assert 1 <= int(batch.phones.min()) <= int(batch.phones.max()) <= 6


def test_dry_run(repository: Path) -> None:
    command = [sys.executable, "scripts/train.py", "--config", "scripts/configs/en-tiny-960h.yaml", "--dry-run"]
    command += ["--speed", "4000", "--processes", "8", "--threads", "1", "--device", "cpu"]
    done = subprocess.run(
        command,
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "en-tiny: every phase works on cpu" in done.stdout
    assert "passes over 960 h" in done.stdout
    assert "at 4000 s per second (as given) and 8 processes" in done.stdout


@pytest.mark.parametrize("missing", ["--data", "--out"])
def test_a_run_needs_data_and_a_folder(repository: Path, missing: str) -> None:
    arguments = {"--data": "d", "--out": "o"}
    del arguments[missing]
    command = [
        sys.executable,
        "scripts/train.py",
        "--config",
        "c.yaml",
        *[x for pair in arguments.items() for x in pair],
    ]
    done = subprocess.run(
        command,
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--data and --out are required" in done.stderr
