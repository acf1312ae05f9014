"""`scripts/calibrate.py`: a bundle gets thresholds that its runtime then uses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_asr.evaluation.dataset import load_dataset
from edge_asr.evaluation.evaluate import evaluate
from edge_asr.runtime.recognizer import Recognizer

Calibrate = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_script(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Calibrate:
    """Runs the script with these arguments."""
    monkeypatch.setenv("PYTHONPATH", str(repository))

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(repository / "scripts" / "calibrate.py"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    return run


def test_thresholds_are_written_and_used(run_script: Calibrate, fake_model_copy: Path, samples: Path) -> None:
    policy = fake_model_copy / "policy.json"
    policy.write_text(policy.read_text().replace('"graphs": "', '"graphs": "0'))  # made for other graphs
    options = ["--criterion", "margin", "--max-relative-wer-loss", "0.05"]
    result = run_script(fake_model_copy, samples / "manifest.jsonl", *options)
    assert result.returncode == 0, result.stderr
    document = json.loads(policy.read_text())
    assert document["criterion"] == "margin"
    assert document["calibration"]["utterances"] == 5
    assert document["calibration"]["data"] == "manifest.jsonl"
    assert not list(fake_model_copy.glob("policy.json.*"))
    utterances, recognizer = load_dataset(samples / "manifest.jsonl"), Recognizer.load(fake_model_copy)
    for chunk in document["thresholds"]:
        found = evaluate(recognizer, utterances, chunk=chunk)
        assert found.auto is not None
        assert found.auto.wer == document["calibration"]["points"][chunk]["wer"]
        assert found.auto.wer <= found.exits[-1].wer * 1.05


def test_errors_leave_the_old_policy(run_script: Calibrate, fake_model_copy: Path, samples: Path) -> None:
    before = (fake_model_copy / "policy.json").read_text()
    for arguments in (
        [samples / "manifest.jsonl", "--criterion", "mood"],
        [samples / "manifest.jsonl", "--max-relative-wer-loss", "-1", "--limit", "1"],
        [samples / "nowhere.jsonl"],
    ):
        result = run_script(fake_model_copy, *arguments)
        assert result.returncode == 1
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.stderr
    assert (fake_model_copy / "policy.json").read_text() == before
