"""The exported bundle as a whole, its costs, and the command's errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from edge_asr.errors import DataError
from edge_asr.model.model import AsrModel
from edge_asr.runtime.recognizer import Recognizer
from export import __main__ as command
from export.costs import count_macs
from export.quantise import precisions
from tests.export.conftest import CONFIG, Exported


def test_the_runtime_takes_it(exported: Exported, samples: Path) -> None:
    recognizer = Recognizer.load(exported.bundle)
    transcript = recognizer.transcribe(min(samples.glob("*.flac")), exit=2)
    assert {chunk.exit for chunk in transcript.chunks} == {2}
    assert transcript.duration > 4


def test_all_constant_matrix_products_are_int8(exported: Exported) -> None:
    for number in range(1, CONFIG.exits + 1):
        floats = precisions(exported.bundle / "float32" / f"segment{number}.onnx")
        ints = precisions(exported.bundle / "int8" / f"segment{number}.onnx")
        assert ints == {"int8": floats["float32"], "float32": 0}
        assert floats["float32"] >= 16


def test_costs_are_what_the_layers_say(exported: Exported) -> None:
    """Counted on the graph, against the arithmetic of docs/architecture.md done by hand."""
    d, frames, history, ahead = CONFIG.dim, 16, CONFIG.history, 8
    sizes: dict[str, tuple[int, ...]] = {"frames": (1, frames, d), "window": (1, history + frames + ahead, 3 * d)}
    sizes |= dict.fromkeys(("n_valid", "n_left", "n_right"), (1,))
    cost = count_macs(exported.bundle / "float32" / "segment2.onnx", sizes)
    layer = frames * (23 * d * d + CONFIG.kernel * d + 2 * d * (history + frames + ahead))
    assert cost.total == CONFIG.layers * layer + frames * 2 * d * CONFIG.vocabulary  # head and feedback
    assert cost.constant == CONFIG.layers * frames * 23 * d * d + frames * 2 * d * CONFIG.vocabulary


def test_manifest(exported: Exported) -> None:
    manifest = json.loads((exported.bundle / "bundle.json").read_text())
    model: AsrModel = exported.model
    assert manifest["exits"][-1]["params"] == sum(p.numel() for p in model.parameters())
    for chunk in ("320", "640", "1280", "full"):
        macs = [entry["macs_per_second"][chunk] for entry in manifest["exits"]]
        assert macs == sorted(set(macs))
    assert manifest["default_precision"] == "int8"
    card = (exported.bundle / "README.md").read_text()
    assert "Not to be used for" in card


def test_graphs_tell_nothing_of_who_exported_them(exported: Exported) -> None:
    for path in sorted(exported.bundle.rglob("*.onnx")):
        data = path.read_bytes()
        for trace in (b"stack_trace", b'File "', str(Path(__file__).parents[2]).encode()):
            assert trace not in data, f"{path.name} holds {trace!r}"


def test_a_failed_check_leaves_the_bundle_before(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bundle"
    out.mkdir()
    (out / "bundle.json").write_text("{}")

    def fail(*_: object) -> None:
        raise DataError("parity, float32: posteriors differ")

    monkeypatch.setattr(command, "write_graphs", lambda *_: None)
    monkeypatch.setattr(command, "count_exits", lambda *_: ([], 1.0))
    monkeypatch.setattr(command, "check_parity", fail)
    with pytest.raises(DataError, match="parity"):
        command.export_bundle(exported.weights, out, "x", Console(quiet=True))
    assert (out / "bundle.json").read_text() == "{}"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_errors_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--checkpoint", str(tmp_path / "none.pt"), "--out", str(tmp_path / "out")]) == 1
    assert "none.pt" in capsys.readouterr().err
    (tmp_path / "file.txt").write_text("keep me")
    assert command.main(["--checkpoint", "x.pt", "--out", str(tmp_path)]) == 1
    assert "not a bundle" in capsys.readouterr().err
    assert (tmp_path / "file.txt").read_text() == "keep me"
