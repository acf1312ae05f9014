"""Loading bundles: what is checked, how often, and what a damaged one says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_asr.bundle import bundle as module
from edge_asr.bundle.bundle import Bundle
from edge_asr.errors import BundleError, OptionError


def test_a_valid_bundle_loads(pristine: Path) -> None:
    bundle = Bundle.load(str(pristine))
    assert bundle.path == pristine
    assert bundle.spec.name == "fake"
    assert bundle.spec.encoder.trunk_state == {"kv": (2, 3, 8), "n_past": ()}
    assert bundle.spec.chunk_names == ("320", "640", "1280", "full")
    assert bundle.spec.frame_seconds == 0.04
    assert bundle.policy is not None
    assert bundle.policy.thresholds["640"] == (0.9, 0.9)
    assert bundle.tokens_file == pristine / "tokens.txt"


def test_graphs_are_in_running_order(pristine: Path) -> None:
    graphs = Bundle.load(pristine).graphs("float32")
    assert list(graphs) == ["frontend", "segment1", "segment2", "segment3"]
    assert graphs["segment2"] == pristine / "float32" / "segment2.onnx"


def test_precisions(pristine: Path) -> None:
    bundle = Bundle.load(pristine)
    assert bundle.precision() == "int8"
    assert bundle.precision("float32") == "float32"
    with pytest.raises(OptionError, match="precision='int4': bundle 'fake' has int8, float32"):
        bundle.precision("int4")


def test_each_file_is_hashed_once(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []

    def counting(path: Path) -> str:
        hashed.append(path)
        return original(path)

    original = module.sha256_of
    monkeypatch.setattr(module, "sha256_of", counting)
    bundle = Bundle.load(pristine)
    assert sorted(hashed) == sorted(pristine / file for file in bundle.spec.files)


def test_a_bundle_without_policy_loads(fake: Path) -> None:
    (fake / "policy.json").unlink()
    assert Bundle.load(fake).policy is None


def test_a_file_that_is_not_listed_does_not_matter(fake: Path) -> None:
    (fake / "README.md").write_text("A model card.")
    Bundle.load(fake)


def test_a_cut_off_graph(fake: Path) -> None:
    file = fake / "int8" / "segment2.onnx"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BundleError, match=r"segment2\.onnx: field 'bytes': cut off: \d+ bytes, expected") as caught:
        Bundle.load(fake)
    assert caught.value.file == str(file)


def test_a_graph_that_grew(fake: Path) -> None:
    file = fake / "frontend.onnx"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(BundleError, match=r"frontend\.onnx: field 'bytes': too long"):
        Bundle.load(fake)


def test_a_wrong_checksum(fake: Path) -> None:
    file = fake / "float32" / "segment3.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"segment3\.onnx: field 'sha256': is damaged: checksum [0-9a-f]{64}"):
        Bundle.load(fake)


def test_a_missing_file(fake: Path) -> None:
    (fake / "tokens.txt").unlink()
    with pytest.raises(BundleError, match=r"tokens\.txt: missing"):
        Bundle.load(fake)


def test_a_directory_in_place_of_a_file(fake: Path) -> None:
    (fake / "tokens.txt").unlink()
    (fake / "tokens.txt").mkdir()
    with pytest.raises(BundleError, match=r"tokens\.txt"):
        Bundle.load(fake)


def test_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"bundle\.json: missing"):
        Bundle.load(tmp_path)


def test_a_file_in_place_of_the_directory(fake: Path) -> None:
    with pytest.raises(BundleError, match="isn't a directory"):
        Bundle.load(fake / "bundle.json")
    with pytest.raises(BundleError, match="isn't a directory"):
        Bundle.load(fake / "nothing")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "isn't valid JSON"),
        (b'{"format": "edge-asr-bundle", ', "isn't valid JSON"),
        (b"\xff\xfe\x00", "isn't valid JSON"),
        (b"[1, 2]", "holds a list, expected a JSON object"),
        (b"null", "holds null"),
        (b"[" * 100_000, "isn't valid JSON"),
        (b'{"name": "left-pad", "version": "1.0.0"}', "field 'format': missing"),
        (b'{"format": "other"}', "field 'format': is 'other', expected 'edge-asr-bundle'"),
    ],
)
def test_foreign_json(fake: Path, content: bytes, message: str) -> None:
    (fake / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.load(fake)
    assert caught.value.file == str(fake / "bundle.json")


def test_a_moved_bundle_still_loads(fake: Path, tmp_path: Path) -> None:
    moved = Path(shutil.move(fake, tmp_path / "moved"))
    assert Bundle.load(moved).spec.name == "fake"


@pytest.mark.parametrize("file", ["bundle.json", "policy.json"])
def test_half_a_character_is_named(fake: Path, file: str) -> None:
    text = (fake / file).read_text()
    (fake / file).write_text(text.replace("{", '{"note": {"\\ud800": 1}, ', 1))
    with pytest.raises(BundleError, match=rf"{file}: holds '\\ud800', half a surrogate pair; expected Unicode text"):
        Bundle.load(fake)
