"""`edge-asr info`."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from edge_asr.bundle.bundle import Bundle
from edge_asr.cli.info import describe, show
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


def test_names_are_no_markup(run: Run, fake_model_copy: Path) -> None:
    for file, changes in (
        ("bundle.json", {"name": "x[/b]y", "language": "[/z]"}),
        (
            "policy.json",
            {"version": 2, "criterion": "frame_entropy", "calibration": {"decoder": "[/x]"}, "decoders": {}},
        ),
    ):
        document = json.loads((fake_model_copy / file).read_text()) | changes
        if file == "policy.json":
            part = {"criterion": "frame_entropy", "thresholds": {"640": [1.0, 1.0]}}
            document["decoders"] = {"[/x]": part, "[red]lm": part}
        (fake_model_copy / file).write_text(json.dumps(document))
    result = run("info", fake_model_copy)
    assert result.exit_code == 0, result.stderr
    for name in ("x[/b]y", "[/z]", "[red]lm"):
        assert name in result.stdout
    assert result.stdout.count("│    [/x] │") == 1 + len(document["thresholds"])


def test_a_criterion_is_no_markup(fake_model: Path) -> None:
    facts = describe(Bundle.load(fake_model))
    facts["policy"]["criterion"] = "[/x]"
    console = Console(file=StringIO(), highlight=False)
    show(facts, console)
    assert "thresholds on [/x], exits" in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_is_no_unicode_and_no_json_is_named(run: Run, fake_model_copy: Path) -> None:
    document = json.loads((fake_model_copy / "bundle.json").read_text())
    for changes, message in (
        ({"name": "x\ud800"}, "half a surrogate pair"),
        ({"metrics": {"wer": float("nan")}}, "'metrics': holds NaN or infinity"),
    ):
        (fake_model_copy / "bundle.json").write_text(json.dumps(document | changes))
        for options in ([], ["--json"]):
            result = run("info", fake_model_copy, *options)
            assert result.exit_code == 1
            assert message in result.stderr
            assert "unexpected" not in result.stderr


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
