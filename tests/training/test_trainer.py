"""The trainer learns, can be killed at any moment, and goes on where it was."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lhotse import CutSet

from edge_asr.errors import DataError, OptionError
from edge_asr.training.checkpoint import load_model, read_checkpoint, save_checkpoint
from edge_asr.training.config import TrainConfig
from edge_asr.training.crf import Bigram
from edge_asr.training.data.batches import read_part
from edge_asr.training.data.teacher import cache_states, measure
from edge_asr.training.phones import PHONES, Pronunciations
from edge_asr.training.trainer import Trainer
from edge_asr.training.weights import lineage, load_weights, save_weights

VALUES: dict[str, Any] = {
    "name": "test",
    "model": {"dim": 32, "heads": 2, "vocabulary": 12, "exits": 2, "layers": 1, "history": 16, "branches": [1]},
    "data": {"dev_utterances": 8},
    "augment": {"noise_probability": 0.2, "time_masks": 0, "frequency_masks": 0, "tail_frames": 4},
    "optim": {"steps": 60, "batch_seconds": 20, "warmup_steps": 10, "optimizer": "muon", "muon_lr": 0.01, "ema": 0.9},
    "phases": [{"until": 0.5, "max_seconds": 3, "depths": {1: 0.3, 2: 0.7}}, {"until": 1.0, "splice": 0.2}],
}


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "train.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    Trainer(TrainConfig.from_dict(VALUES), prepared, out).run()
    return out


def test_it_learns(trained: Path) -> None:
    log = rows(trained)
    assert [int(row["step"]) for row in log] == list(range(1, 61))
    for exit in ("loss1", "loss2"):
        losses = [float(row[exit]) for row in log if row[exit]]
        assert losses[-1] < 0.5 * losses[0]
    assert {row["phase"] for row in log} == {"0", "1"}
    assert {row["loss2"] == "" for row in log if row["phase"] == "0"} == {True, False}  # some batches were shallow
    assert all(float(row["splice"]) > 0 for row in log if row["phase"] == "1" and row["chunk"] != "0")
    with (trained / "dev.csv").open() as file:
        assert next(csv.DictReader(file)).keys() >= {"step", "corpus", "wer1", "wer2"}


def test_a_resumed_run_makes_the_same_updates(trained: Path, prepared: Path, tmp_path: Path) -> None:
    values = VALUES | {"optim": VALUES["optim"]}
    first = Trainer(TrainConfig.from_dict(values), prepared, tmp_path / "run")
    count = 0

    class Stop:
        """Asks the trainer to stop after 20 updates, as Ctrl-C does."""

        def __enter__(self) -> Stop:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def train(self, *_: object) -> None:
            nonlocal count
            count += 1
            first.stopped = count == 20

        def dev(self, *_: object) -> None:
            pass

    first.run(reporter=Stop())  # type: ignore[arg-type]
    assert read_checkpoint(tmp_path / "run" / "last.pt")["step"] == 20
    second = Trainer(TrainConfig.from_dict(values), prepared, tmp_path / "run")
    assert (second.step, second.epoch, second.batch) == (first.step, first.epoch, first.batch)
    second.run()
    ours, whole = rows(tmp_path / "run"), rows(trained)
    assert [row["step"] for row in ours] == [str(i) for i in range(21, 61)]
    for a, b in zip(ours, whole[20:], strict=True):
        assert float(a["loss1"]) == pytest.approx(float(b["loss1"]), rel=0.02, abs=0.02)


def test_kill_nine_loses_only_what_came_after_the_last_checkpoint(
    prepared: Path, tmp_path: Path, repository: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(VALUES | {"optim": VALUES["optim"] | {"steps": 100_000}}))
    out = tmp_path / "run"
    command = [sys.executable, "scripts/train.py", "--config", str(config), "--data", str(prepared), "--out", str(out)]
    command += ["--save-minutes", "0.01", "--threads", "1"]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    process = subprocess.Popen(command, cwd=repository, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "last.pt").exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    step = read_checkpoint(out / "last.pt")["step"]
    assert step > 0
    logged = len(rows(out))
    process = subprocess.Popen(command, cwd=repository, env=environment, stderr=subprocess.PIPE, text=True)
    while len(rows(out)) < logged + 3:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert int(rows(out)[logged]["step"]) == step + 1
    assert read_checkpoint(out / "last.pt")["step"] >= step + 3


def test_a_checkpoint_of_other_sizes_is_refused(trained: Path, prepared: Path) -> None:
    values = VALUES | {"model": VALUES["model"] | {"dim": 16}}
    with pytest.raises(DataError, match="other sizes"):
        Trainer(TrainConfig.from_dict(values), prepared, trained)


def test_a_checkpoint_older_than_an_option_goes_on(trained: Path, prepared: Path, tmp_path: Path) -> None:
    saved = read_checkpoint(trained / "last.pt")
    for option in ("slow", "phones"):
        del saved["config"]["model"][option]
    save_checkpoint(tmp_path / "last.pt", saved)
    assert Trainer(TrainConfig.from_dict(VALUES), prepared, tmp_path).step == 60


def test_bad_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint")
    save_checkpoint(tmp_path / "other.pt", {"weights": torch.zeros(2)})
    for name in ("text.pt", "other.pt", "none.pt"):
        with pytest.raises(DataError, match=name):
            read_checkpoint(tmp_path / name)


def test_weights_file_round_trip(trained: Path, tmp_path: Path) -> None:
    model, tokenizer, _ = load_model(trained / "last.pt")
    path = tmp_path / "w.safetensors"
    save_weights(path, model, tokenizer, {"step": 60})
    again, tokens, notes = load_weights(path)
    assert notes == {"step": 60}
    assert tokens.pieces() == tokenizer.pieces()
    for name, p in again.state_dict().items():
        assert torch.equal(p, model.state_dict()[name].to(torch.bfloat16).float())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="cannot be read"):
        load_weights(path)


def test_weights_know_the_runs_they_come_from(trained: Path, prepared: Path, tmp_path: Path) -> None:
    model, tokenizer, notes = load_weights(trained / "last.pt")
    first = lineage(notes)
    assert [(run["updates"], run["teacher"]) for run in first] == [(60, False)]
    assert first[0]["name"] == VALUES["name"]  # for the credits of models that go on from it
    assert first[0]["corpora"] == notes["corpora"]
    assert notes["corpora"]
    values = VALUES | {"optim": VALUES["optim"] | {"steps": 3}}
    start: dict[str, Any] = {"init": model.state_dict(), "tokenizer": tokenizer, "earlier": first}
    Trainer(TrainConfig.from_dict(values), prepared, tmp_path / "more", **start).run()
    Trainer(TrainConfig.from_dict(values), prepared, tmp_path / "more").save()  # resumed, it still knows
    assert [run["updates"] for run in lineage(load_weights(tmp_path / "more" / "last.pt")[2])] == [60, 3]


def test_init_starts_from_the_weights(trained: Path, prepared: Path, tmp_path: Path) -> None:
    model, tokenizer, _ = load_model(trained / "last.pt")
    config = TrainConfig.from_dict(VALUES)
    fresh = Trainer(config, prepared, tmp_path / "fine", init=model.state_dict(), tokenizer=tokenizer)
    scored = Trainer(config, prepared, trained).evaluate()
    assert fresh.evaluate() == scored
    fresh.stopped = True  # after one update
    fresh.run()
    with (tmp_path / "fine" / "dev.csv").open() as file:
        before = list(csv.DictReader(file))
    assert [row["step"] for row in before] == ["0"]  # what there was before, for comparison
    assert [float(before[0][f"wer{i}"]) for i in (1, 2)] == pytest.approx(scored["dev-tones"].wers, abs=1e-3)


def test_two_views_and_a_teacher_are_learned_and_resumed(prepared: Path, tmp_path: Path) -> None:
    folder = prepared / "teacher"
    folder.mkdir(exist_ok=True)
    statistics = folder / "statistics.json"
    cuts = read_part(prepared, "train", ("tones",))["tones"]
    measure(Levels(), [c.recording.sources[0].source for c in cuts], statistics, "a level meter")
    cache_states(Levels(), cuts, statistics, folder / "tones.i8")
    optim = VALUES["optim"] | {"steps": 30, "consistency": 0.2, "teacher": 1.0, "teacher_exits": [1, 2]}
    values = VALUES | {"data": VALUES["data"] | {"teacher": True}, "optim": optim}
    trainer = Trainer(TrainConfig.from_dict(values), prepared, tmp_path / "run")
    trainer.run()
    log = rows(tmp_path / "run")
    taught = [float(row["teacher"]) for row in log if float(row["teacher"])]
    assert sum(taught[-5:]) < 0.8 * sum(taught[:5])
    assert all(float(row["consistency"]) > 0 for row in log)
    resumed = Trainer(TrainConfig.from_dict(values), prepared, tmp_path / "run")
    for name, p in trainer.learner.heads["teacher"].state_dict().items():
        assert torch.equal(p, resumed.learner.heads["teacher"].state_dict()[name])
    _, _, notes = load_weights(tmp_path / "run" / "last.pt")
    assert [run["teacher"] for run in lineage(notes)] == ["a level meter"]
    # The teacher leaves no trace in what is exported.
    assert set(trainer.learner.ema) == set(trainer.learner.model.state_dict())


@pytest.mark.parametrize("crf", [0.0, 0.9])
def test_phones_are_learned_beside_word_pieces(crf: float, prepared: Path, tmp_path: Path) -> None:
    cuts = read_part(prepared, "train", ("tones",))["tones"]
    words = sorted({word for cut in cuts for word in cut.supervisions[0].text.split()})
    # One word is not in the dictionary: its utterances are learned from word pieces alone.
    lines = [
        f"{word.lower()} {' '.join(PHONES[(7 * i + j) % 39] for j in range(2))}" for i, word in enumerate(words[1:])
    ]
    (prepared / "pronunciations.dict").write_text("\n".join(lines))
    model = VALUES["model"] | {"phones": 1 + len(PHONES)}
    values = VALUES | {
        "model": model,
        "optim": VALUES["optim"] | {"steps": 30, "phones": 0.5, "head_lr": 0.01, "crf": crf},
    }
    trainer = Trainer(TrainConfig.from_dict(values), prepared, tmp_path / "run")
    if trainer.learner.bigram is not None:  # what can't be said is not counted as silence
        corpora = read_part(prepared, "train", ())
        said = Pronunciations.read(prepared / "pronunciations.dict")
        ids = [said.encode(cut.supervisions[0].text) for cuts in corpora.values() for cut in cuts]
        assert None in ids
        known = Bigram.count([row for row in ids if row], 1 + len(PHONES))
        assert torch.equal(trainer.learner.bigram.table, known.table)
    trainer.run()
    learned = [float(row["phones"]) for row in rows(tmp_path / "run") if float(row["phones"])]
    assert sum(learned[-5:]) < 0.8 * sum(learned[:5])
    resumed = Trainer(TrainConfig.from_dict(values), prepared, tmp_path / "run")
    heads = {name for name in trainer.learner.ema if ".exit.phones." in name}
    assert len(heads) == 2 * 4  # of every exit, and averaged
    for name in heads:
        assert torch.equal(trainer.learner.ema[name], resumed.learner.ema[name])
    kept, _, _ = load_weights(tmp_path / "run" / "last.pt")
    assert kept.config.phones == 1 + len(PHONES)
    # Where no loss asks for phones, their heads stay as they are.
    mute = VALUES | {"model": model, "optim": VALUES["optim"] | {"steps": 2}}
    quiet = Trainer(TrainConfig.from_dict(mute), prepared, tmp_path / "quiet", init=kept.state_dict())
    quiet.run(dev_minutes=0)
    now = quiet.learner.model.state_dict()
    assert {name for name, p in kept.state_dict().items() if torch.equal(p, now[name])} >= heads
    few = values | {"model": VALUES["model"] | {"phones": 40}}
    with pytest.raises(OptionError, match="phones is 40; allowed: 79"):
        Trainer(TrainConfig.from_dict(few), prepared, tmp_path / "few")
    (prepared / "pronunciations.dict").unlink()
    with pytest.raises(DataError, match=r"does not exist: make it with scripts/prepare_data\.py --pronunciations, or"):
        Trainer(TrainConfig.from_dict(values), prepared, tmp_path / "other")


@pytest.mark.parametrize("architecture", ["splitformer-two-speed", "splitformer-absent"])
def test_batches_under_patterns_of_exits(architecture: str, prepared: Path, tmp_path: Path) -> None:
    values = VALUES | {
        "model": VALUES["model"] | {"architecture": architecture},
        "optim": VALUES["optim"] | {"steps": 30},
        "phases": [{"patterns": 0.6}],
    }
    Trainer(TrainConfig.from_dict(values), prepared, tmp_path / "run").run()
    log = rows(tmp_path / "run")
    patterns = [float(row["splice"]) for row in log if not row["loss1"]]
    assert 5 < len(patterns) < 25
    assert sum(patterns[-3:]) < 0.8 * sum(patterns[:3])


class Levels:
    """A teacher that hears how loud a frame is."""

    def states(self, pcm: Any) -> Any:
        frames = -(-len(pcm) // 640)
        padded = np.zeros(frames * 640, np.float32)
        padded[: len(pcm)] = pcm
        level = np.log(1e-4 + np.abs(padded.reshape(frames, 640)).mean(axis=1))
        return np.stack([level, -level, level * 2], axis=1).astype(np.float32)


def test_a_run_that_becomes_longer_goes_back_to_the_phase_that_is_due(
    trained: Path, prepared: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    longer = VALUES | {"optim": VALUES["optim"] | {"steps": 600}}
    trainer = Trainer(TrainConfig.from_dict(longer), prepared, tmp_path / "run")
    assert (trainer.step, trainer.phase, trainer.batch) == (60, 0, 0)
    same = Trainer(TrainConfig.from_dict(VALUES), prepared, tmp_path / "run")
    assert (same.step, same.phase) == (60, 1)


def test_a_text_that_can_not_be_spelled_is_named_before_the_first_update(
    trained: Path, prepared: Path, tmp_path: Path
) -> None:
    model, tokenizer, _ = load_weights(trained / "last.pt")
    shutil.copytree(prepared, tmp_path / "prepared")
    path = tmp_path / "prepared" / "train" / "tones" / "cuts.jsonl.gz"
    cuts = list(CutSet.from_file(path))
    cuts[7] = replace(cuts[7], supervisions=[replace(cuts[7].supervisions[0], text="one 2")])
    CutSet.from_cuts(cuts).to_file(path)
    config = TrainConfig.from_dict(VALUES)
    start: dict[str, Any] = {"init": model.state_dict(), "tokenizer": tokenizer}
    with pytest.raises(DataError, match="corpus 'tones', utterance 'tones-007': text 'one 2'"):
        Trainer(config, tmp_path / "prepared", tmp_path / "run", **start)
