"""`edge-asr tradeoff` from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_asr.evaluation import tradeoff_plots
from tests.cli.conftest import Run

pytest.importorskip("matplotlib")


def test_results_are_written(run: Run, fake_model: Path, samples: Path, tmp_path: Path) -> None:
    noise, out = tmp_path / "noise", tmp_path / "out"
    noise.mkdir()
    soundfile.write(noise / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 16_000)
    options = ["--out", out, "--noise", noise, "--criterion", "frame_entropy", "--cache", tmp_path / "cache"]
    result = run("tradeoff", fake_model, samples / "manifest.jsonl", *options)
    assert result.exit_code == 0, result.stderr
    found = json.loads((out / "tradeoff.json").read_text())
    assert list(found["conditions"]) == ["clean", "20 dB", "10 dB", "5 dB", "0 dB"]
    assert found["utterances"] == 5
    assert found["fit_utterances"] + found["judged_utterances"] == 5
    assert (out / "tradeoff.html").stat().st_size > 10_000
    assert (out / "wer_cost.png").read_bytes().startswith(b"\x89PNG")
    assert "frame_entropy" in (out / "tradeoff.md").read_text()


def test_without_matplotlib_nothing_is_begun(
    run: Run, fake_model: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    cache = tmp_path / "cache"
    result = run("tradeoff", fake_model, samples / "manifest.jsonl", "--out", tmp_path / "out", "--cache", cache)
    assert result.exit_code == 1
    assert "plots need matplotlib" in result.stderr
    assert not cache.exists()


def test_the_numbers_are_there_before_the_plots(
    run: Run, fake_model: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(*_: Any) -> None:
        raise OSError("no room left")

    monkeypatch.setattr(tradeoff_plots, "draw_plots", draw)
    options = ["--out", tmp_path, "--criterion", "frame_entropy"]
    assert run("tradeoff", fake_model, samples / "manifest.jsonl", *options).exit_code == 1
    assert json.loads((tmp_path / "tradeoff.json").read_text())["utterances"] == 5


def test_errors(run: Run, fake_model: Path, samples: Path, tmp_path: Path) -> None:
    manifest = samples / "manifest.jsonl"
    (tmp_path / "file").write_text("")
    (tmp_path / "full" / "tradeoff.html").mkdir(parents=True)
    for options, message in (
        (["--out", tmp_path / "x", "--criterion", "luck"], "criterion='luck'"),
        (["--out", tmp_path / "file"], "cannot be made"),
        (["--out", tmp_path / "full"], "'tradeoff.html' in it is a folder"),
        (["--out", tmp_path / "x", "--noise", tmp_path], "no noise in"),
    ):
        result = run("tradeoff", fake_model, manifest, *options)
        assert result.exit_code == 1
        assert message in result.stderr
