"""The mean of checkpoints is their weights' mean and nothing else's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from edge_asr.model.config import ModelConfig
from edge_asr.model.model import AsrModel
from edge_asr.training.checkpoint import read_checkpoint, save_checkpoint
from edge_asr.training.tokenizer import Tokenizer
from edge_asr.training.weights import load_weights, save_weights

CONFIG = ModelConfig(dim=16, heads=2, vocabulary=10, exits=2, layers=1, history=16, branches=(1,))


def write(path: Path, seed: int, config: ModelConfig = CONFIG) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    state = AsrModel(config).state_dict()
    save_checkpoint(path, {"model": state, "ema": state, "config": {"model": config.to_dict()}, "step": seed})
    return state


def run(repository: Path, *paths: Path, out: Path, shares: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/average.py", *map(str, paths), "--out", str(out)]
    command += ["--shares", *shares] if shares else []
    environment = os.environ | {"PYTHONPATH": str(repository)}
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)


def test_mean(tmp_path: Path, repository: Path) -> None:
    states = [write(tmp_path / f"{seed}.pt", seed) for seed in (1, 2, 3)]
    done = run(repository, *(tmp_path / f"{seed}.pt" for seed in (1, 2, 3)), out=tmp_path / "mean.pt")
    assert done.returncode == 0, done.stderr
    values = read_checkpoint(tmp_path / "mean.pt")
    assert values["step"] == 3
    for name, p in values["ema"].items():
        assert torch.allclose(p, torch.stack([state[name].double() for state in states]).mean(dim=0).to(p.dtype))
        assert torch.equal(values["model"][name], states[2][name])


def test_shares_of_float_weights_and_what_became_of_them(tmp_path: Path, repository: Path) -> None:
    torch.manual_seed(4)
    before = AsrModel(CONFIG)
    save_weights(tmp_path / "before.safetensors", before, Tokenizer.train(["ONE TWO THREE"] * 20, 10), {})
    after = write(tmp_path / "after.pt", 5)
    paths = (tmp_path / "before.safetensors", tmp_path / "after.pt")
    done = run(repository, *paths, out=tmp_path / "mean.pt", shares=("1", "3"))
    assert done.returncode == 0, done.stderr
    started = load_weights(paths[0])[0].state_dict()
    for name, p in read_checkpoint(tmp_path / "mean.pt")["ema"].items():
        assert torch.allclose(p, 0.25 * started[name] + 0.75 * after[name], atol=1e-6)


def test_shares_that_mean_nothing(tmp_path: Path, repository: Path) -> None:
    paths = [tmp_path / f"{seed}.pt" for seed in (1, 2)]
    for seed, path in enumerate(paths, 1):
        write(path, seed)
    for shares in (("1",), ("0", "0"), ("-1", "2")):
        done = run(repository, *paths, out=tmp_path / "mean.pt", shares=shares)
        assert done.returncode == 1
        assert "shares are" in done.stderr
        assert not (tmp_path / "mean.pt").exists()


def test_other_shapes_are_refused(tmp_path: Path, repository: Path) -> None:
    write(tmp_path / "a.pt", 1)
    write(tmp_path / "b.pt", 2, ModelConfig(dim=32, heads=2, vocabulary=10, exits=2, layers=1, history=16, branches=()))
    done = run(repository, tmp_path / "a.pt", tmp_path / "b.pt", out=tmp_path / "mean.pt")
    assert done.returncode == 1
    assert "a.pt" in done.stderr
    assert not (tmp_path / "mean.pt").exists()


def test_a_folder_that_is_not_there_is_said_before_the_work(tmp_path: Path, repository: Path) -> None:
    write(tmp_path / "a.pt", 1)
    done = run(repository, tmp_path / "a.pt", out=tmp_path / "missing" / "mean.pt")
    assert done.returncode == 1
    assert "mean.pt'; allowed: a file in a folder that exists" in done.stderr
