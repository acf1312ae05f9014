"""Arms: merged options, seeds, branching, and a table; a list is run, interrupted and gone on with."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_asr.errors import OptionError
from edge_asr.model.registry import ENCODERS
from edge_asr.training.ablation import Result, as_markdown, choose_arms, merge, read_arms, read_result
from edge_asr.training.checkpoint import save_checkpoint
from edge_asr.training.scoring import Score
from tests.decoding.toy_lm import toy_model
from tests.training.corpora import WORDS
from tests.training.test_trainer import VALUES


def write(path: Path, arms: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump({"base": VALUES, "arms": arms}))
    return path


def test_arms(tmp_path: Path) -> None:
    arms = read_arms(
        write(
            tmp_path / "arms.yaml",
            {
                "own": {"model": {"architecture": "splitformer-stale"}},
                "pure": {"init": "own", "optim": {"steps": 5}},
                "wide": {"seeds": [1, 2], "model": {"kernel": 15}},
                "zero": {"init": "own", "fresh": 2},
            },
        )
    )
    assert arms.pop().fresh == 2
    assert [(a.name, a.init) for a in arms] == [("own", ""), ("pure", "own"), ("wide-seed1", ""), ("wide-seed2", "")]
    assert arms[0].config.model.architecture == "splitformer-stale"
    assert (arms[1].config.optim.steps, arms[1].config.optim.optimizer) == (5, "muon")
    assert [a.config.seed for a in arms[2:]] == [1, 2]


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ({"a": {"init": "b"}}, "arm before it .* or a file"),
        ({"a": {"fresh": 2}}, "fresh is 2; allowed: a segment's number, beside init"),
        ({"a": {"init": "b.pt", "fresh": "deep"}}, "fresh is 'deep'"),
        ({"a": {"model": {"dim": 7}}}, "dim"),
        ([], "mappings"),
        ({"a": "b"}, "arm 'a' is 'b'; allowed: a name, and options or nothing"),
        ({1: {}}, "arm 1 is {}"),
        ({"a": {"seeds": 3}}, "seeds is 3; allowed: a list of numbers"),
    ],
)
def test_wrong_lists(tmp_path: Path, arms: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read_arms(write(tmp_path / "arms.yaml", arms))


def test_arms_are_chosen_with_what_they_start_from(tmp_path: Path) -> None:
    optim = {"optim": {"steps": 5}}
    arms = read_arms(
        write(tmp_path / "arms.yaml", {"own": {}, "other": {"seed": 3}, "pure": {"init": "own"}, "fine": optim})
    )
    assert choose_arms(arms, []) == arms
    kept = choose_arms(arms, ["fine", "pure"])
    assert [(a.name, a.config.seed) for a in kept] == [("fine", 1), ("own", 1), ("pure", 1)]  # as in the list
    again = choose_arms(arms, ["other", "fine"], seed=2)
    assert [(a.name, a.config.seed) for a in again] == [("fine", 2), ("other", 2)]
    assert again[0].config.optim.steps == 5
    with pytest.raises(OptionError, match="arm 'finer' is not in the list; allowed: fine, other, own, pure"):
        choose_arms(arms, ["fine", "finer"])
    with pytest.raises(OptionError, match="seed"):
        choose_arms(arms, [], seed=-1)


def test_merge_replaces_lists_whole() -> None:
    assert merge({"a": [1, 2], "b": {"c": 1}}, {"a": [3], "b": {"d": 2}}) == {"a": [3], "b": {"c": 1, "d": 2}}


def test_table() -> None:
    scores = [Score([4, 4], [[2, 2], [1, 1]]), Score([4, 4], [[2, 1], [1, 0]]), Score([4], [[2], [1]])]
    results = [Result(name, 10, 60, {"dev": s.wers}, {"dev": s}) for name, s in zip("abc", scores, strict=True)]
    results.append(Result("older", 20, 90, {"dev": [0.4, 0.2]}))
    assert "language model" not in as_markdown(results, lambda own, first: "")
    table = as_markdown(results, lambda own, first: f"{sum(own.errors[-1]) - sum(first.errors[-1])} errors")
    assert "exit 2 against a" in table
    assert "| a | 10 | 1 | 50.0 | 25.0 | – |" in table
    assert "| b | 10 | 1 | 37.5 | 12.5 | -1 errors |" in table
    assert "| c | 10 | 1 | 50.0 | 25.0 | – |" in table  # other utterances
    assert "| older | 20 | 2 | 40.0 | 20.0 | – |" in table
    searched = [replace(r, searched={"dev": Score([4, 4], [[i, 1]])}) for i, r in enumerate(results[:2])]
    table = as_markdown([*searched, results[3]], lambda own, first: f"{own.wers[-1] - first.wers[-1]:+.3f}")
    assert "| exit 2 against a | with language model | against a |" in table
    assert "| a | 10 | 1 | 50.0 | 25.0 | – | 12.5 | – |" in table
    assert "| b | 10 | 1 | 37.5 | 12.5 | -0.125 | 25.0 | +0.125 |" in table
    assert "| older | 20 | 2 | 40.0 | 20.0 | – | – | – |" in table


def test_a_list_runs_branches_and_is_not_run_twice(prepared: Path, tmp_path: Path, repository: Path) -> None:
    optim = VALUES["optim"] | {"steps": 4}
    arms = write(
        tmp_path / "arms.yaml",
        {
            "own": {"optim": optim, "model": {"architecture": "splitformer-absent"}},
            "pure": {"optim": optim, "init": "own"},
            "whole": {
                "optim": optim | {"chunks": {0: 1.0}},
                "init": "own",
                "model": {"architecture": "splitformer-offline"},
            },
        },
    )
    out = tmp_path / "runs"
    command = [sys.executable, "scripts/ablate.py", str(arms), "--data", str(prepared), "--out", str(out)]
    command += ["--jobs", "2", "--dev-minutes", "0"]
    environment = os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    first = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    table = (out / "table.md").read_text()
    for name in ("own", "pure", "whole"):
        assert f"| {name} | 4 |" in table
        assert "\n0," not in (out / name / "dev.csv").read_text()  # not scored before the first update
        result = read_result(out / name)
        assert result is not None
        assert len(result.wers["dev-tones"]) == 2
        assert result.scores["dev-tones"].wers == pytest.approx(result.wers["dev-tones"], abs=1e-4)
    assert table.count(" to ") == 2  # each but the first beside the first, with an interval
    assert (out / "own" / "output.log").exists()
    second = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert second.returncode == 0
    assert second.stderr.count("finished before") == 3
    assert (out / "table.md").read_text() == table
    other = [*command, "--only", "own", "--seed", "2"]
    refused = subprocess.run(other, cwd=repository, env=environment, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "arm 'own' is in" in refused.stderr
    assert "with other options: seed was 1, is 2; use another --out" in refused.stderr
    toy_model(tmp_path, words=tuple(WORDS))
    command += ["--lm", str(tmp_path / "toy.lm")]  # what is finished is scored, not trained, again
    third = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert third.returncode == 0, third.stderr
    assert third.stderr.count("finished before") == 3
    searched = read_result(out / "pure")
    assert searched is not None
    assert len(searched.searched["dev-tones"].errors) == 1
    assert (out / "table.md").read_text().count(" to ") == 4
    # What is trained anew is scored anew.
    (out / "pure" / "last.pt").unlink()
    (out / "pure" / "lm_errors.json").write_text("{}")
    fourth = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert fourth.returncode == 0, fourth.stderr
    assert (again := read_result(out / "pure")) is not None
    assert len(again.searched["dev-tones"].errors) == 1


def test_an_arm_killed_before_its_last_scoring_is_not_finished(tmp_path: Path) -> None:
    from scripts.ablate import finished

    optim = VALUES["optim"] | {"steps": 4}
    (arm,) = read_arms(write(tmp_path / "arms.yaml", {"a": {"optim": optim}}))
    values = {"model": {}, "config": arm.config.to_dict(), "elapsed": 9.0}
    assert not finished(arm, tmp_path)
    rows = "step,elapsed,corpus,wer1,wer2\n0,0.0,dev,1.0,1.0\n"
    (tmp_path / "dev.csv").write_text(rows)  # what the weights that it starts from gave
    save_checkpoint(tmp_path / "last.pt", values | {"step": 4})
    assert not finished(arm, tmp_path)
    (tmp_path / "dev.csv").write_text(rows + "4,9.0,dev,0.5,0.4\n")
    assert finished(arm, tmp_path)
    save_checkpoint(tmp_path / "last.pt", values | {"step": 3})
    assert not finished(arm, tmp_path)
    for changed in ({"optim": {"peak_lr": 0.5}}, {"data": {"max_check": 0.1}}, {"model": {"kernel": 15}}, {"seed": 4}):
        (other,) = read_arms(write(tmp_path / "arms.yaml", {"a": merge({"optim": optim}, changed)}))
        with pytest.raises(OptionError, match=r"arm 'a' is in .* with other options: .*; use another --out"):
            finished(other, tmp_path)


def test_an_arm_that_fails_ends_the_list(prepared: Path, tmp_path: Path, repository: Path) -> None:
    (tmp_path / "other.pt").write_bytes(b"no weights")
    arms = write(tmp_path / "arms.yaml", {"broken": {"init": str(tmp_path / "other.pt")}, "later": {"init": "broken"}})
    out = tmp_path / "runs"
    command = [sys.executable, "scripts/ablate.py", str(arms), "--data", str(prepared), "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    run = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert run.returncode == 1
    assert "arm broken ended with exit code 1" in run.stderr
    assert not (out / "later").exists()
    run = subprocess.run([*command, "--jobs", "0"], cwd=repository, env=environment, capture_output=True, text=True)
    assert (run.returncode, "--jobs is 0; allowed: at least 1" in run.stderr) == (1, True)


def test_the_lists_of_encoders_are_valid(repository: Path) -> None:
    architectures = set()
    for name in ("screening", "variations"):
        arms = read_arms(repository / "scripts" / "configs" / f"{name}.yaml")
        assert arms[0].init.endswith(".safetensors")
        assert (repository / arms[0].init).exists()
        assert {a.init for a in arms[1:]} <= {a.name for a in arms} | {arms[0].init}
        architectures |= {a.config.model.architecture for a in arms}
    assert architectures == set(ENCODERS)


def test_the_recipe_list_is_valid(repository: Path) -> None:
    arms = read_arms(repository / "scripts" / "configs" / "recipe.yaml")
    base = arms[0].config
    assert arms[0].name == "base"
    for arm in arms[1:]:
        assert (repository / arm.init).exists()
        assert arm.config != base
        same = {name: getattr(base.model, name) for name in ("dropout", "vocabulary", "phones")}
        assert replace(arm.config.model, **same) == base.model
