"""`edge-asr info`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Run


def test_json(run: Run, fake_model: Path) -> None:
    result = run("info", fake_model, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    document = json.loads((fake_model / "bundle.json").read_text())
    policy = json.loads((fake_model / "policy.json").read_text())
    assert found["name"] == "fake"
    assert found["exits"] == document["exits"]
    assert found["chunks"] == ["320", "640", "1280", "full"]
    assert found["default_chunk"] == "640"
    assert found["bytes"] == sum(file["bytes"] for file in document["files"].values())
    assert set(found["precisions"]) == {"int8", "float32"}
    assert found["precisions"]["int8"] < found["bytes"]
    assert found["policy"]["thresholds"] == policy["thresholds"]
    assert found["policy"]["criterion"] == "frame_entropy"


def test_for_people(run: Run, fake_model: Path) -> None:
    result = run("info", fake_model)
    assert result.exit_code == 0
    for fact in ("fake", "int8", "float32", "320, 640, 1280, full", "frame_entropy", "300", "0.9"):
        assert fact in result.stdout
    assert "\x1b[" not in result.stdout


def test_a_model_without_thresholds(run: Run, fake_model_copy: Path) -> None:
    (fake_model_copy / "policy.json").unlink()
    assert "thresholds: none" in run("info", fake_model_copy).stdout
    assert json.loads(run("info", fake_model_copy, "--json").stdout)["policy"] is None


def test_errors(run: Run, fake_model_copy: Path) -> None:
    assert run("info", "en-huge").exit_code == 1
    (fake_model_copy / "bundle.json").write_text('{"format": "something else"}')
    result = run("info", fake_model_copy)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert "bundle.json" in result.stderr
    assert "format" in result.stderr
