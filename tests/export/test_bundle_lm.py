"""Language models in exported bundles: put in with `--lm`, kept in the next export, and described in the card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edge_asr import Recognizer
from edge_asr.bundle.bundle import Bundle
from edge_asr.errors import DataError
from edge_asr.training.phones import TABLE, Pronunciations
from export import __main__ as command
from export.arpa import read_arpa
from export.bundle_lm import about, check_lm, kept_lm
from export.lm import convert
from tests.decoding.toy_lm import write_arpa
from tests.export.conftest import Exported


@pytest.fixture
def quick(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """Exports take the graphs that are there, and aren't checked again."""
    exits = json.loads((exported.bundle / "bundle.json").read_text())["exits"]
    left_out = shutil.ignore_patterns("bundle.json", "README.md", "*.lm")

    def write_graphs(_model: Any, _tokenizer: Any, out: Path, _say: Any) -> None:
        shutil.copytree(exported.bundle, out, ignore=left_out, dirs_exist_ok=True)

    monkeypatch.setattr(command, "write_graphs", write_graphs)
    monkeypatch.setattr(command, "count_exits", lambda *_: (exits, 1.0))
    monkeypatch.setattr(command, "check_parity", lambda *_: [])
    return exported


@pytest.fixture
def lm(tmp_path: Path) -> Path:
    """A language model in a bundle's folder, with the card beside it."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    convert(read_arpa(write_arpa(tmp_path / "toy.arpa")), folder / "en.lm")
    text = "# shipped\n\n## Language model\n`en.lm`, 0.0 MB: 3 1-grams.\nToys.\n\n> Copyright\n\n## After\nMore.\n"
    (folder / "README.md").write_text(text)
    return folder / "en.lm"


def test_a_file_is_put_in_and_kept(
    quick: Exported, lm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "own"
    arguments = ["--checkpoint", str(quick.weights), "--out", str(out)]
    assert command.main([*arguments, "--lm", str(lm)]) == 0
    for _ in range(2):  # the second time, what was there is kept
        assert Bundle.load(out).lm_file == out / "en.lm"
        assert (out / "en.lm").read_bytes() == lm.read_bytes()
        assert Recognizer.load(out).decoder().name == "lm"
        card = (out / "README.md").read_text()
        assert card.count("## Language model\n") == 1
        assert card.endswith("grams.\nToys.\n\n> Copyright\n")
        assert "say in README.md" not in capsys.readouterr().err
        assert command.main(arguments) == 0
    (lm.parent / "README.md").unlink()
    assert command.main([*arguments, "--lm", str(lm)]) == 0
    assert "say in README.md what its text was" in " ".join(capsys.readouterr().err.split())
    assert "Its text is not described." in (out / "README.md").read_text()


def test_a_wrong_file_loses_nothing(
    quick: Exported, lm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "own"
    command.export_bundle(quick.weights, out, "own", Console(quiet=True), lm=lm)
    lm.write_bytes(lm.read_bytes()[:-100])
    for wrong in (lm, tmp_path / "none.lm", tmp_path / "toy.arpa"):
        assert command.main(["--checkpoint", str(quick.weights), "--out", str(out), "--lm", str(wrong)]) == 1
        assert wrong.name in "".join(capsys.readouterr().err.split())
    assert Bundle.load(out).lm_file == out / "en.lm"
    (out / "bundle.json").write_text("{")
    with pytest.raises(DataError, match="its language model might be lost: choose another directory"):
        command.export_bundle(quick.weights, out, "own", Console(quiet=True))
    assert (out / "en.lm").exists()


def test_phones_must_be_the_models(lm: Path, tmp_path: Path) -> None:
    check_lm(lm, TABLE)  # without pronunciations it goes with any model
    said = tmp_path / "said.lm"
    convert(read_arpa(tmp_path / "toy.arpa"), said, Pronunciations({"TEN": [[31, 11, 23]]}))
    check_lm(said, TABLE)
    check_lm(said, None)
    with pytest.raises(DataError, match=r"said\.lm.*its 79 phones are not the model's 78"):
        check_lm(said, TABLE[:-1])


def test_the_shipped_one_is_described_where_it_goes(repository: Path, tmp_path: Path) -> None:
    shipped = repository / "edge_asr" / "models" / "en-tiny" / "en.lm"
    assert "public-domain books" in about(shipped)
    assert "Copyright (C) 1993-2015 Carnegie Mellon University" in about(shipped)
    assert kept_lm(shipped.parent) == shipped
    assert kept_lm(tmp_path) is None
