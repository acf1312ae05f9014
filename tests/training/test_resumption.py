"""A run that goes on trains on the batches that are left, and refuses what would make another run of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from edge_asr.errors import DataError, EdgeAsrError, OptionError
from edge_asr.training.checkpoint import changes, read_checkpoint, save_checkpoint
from edge_asr.training.config import TrainConfig
from edge_asr.training.progress import scored_step
from edge_asr.training.trainer import Trainer
from tests.training.test_trainer import VALUES

SHORT: dict[str, Any] = VALUES | {"optim": VALUES["optim"] | {"steps": 12, "optimizer": "adamw", "batch_seconds": 12}}


class Watch:
    """A reporter that may end the run at an update, as a lost machine does: nothing more is saved."""

    def __init__(self, last: int = 0) -> None:
        self.last, self.scored = last, 0

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def train(self, moment: Any, *_: object) -> None:
        if moment.step == self.last:
            raise RuntimeError("killed")

    def dev(self, *_: object) -> None:
        self.scored += 1


def run(prepared: Path, out: Path, last: int = 0) -> list[list[str]]:
    """Trains on from what is there, saving after each update; the transcripts of each batch."""
    trainer = Trainer(TrainConfig.from_dict(SHORT), prepared, out)
    heard: list[list[str]] = []
    update: Callable[..., dict[str, Any]] = trainer.learner.update

    def listen(phase: Any, batch: Any, progress: float) -> dict[str, Any]:
        heard.append(batch.texts)
        return update(phase, batch, progress)

    trainer.learner.update = listen  # type: ignore[method-assign]
    watch: Any = Watch(last)
    if last:
        with pytest.raises(RuntimeError, match="killed"):
            trainer.run(save_minutes=0, dev_minutes=0, reporter=watch)
    else:
        trainer.run(save_minutes=0, dev_minutes=0, reporter=watch)
        assert watch.scored == 1
    return heard


@pytest.fixture(scope="module")
def whole(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("resumption") / "whole"
    Trainer(TrainConfig.from_dict(SHORT), prepared, out).run(dev_minutes=0)
    return out


@pytest.mark.parametrize("last", [5, 9])  # in the first phase and in the second
def test_a_killed_run_trains_on_each_batch_once(last: int, prepared: Path, tmp_path: Path) -> None:
    expected = run(prepared, tmp_path / "whole")
    assert len(expected) == 12
    first = run(prepared, tmp_path / "cut", last)
    assert first == expected[:last]
    assert read_checkpoint(tmp_path / "cut" / "last.pt")["step"] == last - 1  # the last update was not saved
    assert run(prepared, tmp_path / "cut") == expected[last - 1 :]


def test_a_finished_run_is_left_as_it_is(whole: Path, prepared: Path, tmp_path: Path, repository: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SHORT))
    command = [sys.executable, "scripts/train.py", "--config", str(tmp_path / "config.yaml"), "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    done = subprocess.run(
        [*command, "--data", str(prepared)], cwd=repository, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "was finished before, after 12 updates" in done.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    # Killed between its last checkpoint and the scoring of it, it is scored, and no more.
    (out / "dev.csv").unlink()
    assert scored_step(out) is None
    Trainer(TrainConfig.from_dict(SHORT), prepared, out).run()
    assert scored_step(out) == 12
    assert (out / "last.pt").read_bytes() == before["last.pt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optim": SHORT["optim"] | {"optimizer": "muon"}}, r"optim\.optimizer was 'adamw', is 'muon'"),
        ({"optim": SHORT["optim"] | {"exit_weights": [1, 2]}}, r"optim\.exit_weights was \(\), is \(1\.0, 2\.0\)"),
        ({"augment": VALUES["augment"] | {"pace": 0.1}}, r"augment\.pace was 0\.0, is 0\.1"),
        ({"data": VALUES["data"] | {"speeds": [0.9, 1.0]}}, r"data\.speeds was \(1\.0,\), is \(0\.9, 1\.0\)"),
        ({"phases": [{"splice": 0.1}]}, "phases were"),
        ({"seed": 2}, "seed was 1, is 2"),
    ],
)
def test_other_options_are_refused(change: dict[str, Any], message: str, whole: Path, prepared: Path) -> None:
    before = (whole / "last.pt").read_bytes()
    with pytest.raises(OptionError, match=message):
        Trainer(TrainConfig.from_dict(SHORT | change), prepared, whole)
    assert (whole / "last.pt").read_bytes() == before


def test_what_may_change_and_what_older_checkpoints_lack() -> None:
    config = TrainConfig.from_dict(SHORT)
    longer = SHORT | {"optim": SHORT["optim"] | {"steps": 99, "precision": "float32"}, "data": {"dev": ["other"]}}
    assert changes(config.to_dict(), TrainConfig.from_dict(longer)) == []
    old = config.to_dict()
    del old["optim"]["crf"], old["augment"]["equalize_db"], old["phases"][0]["patterns"]
    old["optim"]["forgotten"] = 1
    assert changes(old, config) == []
    assert changes({"model": {}}, config) == []


def test_other_recordings_weights_and_states_are_refused(whole: Path, prepared: Path, tmp_path: Path) -> None:
    config = TrainConfig.from_dict(SHORT)
    saved = read_checkpoint(whole / "last.pt")

    def refused(change: dict[str, Any], message: str, error: type[EdgeAsrError] = DataError, **more: Any) -> None:
        save_checkpoint(tmp_path / "last.pt", saved | change)
        with pytest.raises(error, match=message):
            Trainer(config, prepared, tmp_path, **more)

    hours = saved["corpora"]
    refused({"corpora": hours | {"tones": hours["tones"] / 2}}, "h of corpus 'tones', now")
    refused({"corpora": hours | {"gone": 1.0}}, "1.000 h of corpus 'gone', now 0.000 h")
    refused({"optimizers": []}, "does not fit")
    weights = {name: torch.zeros_like(p) for name, p in saved["model"].items()}
    refused({}, "did not start from the weights that are given", init=weights)
    # An older checkpoint does not say what it started from, or on what: it is believed.
    save_checkpoint(tmp_path / "last.pt", {k: v for k, v in saved.items() if k not in ("init", "corpora")})
    assert Trainer(config, prepared, tmp_path, init=weights).step == 12


def test_the_same_weights_go_on(whole: Path, prepared: Path, tmp_path: Path) -> None:
    config, weights = TrainConfig.from_dict(SHORT), read_checkpoint(whole / "last.pt")["ema"]
    Trainer(config, prepared, tmp_path, init=weights).save()
    assert Trainer(config, prepared, tmp_path, init=weights).step == 0
    Trainer(config, prepared, tmp_path).save()  # left out, they are not forgotten
    with pytest.raises(DataError, match="did not start from"):
        Trainer(config, prepared, tmp_path, init={name: torch.zeros_like(p) for name, p in weights.items()})
