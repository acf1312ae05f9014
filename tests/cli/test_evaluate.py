"""`edge-asr eval`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from edge_asr.evaluation import evaluate as evaluation
from edge_asr.evaluation.dataset import load_dataset, sample
from edge_asr.runtime.recognizer import Recognizer
from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def manifest(samples: Path) -> Path:
    return samples / "manifest.jsonl"


@pytest.fixture
def corpus(samples: Path, tmp_path: Path) -> Path:
    """The LibriSpeech samples in the corpus's own layout."""
    for line in (samples / "manifest.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["id"].startswith("librispeech-"):
            name = entry["id"].removeprefix("librispeech-")
            speaker, chapter, _ = name.split("-")
            folder = tmp_path / "LibriSpeech" / "dev-clean" / speaker / chapter
            folder.mkdir(parents=True)
            shutil.copy(samples / entry["audio"], folder / f"{name}.flac")
            (folder / f"{speaker}-{chapter}.trans.txt").write_text(f"{name} {entry['text']}\n")
    return tmp_path / "LibriSpeech"


def write(run: Run, out: Path, *arguments: object) -> dict[str, Any]:
    """Runs an evaluation that writes JSON, and reads that."""
    result = run("eval", *arguments, "--json", out)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""  # no progress bar: this is not a terminal
    document: dict[str, Any] = json.loads(out.read_text())
    return document


def test_json_is_the_evaluation(run: Run, fake_model: Path, manifest: Path, tmp_path: Path) -> None:
    found = write(run, tmp_path / "out.json", manifest, "--model", fake_model)
    expected = evaluation.evaluate(Recognizer.load(fake_model), load_dataset(manifest)).as_json()
    assert {key: found[key] for key in expected} == expected
    assert found["chunk_ms"] == 640
    assert found["utterances"] == 5
    assert found["model"] == "fake"
    assert found["precision"] == "int8"
    assert [entry.name for entry in tmp_path.glob("out*")] == ["out.json"]


def test_full_chunks(run: Run, fake_model: Path, manifest: Path, tmp_path: Path) -> None:
    found = write(run, tmp_path / "out.json", manifest, "--model", fake_model, "--chunk", "full")
    assert found["chunk_ms"] == "full"
    assert sum(found["auto"]["exit_histogram"].values()) >= 5


def test_the_table_shows_every_exit_and_auto(run: Run, fake_model: Path, manifest: Path) -> None:
    result = run("eval", manifest, "--model", fake_model)
    found = evaluation.evaluate(Recognizer.load(fake_model), load_dataset(manifest))
    assert result.exit_code == 0
    for exit in found.exits:
        assert f"{100 * exit.wer:.2f}" in result.stdout
        assert f"{100 * exit.cer:.2f}" in result.stdout
    assert found.auto is not None
    assert f"{100 * found.auto.wer:.2f}" in result.stdout
    assert f"mean exit {found.auto.mean_exit:.2f}" in result.stdout
    assert "\x1b[" not in result.stdout


def test_without_thresholds_auto_is_said_to_be_missing(run: Run, fake_model_copy: Path, manifest: Path) -> None:
    (fake_model_copy / "policy.json").unlink()
    result = run("eval", manifest, "--model", fake_model_copy, "--limit", "1")
    assert result.exit_code == 0
    assert "no thresholds" in result.stdout


def test_a_corpus_and_its_subset(run: Run, fake_model: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    by_name = write(run, out, corpus, "--subset", "dev-clean", "--model", fake_model)
    assert by_name["utterances"] == 3
    itself = write(run, out, corpus / "dev-clean", "--model", fake_model)
    assert itself["exits"] == by_name["exits"]
    missing = run("eval", corpus, "--subset", "test-clean", "--model", fake_model)
    assert missing.exit_code == 1
    assert missing.stderr.startswith("error: subset 'test-clean' not found")


def test_limit_is_a_seeded_sample(run: Run, fake_model: Path, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    for seed in (0, 1):
        found = write(run, out, manifest, "--model", fake_model, "--limit", "2", "--seed", seed)
        chosen = sample(load_dataset(manifest), 2, seed)
        assert found["words"] == sum(len(utterance.text.split()) for utterance in chosen)
        assert (found["limit"], found["seed"]) == (2, seed)


@pytest.mark.parametrize(
    "options",
    [
        ["--limit", "0"],
        ["--chunk", "100"],
        ["--decoder", "beams"],
        ["--seed", "x"],
        ["--threads", "0"],
        ["--exit", "1"],
    ],
)
def test_bad_usage(run: Run, fake_model: Path, manifest: Path, options: list[str]) -> None:
    assert run("eval", manifest, "--model", fake_model, *options).exit_code == 2


def test_malformed_manifest_names_file_and_line(run: Run, fake_model: Path, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("\n{]\n")
    result = run("eval", tmp_path / "m.jsonl", "--model", fake_model)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert "m.jsonl:2: not JSON" in result.stderr


def test_no_such_data(run: Run, fake_model: Path) -> None:
    result = run("eval", "nowhere", "--model", fake_model)
    assert result.exit_code == 1
    assert "'nowhere' not found" in result.stderr


def test_a_place_that_cannot_be_written_to_is_said_first(run: Run, fake_model: Path, manifest: Path) -> None:
    result = run("eval", manifest, "--model", fake_model, "--json", "no/such/folder/out.json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "there is no folder 'no/such/folder'" in result.stderr


def test_a_result_that_would_be_a_folder_is_said_first(
    run: Run, fake_model: Path, manifest: Path, tmp_path: Path
) -> None:
    result = run("eval", manifest, "--model", fake_model, "--json", tmp_path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "is a folder; expected a file's name" in result.stderr


def test_a_folder_that_takes_no_files_is_said_first(
    run: Run, fake_model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # whoever runs the tests may write anywhere
    result = run("eval", manifest, "--model", fake_model, "--json", tmp_path / "out.json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "allows no new files" in result.stderr


def test_interruption(run: Run, fake_model: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "record", interrupted)
    result = run("eval", manifest, "--model", fake_model)
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_a_second_pass_is_a_row_of_its_own(run: Run, fake_model: Path, manifest: Path) -> None:
    result = run("eval", manifest, "--model", fake_model, "--second-pass")
    assert result.exit_code == 0, result.output
    assert "and again" in result.output
    assert "final texts better in" in result.output
