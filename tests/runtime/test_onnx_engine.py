"""The ONNX Runtime engine: settings, contract checks, and failures as named errors without noise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_asr.bundle.bundle import Bundle
from edge_asr.errors import BundleError, OptionError
from edge_asr.runtime.engine import Array
from edge_asr.runtime.onnx_engine import OnnxEngine
from tests.fake_bundle import Sizes, write_fake_bundle, write_json
from tests.runtime.helpers import Setup


@pytest.fixture
def copy(fake_path: Path, tmp_path: Path) -> Path:
    """A bundle to damage; without policy, as its checksums change."""
    path = Path(shutil.copytree(fake_path, tmp_path / "copy"))
    (path / "policy.json").unlink()
    return path


def seal(path: Path) -> Bundle:
    """Writes new checksums, so that only the graphs themselves are wrong."""
    data = json.loads((path / "bundle.json").read_text())
    write_json(path, data, list(data["files"]))
    return Bundle.load(path)


def test_settings(usual: Setup) -> None:
    engine = OnnxEngine(usual.bundle, threads=2)
    for session in engine._sessions.values():
        options = session.get_session_options()
        assert options.intra_op_num_threads == 2
        assert options.inter_op_num_threads == 1
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert options.get_session_config_entry("session.x64quantprecision") == "1"
        assert session.get_providers() == ["CPUExecutionProvider"]


def test_nothing_is_reported_or_left_behind(usual: Setup, tmp_path: Path) -> None:
    """ONNX Runtime's own reports would leave a database and a device's identifier in the home folder."""
    code = "import sys, numpy as np; from edge_asr import Recognizer; stream = Recognizer.load(sys.argv[1]).stream(); "
    code += "stream.feed(np.zeros(16000, np.float32)); stream.finish()"
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY" and not k.startswith("XDG_")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code, str(usual.bundle.path)], env=environment, cwd=tmp_path, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_precisions_are_told_apart(usual: Setup) -> None:
    frames = np.ones((1, 2, 8), dtype=np.float32)
    state: dict[str, Array] = {"kv": np.zeros((1, 2, 3, 8), np.float32), "n_past": np.zeros(1, np.int64)}
    inputs: dict[str, Array] = {"frames": frames, "n_valid": np.array([2]), **state}
    results = [OnnxEngine(usual.bundle, name).run("segment1", inputs)["hidden"] for name in ("int8", "float32")]
    assert not np.allclose(results[0], results[1])
    np.testing.assert_array_equal(OnnxEngine(usual.bundle).run("segment1", inputs)["hidden"], results[0])


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True, None])
def test_threads_must_be_a_number_from_1(usual: Setup, threads: int) -> None:
    with pytest.raises(OptionError, match=r"threads=.*: expected an integer from 1"):
        OnnxEngine(usual.bundle, threads=threads)


@pytest.mark.parametrize("content", [b"", b"hello, I'm not a graph", b"\x08\x0a\x12\x04"])
def test_a_file_that_is_not_a_graph(copy: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    (copy / "int8" / "segment2.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"segment2\.onnx: isn't a graph that ONNX Runtime can load"):
        OnnxEngine(seal(copy))
    assert capfd.readouterr() == ("", "")


def test_another_graph_with_a_right_checksum(copy: Path) -> None:
    shutil.copy(copy / "frontend.onnx", copy / "int8" / "segment3.onnx")
    with pytest.raises(BundleError, match="lacks this input; it has pcm") as caught:
        OnnxEngine(seal(copy))
    assert caught.value.field == "frames"
    assert caught.value.file.endswith("segment3.onnx")


def test_a_trunk_in_place_of_a_deep_segment(copy: Path) -> None:
    shutil.copy(copy / "int8" / "segment1.onnx", copy / "int8" / "segment2.onnx")
    with pytest.raises(BundleError, match="field 'window': the graph lacks this input"):
        OnnxEngine(seal(copy))


def test_a_state_that_nothing_feeds(copy: Path) -> None:
    data = json.loads((copy / "bundle.json").read_text())
    del data["encoder"]["trunk_state"]["kv"]
    write_json(copy, data)
    with pytest.raises(BundleError, match="field 'kv': the graph has an input that nothing feeds"):
        OnnxEngine(Bundle.load(copy))


def test_graphs_of_another_width(copy: Path, tmp_path: Path) -> None:
    wide = write_fake_bundle(tmp_path / "wide", Sizes(dim=12))
    shutil.copy(wide / "int8" / "segment2.onnx", copy / "int8" / "segment2.onnx")
    with pytest.raises(BundleError, match="field 'frames': the input's last axis is 12, expected 8"):
        OnnxEngine(seal(copy))


@pytest.mark.parametrize(
    "inputs",
    [
        {"pcm": np.zeros((1, 100), np.float32)},
        {"pcm": np.zeros((1, 2000), np.float64)},
        {"pcm": np.zeros(2000, np.float32)},
        {},
        {"frames": np.zeros((1, 2000), np.float32)},
    ],
)
def test_a_failing_run_names_the_graph_and_prints_nothing(
    usual: Setup, inputs: dict[str, np.ndarray], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BundleError, match=r"frontend\.onnx: graph frontend failed"):
        usual.engine.run("frontend", inputs)
    assert capfd.readouterr() == ("", "")
