"""Dev samples: always the same ones, scored as during training, and by a search with a language model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_asr.errors import DataError
from edge_asr.training.config import TrainConfig
from edge_asr.training.dev_sets import DevSets
from edge_asr.training.phones import PHONES, Pronunciations
from edge_asr.training.trainer import Trainer
from edge_asr.training.weights import load_weights, save_weights
from export.arpa import read_arpa
from export.lm import convert
from tests.decoding.toy_lm import write_arpa
from tests.training.corpora import WORDS
from tests.training.test_trainer import VALUES

SAID = {word: [(1 + 2 * i, 2 + 2 * i)] for i, word in enumerate(WORDS)}


@pytest.fixture(scope="module")
def run(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned the tones' words as pieces and as phones."""
    out = tmp_path_factory.mktemp("scored") / "run"
    values: dict[str, Any] = VALUES | {
        "model": VALUES["model"] | {"phones": 1 + len(PHONES)},
        "optim": VALUES["optim"] | {"phones": 0.5, "head_lr": 0.01},
    }
    dictionary = prepared / "pronunciations.dict"
    dictionary.write_text("\n".join(f"{w} {' '.join(PHONES[p - 1] for p in ways[0])}" for w, ways in SAID.items()))
    Trainer(TrainConfig.from_dict(values), prepared, out).run(dev_minutes=0)
    dictionary.unlink()
    return out


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lm")
    arpa = read_arpa(write_arpa(folder / "toy.arpa", words=tuple(WORDS)))
    convert(arpa, folder / "en.lm", Pronunciations(SAID))
    convert(arpa, folder / "mute.lm")
    return folder


def score(repository: Path, *options: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "scripts/score.py", *map(str, options)]
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)


def test_a_sample_is_always_the_same_and_no_larger_than_asked_for(prepared: Path, run: Path) -> None:
    _, tokenizer, notes = load_weights(run / "last.pt")
    config = TrainConfig.from_dict(notes["config"])
    few = replace(config, data=replace(config.data, dev_utterances=3))
    texts = [[t for batch in DevSets(few, prepared, tokenizer).batches["dev-tones"] for t in batch.texts] for _ in "ab"]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 3
    missing = replace(config, data=replace(config.data, dev=("nothing",)))
    with pytest.raises(DataError, match="nothing"):
        DevSets(missing, prepared, tokenizer)


def test_weights_are_scored_as_the_run_scored_them(prepared: Path, run: Path, repository: Path, tmp_path: Path) -> None:
    done = score(repository, run / "last.pt", "--data", prepared, "--out", tmp_path / "errors.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("dev-tones, 8 utterances: ")
    assert json.loads((tmp_path / "errors.json").read_text()) == json.loads((run / "dev_errors.json").read_text())


@pytest.mark.parametrize("name", ["en.lm", "mute.lm"])
def test_a_search_reads_the_last_exit(
    name: str, prepared: Path, run: Path, lm: Path, repository: Path, tmp_path: Path
) -> None:
    done = score(repository, run / "last.pt", "--data", prepared, "--lm", lm / name, "--out", tmp_path / "errors.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "errors.json").read_text())["dev-tones"]
    greedy = json.loads((run / "dev_errors.json").read_text())["dev-tones"]
    assert found["words"] == greedy["words"]
    assert len(found["errors"]) == 1
    assert len(found["errors"][0]) == 8
    assert sum(found["errors"][0]) < 0.5 * sum(found["words"])  # four words, and little noise


def test_each_utterance_is_read_up_to_its_end(prepared: Path, run: Path) -> None:
    model, tokenizer, notes = load_weights(run / "last.pt")
    sets = DevSets(TrainConfig.from_dict(notes["config"]), prepared, tokenizer)
    seen: list[torch.Size] = []

    def read(log_probs: torch.Tensor) -> str:
        seen.append(log_probs.shape)
        return ""

    found = sets.score(model, read)["dev-tones"]
    lengths = [int(n) for batch in sets.batches["dev-tones"] for n in batch.lengths]
    assert seen == [(n, model.config.vocabulary + model.config.phones) for n in lengths]
    assert found.wers == [1.0]  # nothing was read, so every word was missed


def test_weights_without_a_checkpoint_know_their_run(
    prepared: Path, run: Path, repository: Path, tmp_path: Path
) -> None:
    model, tokenizer, notes = load_weights(run / "last.pt")
    assert notes["config"]["phases"][0]["depths"]
    save_weights(tmp_path / "run.safetensors", model, tokenizer, notes)
    done = score(repository, tmp_path / "run.safetensors", "--data", prepared)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("dev-tones, 8 utterances: ")


def test_the_released_weights_say_what_they_are_scored_on(repository: Path) -> None:
    _, _, notes = load_weights(repository / "models" / "en-tiny.safetensors")
    assert TrainConfig.from_dict(notes["config"]).data.dev


def test_weights_without_their_run_need_a_configuration(
    prepared: Path, run: Path, repository: Path, tmp_path: Path
) -> None:
    model, tokenizer, _ = load_weights(run / "last.pt")
    save_weights(tmp_path / "bare.safetensors", model, tokenizer, {})
    done = score(repository, tmp_path / "bare.safetensors", "--data", prepared)
    assert (done.returncode, "--config names dev corpora" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--utterances", "0"], "data.dev_utterances is 0"),
        (["--lm", "missing.lm"], "missing.lm"),
        (["--config", "missing.yaml"], "missing.yaml"),
    ],
)
def test_wrong_options(options: list[str], message: str, prepared: Path, run: Path, repository: Path) -> None:
    done = score(repository, run / "last.pt", "--data", prepared, *options)
    assert done.returncode == 1
    assert message in done.stderr
